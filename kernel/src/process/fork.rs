//! A process out of a process: `clone` with SIGCHLD and nothing shared.
//!
//! Everything that can be refused is made before the child is anybody's child; what was made goes away in reverse.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::aarch64::tls;
use arch::aarch64::vectors::TrapFrame;
use mm::kalloc::KArc;
use mm::space::ForkError as CopyError;
use mm::thp::reclaim;

use super::family::{self, Parent};
use super::{Process, end};
use crate::sched::{self, FpBox, SpawnError};
use crate::the_mm;

/// Why there is no child. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForkError {
    /// There are as many processes or threads as there can be.
    TooMany,
    /// There is no memory, or too many mappings of one page.
    OutOfMemory,
    /// The parent is about to end.
    Ending,
}

impl From<mm::error::OutOfMemory> for ForkError {
    fn from(_: mm::error::OutOfMemory) -> Self {
        ForkError::OutOfMemory
    }
}

impl From<CopyError> for ForkError {
    /// Either is ENOMEM, as on Linux.
    fn from(_: CopyError) -> Self {
        ForkError::OutOfMemory
    }
}

impl From<SpawnError> for ForkError {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::TooMany => ForkError::TooMany,
            SpawnError::OutOfMemory => ForkError::OutOfMemory,
        }
    }
}

/// Makes a child of `parent`, which runs this, and returns its number. It goes on at EL0 with `frame`. Where there is
/// no memory, what nobody needs is given back, and it is tried once more.
///
/// # Errors
/// [`ForkError`].
pub fn fork(parent: &KArc<Process>, frame: &TrapFrame) -> Result<u32, ForkError> {
    match try_fork(parent, frame) {
        Err(ForkError::OutOfMemory) if the_mm().reclaim(reclaim::BATCH) != 0 => try_fork(parent, frame),
        result => result,
    }
}

fn try_fork(parent: &KArc<Process>, frame: &TrapFrame) -> Result<u32, ForkError> {
    let place = family::reserve().ok_or(ForkError::TooMany)?;
    let descriptors = parent.descriptors.copy()?;
    let fp = sched::fp_copy()?;
    let space = the_mm().fork_space(parent.space())?;
    let child = Process {
        pid: place.pid(),
        name: parent.name,
        space: space.clone(),
        observer: parent.observer,
        descriptors,
        first: Some(parent.first.as_ref().unwrap_or(parent).clone()),
        life: end::Life::new(),
        syscalls: AtomicU64::new(0),
        thread: AtomicU64::new(0),
        events: AtomicU32::new(0),
    };
    let pid = child.pid;
    let started = KArc::try_new(child).map_err(ForkError::from).and_then(|child| {
        place.fill(&child, Parent::Process(parent))?;
        Ok(child.start_thread(&child, frame, (fp, tls::get()))?)
    });
    match started {
        Ok(()) => Ok(pid),
        Err(error) => {
            the_mm().destroy_space(&space);
            Err(error)
        }
    }
}

impl Process {
    /// Starts the thread of a process that has a place in its family, with these vector registers and this TPIDR_EL0.
    /// Where that cannot be, it has none any more.
    pub(super) fn start_thread(
        &self,
        this: &KArc<Process>,
        frame: &TrapFrame,
        (fp, tls): (Option<FpBox>, u64),
    ) -> Result<(), SpawnError> {
        let started = sched::spawn_user(this.clone(), frame, fp, tls, |thread| {
            self.thread.store(thread.to_word(), Ordering::Release);
        });
        started.inspect_err(|_| family::forget(self))
    }
}
