//! One thread.
#![forbid(unsafe_code)]

use allocator_api2::boxed::Box;
use arch::VirtAddr;
use arch::aarch64::context::Context;
use arch::aarch64::fpsimd::FpState;
use arch::aarch64::vectors::TrapFrame;
use arch::contract::CpuId;
use arch::sync::sleeping::Ranks;
use mm::Mm;
use mm::kalloc::{KAlloc, KArc};

use crate::process::Process;

/// A slot of the table, and which of its tenants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadId {
    pub(super) slot: u16,
    pub(super) tenant: u32,
}

impl ThreadId {
    /// A number below 2^48 that no other thread has had, as far as 2^32 tenants of a slot go; never 0.
    pub const fn number(self) -> u64 {
        (self.tenant as u64) << 16 | self.slot as u64
    }
    /// The thread as one word, never 0.
    pub const fn to_word(self) -> u64 {
        1 << 63 | (self.tenant as u64) << 16 | self.slot as u64
    }
    /// From [`Self::to_word`]; `None` for 0.
    pub const fn from_word(word: u64) -> Option<ThreadId> {
        if word == 0 {
            return None;
        }
        Some(ThreadId { slot: word as u16, tenant: (word >> 16) as u32 })
    }
}

/// What a thread does.
#[derive(Clone, Copy)]
pub enum Body {
    /// Runs a function in the kernel.
    Kernel(fn(&'static Mm)),
    /// Runs the program of its process at EL0.
    User,
    /// Stands still when its CPU is asked to, before any other thread.
    Stopper,
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
    /// Waits for [`super::unpark_all`] of this key, or for this time.
    ParkedUntil(usize, u64),
    /// A stopper that nobody has called.
    Standby,
    /// Has ended; its stack is still to be freed.
    Dead,
}

impl State {
    /// The letter that `ps` prints, as Linux's does.
    pub const fn letter(self) -> char {
        match self {
            State::Free => '-',
            State::Runnable | State::Running(_) => 'R',
            State::Parked(_) | State::Sleeping(_) | State::ParkedUntil(..) | State::Standby => 'S',
            State::Dead => 'Z',
        }
    }
}

/// EL0's vector registers while they are not in a CPU.
pub type FpBox = Box<FpState, KAlloc>;

/// What a thread needs while it lives.
pub(super) struct Thread {
    pub(super) name: &'static str,
    pub(super) body: Body,
    /// Lowest usable address of the kernel stack; `None` for idle threads, which keep the stack their CPU
    /// started on.
    pub(super) stack: Option<VirtAddr>,
    pub(super) context: Context,
    pub(super) process: Option<KArc<Process>>,
    /// The registers with which it enters EL0, until it has.
    pub(super) frame: Option<Box<TrapFrame, KAlloc>>,
    /// EL0's vector registers, where the thread has used them.
    pub(super) fp: Option<FpBox>,
    /// TPIDR_EL0 while it does not run.
    pub(super) tls: u64,
    /// The ranks of the sleeping locks that it holds while it does not run.
    pub(super) holds: Ranks,
    /// Timer ticks during which it ran.
    pub(super) ticks: u64,
}

impl Thread {
    /// A thread of the kernel, without a stack yet.
    pub(super) const fn new(name: &'static str, body: Body) -> Thread {
        Thread {
            name,
            body,
            stack: None,
            context: Context::NONE,
            process: None,
            frame: None,
            fp: None,
            tls: 0,
            holds: Ranks::NONE,
            ticks: 0,
        }
    }
}
