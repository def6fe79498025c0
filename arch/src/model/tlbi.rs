//! Which entries a TLBI removes (Arm ARM D8.14.5).

use super::cpus::Cpus;
use super::stale::{HeldBy, Region, Stale};
use crate::addr::{Level, PAGE_SIZE, VirtAddr};
use crate::contract::{Depth, FlushScope, MAX_RANGE_PAGES, Tag, Tlbi};

/// A TLBI that was issued and has not completed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) op: Tlbi,
    pub(super) scope: FlushScope,
    /// When it was issued: only stores that were visible by then are covered.
    pub(super) issued: u64,
}

/// Panics in words where the TLBI is not well formed.
pub(super) fn validate(op: &Tlbi) {
    if let Tlbi::Range { start, pages, .. } = *op {
        assert!(start.is_aligned(PAGE_SIZE), "model: TLBI range from {start}, not a page");
        assert!((1..=MAX_RANGE_PAGES).contains(&pages), "model: TLBI range of {pages} pages");
    }
}

/// The parts of an entry that a TLBI removes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// Nothing.
    Nothing,
    /// The entry of a contiguous group; what is held of the one descriptor stays.
    Group,
    /// All.
    All,
}

/// What `op` removes of `entry`, for CPUs that look at level hints (`ttl`) or not.
pub(super) fn reach(op: &Tlbi, entry: &Stale, ttl: bool) -> Reach {
    match *op {
        Tlbi::All => Reach::All,
        Tlbi::Asid(asid) if entry.by == HeldBy::Asid(asid) => Reach::All,
        Tlbi::Asid(_) => Reach::Nothing,
        Tlbi::Va { va, tag, depth, level } => by_address(
            va.align_down(PAGE_SIZE),
            1,
            entry,
            right_kind(tag, depth, level.filter(|_| ttl), entry),
        ),
        Tlbi::Range { start, pages, tag, depth, level } => {
            by_address(start, pages, entry, right_kind(tag, depth, level.filter(|_| ttl), entry))
        }
    }
}

fn by_address(start: VirtAddr, pages: u64, entry: &Stale, right_kind: bool) -> Reach {
    let named = |region: Region| region.overlaps(start, pages);
    if right_kind && named(entry.region()) {
        Reach::All
    } else if right_kind && entry.group().is_some_and(named) {
        Reach::Group
    } else {
        Reach::Nothing
    }
}

/// Whether the TLBI is for this ASID, depth and level. A hint says at which level the leaf stands: a leaf of
/// another level need not leave, nor a table at or below the hinted level, for there can be none.
fn right_kind(tag: Tag, depth: Depth, hint: Option<Level>, entry: &Stale) -> bool {
    let tagged = match (tag, entry.by) {
        (Tag::AllAsids, _) | (_, HeldBy::Global) => true,
        (Tag::Asid(asid), HeldBy::Asid(held)) => asid == held,
        (Tag::Asid(_), HeldBy::AnyAsid) => false,
    };
    let level = if entry.is_table() {
        depth == Depth::AllLevels && hint.is_none_or(|leaf| entry.level < leaf)
    } else {
        hint.is_none_or(|leaf| entry.level == leaf)
    };
    tagged && level
}

/// The vCPUs that a TLBI of `scope` by a vCPU reaches, of `all`.
pub(super) fn reached(scope: FlushScope, issuer: Cpus, all: Cpus) -> Cpus {
    match scope {
        FlushScope::Local => issuer,
        FlushScope::Broadcast => all,
    }
}
