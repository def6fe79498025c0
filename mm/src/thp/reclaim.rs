//! Reservations under memory pressure.
//!
//! First generation: every reservation is dropped (`reserve_reclaim=all`). Their unused pages are what memory
//! can be had from at no cost but speed, so they go before anything else does. Ranges that lose their
//! reservation keep their populated pages.
#![forbid(unsafe_code)]

use super::reservation;
use crate::Mm;

/// Releases every reservation of every space, and returns how many unused pages that freed (4 KiB units). Called by an
/// allocation that found no memory. Takes R of one bucket at a time and no sleeping lock, so a fault that holds M may
/// call it; the caller holds no spinlock. A promotion under way notices, and gives up.
pub fn drop_reservations(mm: &Mm) -> u64 {
    arch::sync::assert_may_sleep("releasing reservations");
    reservation::release_where(mm, |_| true)
}
