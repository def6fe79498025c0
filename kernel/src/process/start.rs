//! The first process of a family: a program of the initrd.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicU64};

use arch::aarch64::vectors::TrapFrame;
use mm::kalloc::KArc;

use super::family::{self, Parent};
use super::load::{self, Image, RunError};
use super::{Observer, Process, end};
use crate::descriptors::Descriptors;
use crate::{sched, the_mm};

/// Starts a program of the initrd with these arguments, the first of which is by custom its name.
///
/// # Errors
/// [`RunError`]; nothing is left behind.
pub fn run(name: &str, args: &[&str], observer: Option<Observer>) -> Result<KArc<Process>, RunError> {
    let mm = the_mm();
    let image = load::load(mm, name, args)?;
    start(name, &image, observer).inspect_err(|_| mm.destroy_space(&image.space))
}

fn start(name: &str, image: &Image, observer: Option<Observer>) -> Result<KArc<Process>, RunError> {
    let descriptors = Descriptors::console().map_err(|_| RunError::OutOfMemory)?;
    let place = family::reserve().ok_or(RunError::Spawn(sched::SpawnError::TooMany))?;
    let process = Process {
        pid: place.pid(),
        name: load::short_name(name),
        space: image.space.clone(),
        observer,
        descriptors,
        first: None,
        life: end::Life::new(),
        syscalls: AtomicU64::new(0),
        thread: AtomicU64::new(0),
        events: AtomicU32::new(0),
    };
    let process = KArc::try_new(process).map_err(|_| RunError::OutOfMemory)?;
    let frame = TrapFrame::user(image.entry.raw(), image.stack.raw());
    place.fill(&process, Parent::Kernel).map_err(|_| RunError::OutOfMemory)?;
    process.start_thread(&process, &frame, (None, 0)).map_err(RunError::Spawn)?;
    Ok(process)
}
