//! How a process ends.
#![forbid(unsafe_code)]

use core::fmt;

/// The signals that end a process here; the numbers are Linux's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Signal {
    /// An instruction that does not exist, or that EL0 may not use.
    Ill = 4,
    /// A breakpoint without a debugger.
    Trap = 5,
    /// An access that no memory answers: misaligned, or an empty hugetlb pool.
    Bus = 7,
    /// Killed for want of memory.
    Kill = 9,
    /// An address that is not mapped, or not for this access.
    Segv = 11,
    /// A write to a pipe that nobody reads.
    Pipe = 13,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Ill => "SIGILL",
            Signal::Trap => "SIGTRAP",
            Signal::Bus => "SIGBUS",
            Signal::Kill => "SIGKILL",
            Signal::Segv => "SIGSEGV",
            Signal::Pipe => "SIGPIPE",
        })
    }
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// By exit or exit_group, with this status.
    Exited(u8),
    /// By this signal.
    Killed(Signal),
}

impl ExitStatus {
    /// What a shell would show: the status, or 128 + the signal's number.
    pub const fn shell_code(self) -> u8 {
        match self {
            ExitStatus::Exited(status) => status,
            ExitStatus::Killed(signal) => 128 + signal as u8,
        }
    }

    /// The status word of `wait4`: the status in bits 15..8, or the signal in bits 6..0 (no core is dumped).
    pub const fn wait_word(self) -> u32 {
        match self {
            ExitStatus::Exited(status) => (status as u32) << 8,
            ExitStatus::Killed(signal) => signal as u32,
        }
    }

    const KILLED: u32 = 1 << 8;

    pub(super) const fn encode(self) -> u32 {
        match self {
            ExitStatus::Exited(status) => status as u32,
            ExitStatus::Killed(signal) => Self::KILLED | signal as u32,
        }
    }

    pub(super) fn decode(code: u32) -> Self {
        if code & Self::KILLED == 0 {
            return ExitStatus::Exited(code as u8);
        }
        let signals = [Signal::Ill, Signal::Trap, Signal::Bus, Signal::Kill, Signal::Segv, Signal::Pipe];
        let signal = signals.into_iter().find(|&signal| signal as u32 == code & 0xff);
        ExitStatus::Killed(signal.unwrap_or(Signal::Kill))
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(status) => write!(f, "exit status {status}"),
            ExitStatus::Killed(signal) => write!(f, "killed by {signal} (status {})", self.shell_code()),
        }
    }
}
