//! Memory pressure: reservations, and the unmapped parts of folios.
//!
//! First generation: every reservation is dropped (`reserve_reclaim=all`). Their unused pages are memory that can be
//! had at no cost but speed, so they go before anything else does. Ranges that lose their reservation keep their
//! populated pages. Where there are none, folios that are mapped in part are split, and the parts that nobody maps are
//! free ([`crate::rmap::deferred`]).
//!
//! | allocation | looks here |
//! |---|---|
//! | single pages of processes, page tables, struct pages, hugetlb folios | yes |
//! | huge pages and reservations | no: they are had where a block is free, or not at all |
//! | kernel memory | no: the heap may be asked with locks held that stand above R |
#![forbid(unsafe_code)]

use arch::Order;

use super::reservation;
use crate::Mm;
use crate::page::PageKind;
use crate::rmap;

/// An allocation of 2^`order` pages of `kind` found no memory: makes some free, where that is for such an
/// allocation to do. Returns how many pages became free (4 KiB units); 0: do not try again. The caller holds no lock of
/// rank 30 or above.
pub(crate) fn make_room(mm: &Mm, order: Order, kind: PageKind) -> u64 {
    let entitled = match kind {
        PageKind::Anon => order == Order::PAGE,
        PageKind::Table | PageKind::Vmemmap | PageKind::Hugetlb => true,
        _ => false,
    };
    if !entitled {
        return 0;
    }
    match drop_reservations(mm) {
        0 => rmap::deferred::split_deferred(mm),
        pages => pages,
    }
}

/// Releases every reservation of every space, and returns how many unused pages that freed (4 KiB units). Takes R of
/// one bucket at a time and no sleeping lock, so a fault that holds M may call it; the caller holds no lock of rank 40
/// or above. A promotion under way notices, and gives up.
pub fn drop_reservations(mm: &Mm) -> u64 {
    reservation::release_where(mm, |_| true)
}
