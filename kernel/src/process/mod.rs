//! Processes: one thread each, loaded from a static ELF file of the initrd, or forked from another process.
//!
//! ```text
//!   run("hello", args) -> load --.                    .---> EL0, until a trap --.
//!                                +--> Process, thread |                         |   `user`
//!   clone(SIGCHLD) ------> fork -'                    `---- system call, fault -'
//!                                                               |  exit, or a signal that ends it
//!   wait, wait4 <------ status <------ space taken apart <------'
//! ```
//! A process ends on its own thread, outside of its address space, which it takes apart before anybody is told of
//! the end: who has waited for a process finds its memory free. Who ends a process leaves a verdict; its thread sees
//! that before it goes to EL0 again, and no wait for a key of its own outlasts it.
//!
//! The process that `run` starts is to its descendants what the first process of a pid namespace is on Linux: it adopts
//! orphans, and when it ends, the kernel ends all others with SIGKILL and waits for them first.
//!
//! | file | what |
//! |---|---|
//! | `elf` | what a program file asks for |
//! | `load` | an address space with a program in it |
//! | `stack` | arguments and auxiliary vector, as Linux lays them out |
//! | `start` | the first process of a family |
//! | `fork` | a process out of a process |
//! | `family` | numbers, parents and children, zombies |
//! | `user` | EL0 runs, and what each exception leads to |
//! | `end` | the end, and who waits for it |
//! | `oom` | who is killed when memory is out |
//! | `status` | how a process ended, for people and as Linux's status word |
#![forbid(unsafe_code)]

mod elf;
mod end;
pub mod family;
mod fork;
mod load;
mod oom;
mod stack;
mod start;
mod status;
pub mod user;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arrayvec::ArrayString;
use mm::kalloc::KArc;
use mm::space::AddressSpace;

pub use end::Killed;
pub use family::{Waited, Which, find, for_each};
pub use fork::{ForkError, fork};
pub use load::{FIRST_STACK, RunError};
pub use start::run;
pub use status::{ExitStatus, Signal};
pub use user::run_user;

use crate::descriptors::Descriptors;
use crate::print;

/// Who is told of what a process writes to the console, in the middle of its system call.
#[derive(Clone, Copy)]
pub enum Observer {
    /// Told of each line that begins with `@stop `, of what follows; all else is printed.
    Stops(fn(&Process, &str)),
    /// Told of all; nothing is printed.
    All(fn(&[u8])),
}

/// One process.
pub struct Process {
    pid: u32,
    name: ArrayString<32>,
    space: KArc<AddressSpace>,
    observer: Option<Observer>,
    /// Its open files.
    pub descriptors: Descriptors,
    /// The first process of the family; `None` for that one itself.
    first: Option<KArc<Process>>,
    life: end::Life,
    syscalls: AtomicU64,
    /// The word of its thread, see [`crate::sched::ThreadId::to_word`]; 0 before there is one.
    thread: AtomicU64,
    /// Ends of children, and whatever else it may wait for in `wait4`.
    events: AtomicU32,
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
        self.life.has_space().then_some(&*self.space)
    }
    /// Whether somebody has waited for it, or nobody will: its number may be another's by now.
    pub fn is_forgotten(&self) -> bool {
        find(self.pid).is_none_or(|other| !core::ptr::eq(&raw const *other, self))
    }
    /// System calls that it has made.
    pub fn syscalls(&self) -> u64 {
        self.syscalls.load(Ordering::Relaxed)
    }
    /// Its process group: the number of the first process of its family.
    pub fn group(&self) -> u32 {
        self.first.as_ref().map_or(self.pid, |first| first.pid)
    }
    /// What it writes goes to the console, unless it is for its observer.
    pub(crate) fn output(&self, bytes: &[u8]) {
        let stop = || core::str::from_utf8(bytes).ok()?.strip_prefix("@stop ");
        match (self.observer, stop()) {
            (Some(Observer::All(hear)), _) => hear(bytes),
            (Some(Observer::Stops(observe)), Some(stop)) => observe(self, stop.trim_end()),
            _ => bytes.utf8_chunks().for_each(|chunk| {
                print!("{}", chunk.valid());
                if !chunk.invalid().is_empty() {
                    print!("{}", char::REPLACEMENT_CHARACTER);
                }
            }),
        }
    }
}
