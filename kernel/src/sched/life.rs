//! The beginning and the end of threads.
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;
use arch::aarch64::percpu::STACK_PAGES;
use mm::kalloc::KArc;

use super::switch::{begin, kick, reschedule};
use super::table::TABLE;
use super::thread::{Body, MAX_THREADS, State, Thread, ThreadId};
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
    start(name, Body::Kernel(run), None)
}

/// Starts the thread of a process.
///
/// # Errors
/// [`SpawnError`].
pub fn spawn_user(process: KArc<Process>) -> Result<ThreadId, SpawnError> {
    start(USER_THREAD, Body::User, Some(process))
}

fn start(name: &'static str, body: Body, process: Option<KArc<Process>>) -> Result<ThreadId, SpawnError> {
    reap();
    let stack = the_mm().alloc_stack(STACK_PAGES).map_err(|_| SpawnError::OutOfMemory)?;
    let mut table = TABLE.lock();
    let Some(id) = table.new_tenant() else {
        drop(table);
        the_mm().free_stack(stack, STACK_PAGES);
        return Err(SpawnError::TooMany);
    };
    table.threads[usize::from(id.slot)] = Thread {
        state: State::Runnable,
        tenant: id.tenant,
        name,
        body,
        stack: Some(stack),
        context: begin(stack),
        process,
        fp: None,
        ticks: 0,
    };
    let idle = table.make_runnable(id.slot);
    drop(table);
    idle.into_iter().for_each(kick);
    Ok(id)
}

/// Ends the running thread. Its stack is freed by [`reap`].
pub fn exit() -> ! {
    // The process may go with this reference, so it is dropped before the table is locked.
    let process = TABLE.lock().running_thread().and_then(|thread| thread.process.take());
    drop(process);
    loop {
        reschedule(|table| {
            if let Some(thread) = table.running_thread() {
                thread.state = State::Dead;
            }
        });
    }
}

/// Frees the stacks of threads that have ended.
pub fn reap() {
    while let Some(stack) = bury_one() {
        the_mm().free_stack(stack, STACK_PAGES);
    }
}

/// A dead thread's slot becomes free; its stack is the caller's. A thread is dead only once it has left its CPU: the
/// lock is held from the mark to the switch.
fn bury_one() -> Option<VirtAddr> {
    let mut table = TABLE.lock();
    let thread = table.threads.iter_mut().find(|thread| thread.state == State::Dead)?;
    thread.state = State::Free;
    thread.fp = None;
    thread.stack.take()
}
