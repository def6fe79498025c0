//! How many free pages are kept, and for whom.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;

use crate::page::PageKind;

/// Free pages at which the zone changes its mind (4 KiB units); `min < low < high` but for tiny zones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watermarks {
    /// Only [`Reserve::Usable`] allocations may go below.
    pub min: u64,
    /// Below it, memory is short.
    pub low: u64,
    /// Above it, memory is short no more.
    pub high: u64,
}

/// Whether an allocation may use the pages below the `min` mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserve {
    /// No: it fails at the mark.
    Kept,
    /// Yes, to the last page: without it, memory could not be given back.
    Usable,
}

const KIB_PER_PAGE: u64 = PAGE_SIZE / 1024;
/// `min` is 4 sqrt(zone in KiB), within these bounds (KiB), as in Linux (`min_free_kbytes`).
const MIN_KIB: (u64, u64) = (128, 256 << 10);

impl Watermarks {
    /// The marks of a zone of `managed` pages.
    #[must_use]
    pub fn new(managed: u64) -> Self {
        let kib = (managed * KIB_PER_PAGE * 16).isqrt().clamp(MIN_KIB.0, MIN_KIB.1);
        let min = (kib / KIB_PER_PAGE).min(managed / 8);
        Watermarks { min, low: min + min / 4, high: min + min / 2 }
    }

    /// Fewest pages that must be left after an allocation.
    #[must_use]
    pub fn floor(&self, reserve: Reserve) -> u64 {
        match reserve {
            Reserve::Kept => self.min,
            Reserve::Usable => 0,
        }
    }
}

impl Reserve {
    /// The right of allocations of this kind. Unmapping a part of a block needs a table, and dissolving an
    /// optimised hugetlb folio needs vmemmap, so both may use the last page; nobody can ask for many of them
    /// without many pages of other kinds.
    #[must_use]
    pub fn of(kind: PageKind) -> Self {
        match kind {
            PageKind::Table | PageKind::Vmemmap => Reserve::Usable,
            _ => Reserve::Kept,
        }
    }
}
