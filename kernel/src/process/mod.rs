//! Processes: one thread each, loaded from a static ELF file of the initrd.
//!
//! ```text
//!   run("hello", args) -> load -> Process ---- thread: first entry to EL0
//!                                    |             |  traps: system calls, faults
//!                                    |             v
//!                                  wait <------- exit, or killed with a message
//! ```
//! A process ends on its own thread, outside of its address space, which it takes apart before anybody is told of
//! the end: who has waited for a process finds its memory free.
//!
//! | file | what |
//! |---|---|
//! | `elf` | what a program file asks for |
//! | `end` | exit, and who waits for it |
//! | `load` | an address space with a program in it |
//! | `stack` | arguments and auxiliary vector, as Linux lays them out |
//! | `trap` | what an exception of a process leads to |
#![forbid(unsafe_code)]

mod elf;
mod end;
mod load;
mod stack;
mod status;
pub mod trap;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arch::VirtAddr;
use arch::aarch64::context;
use arch::aarch64::vectors::TrapFrame;
use arrayvec::ArrayString;
use mm::kalloc::KArc;
use mm::space::AddressSpace;

pub use end::leave;
pub use load::{FIRST_STACK, RunError};
pub use status::{ExitStatus, Signal};

use crate::{print, sched, the_mm};

/// Told of each line that a process writes and that begins with `@stop `, in the middle of its system call.
pub type Observer = fn(&Process, &str);

/// One process.
pub struct Process {
    pid: u32,
    name: ArrayString<32>,
    space: KArc<AddressSpace>,
    entry: VirtAddr,
    stack: VirtAddr,
    observer: Option<Observer>,
    /// [`LIVES`], [`ENDS`], or the encoded [`ExitStatus`].
    state: AtomicU32,
    syscalls: AtomicU64,
}

/// The program runs.
const LIVES: u32 = u32::MAX;
/// The address space is being taken apart.
const ENDS: u32 = u32::MAX - 1;

/// The number of the next process; 1 is the first.
static NEXT_PID: AtomicU32 = AtomicU32::new(1);

/// Starts a program of the initrd with these arguments, the first of which is by custom its name.
///
/// # Errors
/// [`RunError`]; nothing is left behind.
pub fn run(name: &str, args: &[&str], observer: Option<Observer>) -> Result<KArc<Process>, RunError> {
    let mm = the_mm();
    let image = load::load(mm, name, args)?;
    let process = Process {
        pid: NEXT_PID.fetch_add(1, Ordering::Relaxed),
        name: load::short_name(name),
        space: image.space.clone(),
        entry: image.entry,
        stack: image.stack,
        observer,
        state: AtomicU32::new(LIVES),
        syscalls: AtomicU64::new(0),
    };
    let started = match KArc::try_new(process) {
        Ok(process) => sched::spawn_user(process.clone()).map(|_| process).map_err(RunError::Spawn),
        Err(_) => Err(RunError::OutOfMemory),
    };
    if started.is_err() {
        mm.destroy_space(&image.space);
    }
    started
}

/// The thread of a process begins: goes to EL0 for the first time.
pub fn run_current() {
    if let Some(process) = sched::current_process() {
        let (entry, stack) = (process.entry, process.stack);
        drop(process);
        context::enter_user(&TrapFrame::user(entry.raw(), stack.raw()));
    }
}

impl Process {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }
    /// The name of its program.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Its address space.
    pub fn space(&self) -> &KArc<AddressSpace> {
        &self.space
    }
    /// The address space to install when its thread runs; none once it is being taken apart.
    pub fn active_space(&self) -> Option<&AddressSpace> {
        (self.state.load(Ordering::Acquire) == LIVES).then_some(&*self.space)
    }
    /// System calls that it has made.
    pub fn syscalls(&self) -> u64 {
        self.syscalls.load(Ordering::Relaxed)
    }
    /// What it writes goes to the console; its observer is told first, where it has one and the line is for it.
    pub(crate) fn output(&self, bytes: &[u8]) {
        let line = core::str::from_utf8(bytes).ok().and_then(|line| line.strip_prefix("@stop "));
        match (self.observer, line) {
            (Some(observe), Some(stop)) => observe(self, stop.trim_end()),
            _ => bytes.utf8_chunks().for_each(|chunk| {
                print!("{}", chunk.valid());
                if !chunk.invalid().is_empty() {
                    print!("{}", char::REPLACEMENT_CHARACTER);
                }
            }),
        }
    }
}
