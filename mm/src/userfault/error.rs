//! Why a call of whoever serves failed, with Linux's error number for it.
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;

use crate::space::{Errno, MmapError, Vma};

/// Why. Nothing has changed, but where the call says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserfaultError {
    /// The range is empty, is not of whole pages, or leaves the user half (EINVAL).
    Range(VirtAddr),
    /// No VMA has a share in the range (EINVAL).
    NoVma(VirtAddr),
    /// Faults of this VMA cannot be served (EINVAL).
    Unsuitable(Vma),
    /// The VMA is registered with another context: EBUSY to who registers.
    Busy(Vma),
    /// The VMA is registered with another context: EINVAL to who unregisters.
    NotOwn(Vma),
    /// The range does not begin or end with a page of its VMA, or there is no room for one more VMA.
    Cut(MmapError),
    /// The space has ended (ENOMEM).
    Ended,
}

impl UserfaultError {
    /// The error number that Linux gives.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            UserfaultError::Range(_)
            | UserfaultError::NoVma(_)
            | UserfaultError::Unsuitable(_)
            | UserfaultError::NotOwn(_) => Errno::Inval,
            UserfaultError::Busy(_) => Errno::Busy,
            UserfaultError::Cut(error) => error.errno(),
            UserfaultError::Ended => Errno::NoMem,
        }
    }
}

impl fmt::Display for UserfaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserfaultError::Range(va) => write!(f, "the range at {va} is not one of whole pages"),
            UserfaultError::NoVma(va) => write!(f, "nothing is mapped from {va} on"),
            UserfaultError::Unsuitable(vma) => write!(f, "{vma} is not shared hugetlb memory"),
            UserfaultError::Busy(vma) | UserfaultError::NotOwn(vma) => {
                write!(f, "{vma} is registered with another context")
            }
            UserfaultError::Cut(error) => error.fmt(f),
            UserfaultError::Ended => f.write_str("the address space has ended"),
        }
    }
}
