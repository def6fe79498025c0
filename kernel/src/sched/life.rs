//! The beginning and the end of threads.
//!
//! A thread cannot free the stack that it stands on: it is dead first, and the next thread that begins or ends buries
//! it. A few stacks are kept for the next threads, because mapping and unmapping one costs more than the rest of a
//! thread's life; [`reap`] frees them too.
#![forbid(unsafe_code)]

use core::fmt;

use allocator_api2::boxed::Box;
use arch::VirtAddr;
use arch::aarch64::percpu::STACK_PAGES;
use arch::aarch64::vectors::TrapFrame;
use arch::contract::CpuId;
use mm::kalloc::{KAlloc, KArc};

use super::switch::{begin, kick, reschedule};
use super::table::{MAX_THREADS, TABLE, Table};
use super::thread::{Body, FpBox, Thread, ThreadId};
use crate::process::Process;
use crate::the_mm;

/// Why no thread could be started. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// There are [`MAX_THREADS`] threads.
    TooMany,
    /// There is no memory for a stack.
    OutOfMemory,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::TooMany => write!(f, "there are {MAX_THREADS} threads, the most there can be"),
            SpawnError::OutOfMemory => f.write_str("no memory for a stack"),
        }
    }
}

/// The name of the threads of processes.
pub const USER_THREAD: &str = "user";

/// Starts a kernel thread.
///
/// # Errors
/// [`SpawnError`].
pub fn spawn(name: &'static str, run: fn(&'static mm::Mm)) -> Result<ThreadId, SpawnError> {
    let thread = Box::try_new_in(Thread::new(name, Body::Kernel(run)), KAlloc);
    start(thread.map_err(|_| SpawnError::OutOfMemory)?, |_| ())
}

/// Starts the thread of a process, which enters EL0 with these registers, of which `tls` is TPIDR_EL0. `told` is called
/// with its number before it runs, under the scheduler's lock.
///
/// # Errors
/// [`SpawnError`].
pub fn spawn_user(
    process: KArc<Process>,
    frame: &TrapFrame,
    fp: Option<FpBox>,
    tls: u64,
    told: impl FnOnce(ThreadId),
) -> Result<(), SpawnError> {
    let frame = Box::try_new_in(*frame, KAlloc).map_err(|_| SpawnError::OutOfMemory)?;
    let thread = Thread {
        process: Some(process),
        frame: Some(frame),
        fp,
        tls,
        ..Thread::new(USER_THREAD, Body::User)
    };
    start(Box::try_new_in(thread, KAlloc).map_err(|_| SpawnError::OutOfMemory)?, told).map(|_| ())
}

/// Makes the stopper of a CPU, which may not be up yet.
///
/// # Errors
/// [`SpawnError`].
pub fn make_stopper(cpu: CpuId) -> Result<(), SpawnError> {
    let thread = Box::try_new_in(Thread::new("stopper", Body::Stopper), KAlloc);
    admit(thread.map_err(|_| SpawnError::OutOfMemory)?, |table, id| table.adopt_stopper(cpu, id))
}

fn start(thread: Box<Thread, KAlloc>, told: impl FnOnce(ThreadId)) -> Result<ThreadId, SpawnError> {
    let (id, idle) = admit(thread, |table, id| {
        told(id);
        (id, table.make_runnable(id.slot))
    })?;
    idle.into_iter().for_each(kick);
    Ok(id)
}

/// Gives a thread a stack and a slot; `place` says what becomes of it, under the lock.
fn admit<R>(
    mut thread: Box<Thread, KAlloc>,
    place: impl FnOnce(&mut Table, ThreadId) -> R,
) -> Result<R, SpawnError> {
    bury_all();
    let spare = TABLE.lock().spare.pop();
    let stack = match spare {
        Some(stack) => stack,
        None => the_mm().alloc_stack(STACK_PAGES).map_err(|_| SpawnError::OutOfMemory)?,
    };
    (thread.stack, thread.context) = (Some(stack), begin(stack));
    let mut table = TABLE.lock();
    match table.admit(thread) {
        Ok(id) => Ok(place(&mut table, id)),
        Err(thread) => {
            drop(table);
            keep_or_free(stack);
            drop(thread);
            Err(SpawnError::TooMany)
        }
    }
}

/// Ends the running thread.
pub fn exit() -> ! {
    // The process may go with this reference, so it is dropped before the table is locked.
    let process = TABLE.lock().running_thread().and_then(|thread| thread.process.take());
    drop(process);
    bury_all();
    loop {
        reschedule(|table| table.retire());
    }
}

/// Frees all that ended threads have left, and the stacks that are kept for the next ones.
pub fn reap() {
    bury_all();
    let take = || TABLE.lock().spare.pop();
    core::iter::from_fn(take).for_each(free);
}

fn bury_all() {
    let one = || TABLE.lock().bury();
    core::iter::from_fn(one).filter_map(|thread| thread.stack).for_each(keep_or_free);
}

fn keep_or_free(stack: VirtAddr) {
    let kept = TABLE.lock().spare.try_push(stack);
    if kept.is_err() {
        free(stack);
    }
}

fn free(stack: VirtAddr) {
    the_mm().free_stack(stack, STACK_PAGES);
}
