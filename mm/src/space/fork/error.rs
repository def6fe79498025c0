//! Why a fork failed.
#![forbid(unsafe_code)]

use core::fmt;

use arch::Pfn;

use crate::error::OutOfMemory;
use crate::space::{Errno, MmapError};

/// Why a fork failed. There is no child, and the parent has what it had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForkError {
    /// No memory for the child's tables, VMAs, or its place in the lineage, or for the copy of a pinned page.
    OutOfMemory,
    /// So many entries map a part of this folio, or so many references to it are held, that one more might wrap a
    /// count.
    TooManyMappings(Pfn),
}

impl ForkError {
    /// The Linux error number: ENOMEM, whichever it is (`copy_page_range`, `dup_mmap`).
    #[must_use]
    pub const fn errno(&self) -> Errno {
        Errno::NoMem
    }
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForkError::OutOfMemory => OutOfMemory.fmt(f),
            ForkError::TooManyMappings(pfn) => {
                write!(f, "the counts of the folio at pfn {:#x} are close to overflow", pfn.raw())
            }
        }
    }
}

impl From<OutOfMemory> for ForkError {
    fn from(_: OutOfMemory) -> Self {
        ForkError::OutOfMemory
    }
}

impl From<MmapError> for ForkError {
    /// The child's VMAs are as many as the parent's, so it is memory that they lack.
    fn from(_: MmapError) -> Self {
        ForkError::OutOfMemory
    }
}
