//! 64 KiB on the way to 2 MiB: 16 pages of a reservation that stand side by side become a folded group.
//!
//! ```text
//!   range        | 0 .. 15 | 16 .. 31 | 32 .. 47 | ...  | 496 .. 511 |
//!   populated      all       all        some              none
//!   entries        [ C x 16 | C x 16   | A A . A  | ...  |            ]   --- at the threshold ---> one block
//! ```
//! The fault that populates the last of 16 aligned pages folds their entries in place, where they have equal rights
//! and `contpte=on`: a TLB may hold the 64 KiB by one entry from then on, long before the range is ripe for 2 MiB, and
//! also where it never will be. Page `i` of the block backs page `i` of the range, so that the 16 map one aligned run
//! of memory is so by the way that reservations work; the entries are looked at all the same.
//!
//! **Cost.** By break-before-make, one flush a group: 32 stores and one TLBI of 64 KiB by range, once for 16 faults. Where
//! FEAT_BBM is level 3 the bit is set in place: 16 stores. The fault that reaches the threshold does not fold with
//! `promote=sync`, since what it promotes needs no groups.
//!
//! **What it needs of others.** Nothing. The pages stay 16 single pages, each with its own counts and references, and
//! whoever changes one of the entries unfolds the group ([`crate::pgtable::fold`]). A promotion replaces the table with
//! groups and all: its one flush of 2 MiB covers them. When the reservation is released the group stays.
//!
//! A hint that is missed costs nothing but the group: where two faults of a group are under way at once, the one that
//! finds the other's entry missing leaves it.
#![forbid(unsafe_code)]

use arch::{Level, VirtAddr};

use crate::Mm;
use crate::pgtable::Fold;
use crate::space::AddressSpace;
use crate::stats::Counter;

/// Folds the group of `va`, if its 16 entries allow it. The caller holds M for reading and no spinlock.
pub(super) fn fold(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, Level::L3) else { return };
    if entry.fold_singles(mm) == Fold::Folded {
        mm.stats.inc(Counter::ThpResFolded);
    }
}
