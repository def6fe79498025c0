//! One thread.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::aarch64::context::Context;
use arch::aarch64::fpsimd::FpState;
use arch::contract::CpuId;
use mm::Mm;
use mm::kalloc::KArc;

use crate::process::Process;

/// Threads that can exist at a time, the idle threads among them.
pub const MAX_THREADS: usize = 256;

/// A slot of the table, and which of its tenants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadId {
    pub(super) slot: u16,
    pub(super) tenant: u32,
}

/// What a thread does.
#[derive(Clone, Copy)]
pub enum Body {
    /// Runs a function in the kernel.
    Kernel(fn(&'static Mm)),
    /// Runs the program of its process at EL0.
    User,
    /// Waits for interrupts when its CPU has nothing else to do.
    Idle,
}

/// Where a thread is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The slot has no tenant.
    Free,
    /// Waits for a CPU.
    Runnable,
    /// Has one.
    Running(CpuId),
    /// Waits for [`super::unpark_all`] of this key.
    Parked(usize),
    /// Waits for this time, in nanoseconds since boot.
    Sleeping(u64),
    /// Has ended; its stack is still to be freed.
    Dead,
}

impl State {
    /// The letter that `ps` prints, as Linux's does.
    pub const fn letter(self) -> char {
        match self {
            State::Free => '-',
            State::Runnable | State::Running(_) => 'R',
            State::Parked(_) | State::Sleeping(_) => 'S',
            State::Dead => 'Z',
        }
    }
}

/// A slot of the table.
pub(super) struct Thread {
    pub(super) state: State,
    pub(super) tenant: u32,
    pub(super) name: &'static str,
    pub(super) body: Body,
    /// Lowest usable address of the kernel stack; `None` for idle threads, which keep the stack their CPU
    /// started on.
    pub(super) stack: Option<VirtAddr>,
    pub(super) context: Context,
    pub(super) process: Option<KArc<Process>>,
    /// EL0's vector registers, where the thread has used them.
    pub(super) fp: Option<FpState>,
    /// Timer ticks during which it ran.
    pub(super) ticks: u64,
}

impl Thread {
    pub(super) const FREE: Thread = Thread {
        state: State::Free,
        tenant: 0,
        name: "",
        body: Body::Idle,
        stack: None,
        context: Context::NONE,
        process: None,
        fp: None,
        ticks: 0,
    };
}
