//! The full consistency check: counts and lists against a scan of everything.
//!
//! Each room has one function in [`ROOMS`], which compares what the room believes with what it finds. Costs a
//! look at every struct page. Nothing else may run meanwhile: on the machine, under
//! [`crate::env::KernelEnv::stop_machine`].
#![forbid(unsafe_code)]

use core::fmt;

use arch::Pfn;

use crate::Mm;
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
}

impl Report {
    /// Pages of one kind (4 KiB units).
    #[must_use]
    pub fn pages_of(&self, kind: PageKind) -> u64 {
        self.pages[kind as usize]
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

/// A room's check. It may add to the report.
pub type RoomCheck = fn(&Mm, &mut Report) -> Result<(), Inconsistency>;

/// Every room's check, by the room's name. The first fills in the report.
pub const ROOMS: &[(&str, RoomCheck)] = &[
    ("buddy", Mm::check_buddy),
    ("kernel tables", Mm::check_kernel_tables),
    ("reservations", Mm::check_reservations),
    ("hugetlb", Mm::check_hugetlb),
];

impl Mm {
    /// Checks everything.
    ///
    /// # Errors
    /// The first [`Inconsistency`].
    pub fn check_all(&self) -> Result<Report, Inconsistency> {
        let mut report = Report::default();
        ROOMS.iter().try_for_each(|(_, check)| check(self, &mut report))?;
        Ok(report)
    }
}
