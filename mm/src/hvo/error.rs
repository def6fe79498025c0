//! Why a folio cannot be optimised or restored, and what became of a batch.
#![forbid(unsafe_code)]

use core::fmt;

use arch::{Desc, Pfn, VirtAddr};

use super::layout::Refused;
use crate::error::OutOfMemory;

/// Why a folio stayed as it was. No entry was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HvoError {
    /// The boot choice is `hvo=off`.
    Off,
    /// The page is not the head of a hugetlb folio.
    NotHugetlb(Pfn),
    /// Somebody holds references to the folio: this many.
    NotFrozen(Pfn, u32),
    /// The folio is optimised already.
    Optimized(Pfn),
    /// The folio is not optimised.
    NotOptimized(Pfn),
    /// Folios of this size cannot be optimised.
    Layout(Refused),
    /// A tail of the vmemmap page at this address holds more than its encoding.
    NotPristine(VirtAddr),
    /// vmemmap at this address is mapped by a block, which is not to be split.
    Unsplit(VirtAddr),
    /// vmemmap at this address is not mapped as it should be: what was found.
    Entry(VirtAddr, Desc),
    /// No memory for the pages or tables of the remap.
    OutOfMemory,
}

impl From<OutOfMemory> for HvoError {
    fn from(_: OutOfMemory) -> Self {
        HvoError::OutOfMemory
    }
}

impl From<Refused> for HvoError {
    fn from(refused: Refused) -> Self {
        HvoError::Layout(refused)
    }
}

impl fmt::Display for HvoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HvoError::Off => f.write_str("the kernel was booted with hvo=off"),
            HvoError::NotHugetlb(pfn) => write!(f, "pfn {pfn} is not the head of a hugetlb folio"),
            HvoError::NotFrozen(pfn, n) => write!(f, "the folio at pfn {pfn} has {n} references"),
            HvoError::Optimized(pfn) => write!(f, "the folio at pfn {pfn} is optimised already"),
            HvoError::NotOptimized(pfn) => write!(f, "the folio at pfn {pfn} is not optimised"),
            HvoError::Layout(refused) => refused.fmt(f),
            HvoError::NotPristine(va) => write!(f, "a tail in the vmemmap page at {va} is not pristine"),
            HvoError::Unsplit(va) => {
                write!(f, "vmemmap at {va} is mapped by a block, and hvo_split=refuse does not split it")
            }
            HvoError::Entry(va, desc) => write!(f, "the entry for vmemmap at {va} is {desc}"),
            HvoError::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

/// What became of a list of folios.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "some folios may have stayed as they were"]
pub struct BatchOutcome {
    /// Folios that were remapped.
    pub done: u64,
    /// The first folio that stayed as it was, and why.
    pub first_error: Option<(Pfn, HvoError)>,
}

impl BatchOutcome {
    pub(super) const NOTHING: BatchOutcome = BatchOutcome { done: 0, first_error: None };

    pub(super) fn record(&mut self, pfn: Pfn, result: Result<(), HvoError>) {
        match result {
            Ok(()) => self.done += 1,
            Err(error) => self.first_error = self.first_error.or(Some((pfn, error))),
        }
    }

    pub(super) fn into_result(self) -> Result<(), HvoError> {
        self.first_error.map_or(Ok(()), |(_, error)| Err(error))
    }
}
