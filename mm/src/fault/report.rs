//! Why a fault cannot be resolved, for people and for signals.
#![forbid(unsafe_code)]

use core::fmt;

use arch::contract::{FaultStatus, Privilege};
use arch::layout::USER_END;
use arch::{Access, Pfn};

use super::FaultInfo;
use crate::error::OutOfMemory;
use crate::space::Vma;
use crate::userfault::Ticket;

/// Why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultReason {
    /// The address is not one of the user half.
    NotUserAddress,
    /// No VMA holds the address.
    NoVma,
    /// The VMA does not allow the access.
    Rights,
    /// No memory for the page or its tables.
    OutOfMemory,
    /// So many references to the page's folio are held that one more might wrap the count.
    TooManyReferences(Pfn),
    /// The hugetlb pool has no page left, and none was promised to this mapping.
    HugetlbEmpty,
    /// The object has no page there: its end lies before.
    BeyondObject,
    /// The memory there has failed, and with it 2^`lsb` bytes, aligned, of what is mapped.
    MemoryFailure {
        /// 12 where a page of 4 KiB is lost, else the base-2 logarithm of a hugetlb page (Linux: `si_addr_lsb`).
        lsb: u8,
    },
    /// The device whose memory is mapped has put nothing there.
    NotInserted,
    /// A private write to a frame of a device that cannot be read like memory.
    NotCopyable,
    /// Whoever serves the range was told and is to be waited for, without any lock. Does not leave this room.
    Told(Ticket),
    /// Whoever serves the range serves accesses of the program only, and this is one of the kernel.
    UserModeOnly,
    /// The process is to end, and does not wait for whoever serves the range.
    Killed,
    /// The machine reports a failure that memory management cannot mend.
    Machine(FaultStatus),
}

impl FaultReason {
    /// A page of 4 KiB has failed, and what is around it is good.
    pub const PAGE_FAILURE: FaultReason = FaultReason::MemoryFailure { lsb: 12 };
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultReason::NotUserAddress => f.write_str("not a user address"),
            FaultReason::NoVma => f.write_str("nothing is mapped there"),
            FaultReason::Rights => f.write_str("the mapping does not allow it"),
            FaultReason::OutOfMemory => f.write_str("out of memory"),
            FaultReason::TooManyReferences(pfn) => {
                write!(f, "the references to the folio at pfn {:#x} are close to overflow", pfn.raw())
            }
            FaultReason::HugetlbEmpty => f.write_str("the hugetlb pool is empty"),
            FaultReason::BeyondObject => f.write_str("the object that is mapped there ends before"),
            FaultReason::MemoryFailure { lsb } => {
                write!(f, "the memory has failed: BUS_MCEERR_AR, lsb {lsb}")
            }
            FaultReason::NotInserted => f.write_str("the device has put nothing there"),
            FaultReason::NotCopyable => f.write_str("a frame outside of RAM cannot be copied"),
            FaultReason::Told(_) => f.write_str("whoever serves the range was told"),
            FaultReason::UserModeOnly => f.write_str("accesses of the kernel are not served there"),
            FaultReason::Killed => f.write_str("the process is to end"),
            FaultReason::Machine(status) => status.fmt(f),
        }
    }
}

impl From<OutOfMemory> for FaultReason {
    fn from(_: OutOfMemory) -> Self {
        FaultReason::OutOfMemory
    }
}

/// What Linux would send for a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGSEGV, SEGV_MAPERR.
    SegvMapErr,
    /// SIGSEGV, SEGV_ACCERR.
    SegvAccErr,
    /// SIGBUS, BUS_ADRERR.
    Bus,
    /// SIGBUS, BUS_MCEERR_AR: the address is that of the fault, and so many low bits of it mean nothing.
    BusMceErrAr {
        /// `si_addr_lsb`.
        lsb: u8,
    },
    /// SIGKILL by the out-of-memory killer.
    OutOfMemoryKill,
    /// None: the process has had the one that ends it.
    Ending,
}

/// A fault that cannot be resolved: what, why, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultError {
    /// Why.
    pub reason: FaultReason,
    /// What the exception said.
    pub info: FaultInfo,
    /// The VMA that holds the address, where there is one.
    pub vma: Option<Vma>,
}

impl FaultError {
    /// What Linux would send.
    #[must_use]
    pub const fn signal(&self) -> Signal {
        match self.reason {
            FaultReason::NotUserAddress | FaultReason::NoVma => Signal::SegvMapErr,
            FaultReason::Rights => Signal::SegvAccErr,
            FaultReason::HugetlbEmpty
            | FaultReason::BeyondObject
            | FaultReason::NotInserted
            | FaultReason::NotCopyable
            | FaultReason::TooManyReferences(_)
            | FaultReason::UserModeOnly
            | FaultReason::Machine(_) => Signal::Bus,
            FaultReason::MemoryFailure { lsb } => Signal::BusMceErrAr { lsb },
            FaultReason::Told(_) | FaultReason::Killed => Signal::Ending,
            FaultReason::OutOfMemory => Signal::OutOfMemoryKill,
        }
    }
}

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.info.privilege {
            Privilege::User => "user",
            Privilege::Kernel => "kernel",
        };
        let verb = match self.info.access {
            Access::Read => "read of",
            Access::Write => "write to",
            Access::Execute => "fetch from",
        };
        write!(f, "{who} {verb} {}: {}", self.info.va, self.reason)?;
        match self.vma {
            Some(vma) => write!(f, " (VMA {vma}; {})", self.info.status),
            None => write!(f, " (no VMA; {})", self.info.status),
        }
    }
}

/// Whether the fault is of a kind that a table entry can mend.
pub(super) fn check_status(info: &FaultInfo) -> Result<(), FaultReason> {
    if !info.va.is_user() || info.va >= USER_END {
        return Err(FaultReason::NotUserAddress);
    }
    match info.status {
        FaultStatus::Translation(_) | FaultStatus::Permission(_) | FaultStatus::AccessFlag(_) => Ok(()),
        status => Err(FaultReason::Machine(status)),
    }
}
