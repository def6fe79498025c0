//! What the check counted, and what it says where something does not agree.
#![forbid(unsafe_code)]

use core::fmt;

use arch::Pfn;

use super::tally::Tally;
use crate::buddy::ORDERS;
use crate::page::PageKind;

/// What the scan counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Pages of each kind, in the order of [`PageKind::ALL`] (4 KiB units). All pages of a block count as its
    /// first: those of a free block as [`PageKind::Buddy`], those on CPUs' lists as [`PageKind::Free`].
    pub pages: [u64; PageKind::ALL.len()],
    /// Free blocks of each order.
    pub free_blocks: [u64; ORDERS],
    /// Blocks of each kind by their first page, in the order of [`PageKind::ALL`].
    pub firsts: [Tally; PageKind::ALL.len()],
    /// Pages that are mapped writable in vmemmap.
    pub holders: Tally,
    /// Pages of vmemmap that are mapped read-only (4 KiB units).
    pub read_only_vmemmap: u64,
    /// Pages of the kernel that users map, once for each leaf.
    pub device_pages: Tally,
    /// Live address spaces.
    pub spaces: u64,
}

impl Report {
    /// Pages of one kind (4 KiB units).
    #[must_use]
    pub fn pages_of(&self, kind: PageKind) -> u64 {
        self.pages[kind as usize]
    }
    /// The first pages of all blocks of one kind.
    #[must_use]
    pub fn firsts_of(&self, kind: PageKind) -> Tally {
        self.firsts[kind as usize]
    }
    /// Free pages (4 KiB units).
    #[must_use]
    pub fn free_pages(&self) -> u64 {
        self.pages_of(PageKind::Buddy) + self.pages_of(PageKind::Free)
    }
    /// All pages (4 KiB units).
    #[must_use]
    pub fn all_pages(&self) -> u64 {
        self.pages.iter().sum()
    }
}

/// The first thing that does not agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inconsistency {
    /// What was compared, in words.
    pub what: &'static str,
    /// The page concerned, where it is one.
    pub pfn: Option<Pfn>,
    /// What it should be.
    pub expected: u64,
    /// What it is.
    pub found: u64,
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pfn) = self.pfn {
            write!(f, "pfn {pfn}: ")?;
        }
        write!(f, "{}: expected {:#x}, found {:#x}", self.what, self.expected, self.found)
    }
}

/// `Ok` where both are equal.
///
/// # Errors
/// [`Inconsistency`] that says what was compared.
pub fn agree(what: &'static str, pfn: Option<Pfn>, expected: u64, found: u64) -> Result<(), Inconsistency> {
    if expected == found { Ok(()) } else { Err(Inconsistency { what, pfn, expected, found }) }
}
