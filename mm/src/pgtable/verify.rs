//! What debug builds ask of every store to a live descriptor: that the rule allows it, and that the lock of its tree
//! is held on this CPU.
//!
//! [`Entry`], [`super::Stretch`], [`super::Runs`] and `relocate` are the only ways to such a descriptor, and each asks here
//! before it stores, so nothing gets past. Tables that hardware cannot walk yet are no concern of the rule, and are written without an entry, by whom
//! nobody else can know them:
//!
//! | who | which tables | live from |
//! |---|---|---|
//! | `boot::tables` | the kernel's own; it refuses to replace a valid descriptor | `set_kernel_root` |
//! | `thp::split`, `hvo::batch` | one level-3 table, filled before it is linked | the [`Entry`] that links it |
//! | `thp` | one level-3 table, between the flush of the [`Entry`] that linked it and its next link ([`Clean::below`]) | that link |
//! | [`super::Severed`] | one level-3 table, emptied after it was unlinked and flushed | never again |
//! | `TableStock` | zeroed tables | the [`Entry`] that links them |
//! | `arch::aarch64::boot` | the early tables: one device, from invalid, while one CPU runs | the MMU goes on |
//!
//! [`Clean::below`]: super::Clean::below
//!
//! In a release build none of this is there.
#![forbid(unsafe_code)]

use arch::bbm::{BbmNeed, Contents, Ctx, Ram, bbm_need, compare};
use arch::pte::PteFlags;
use arch::sync::{Rank, assert_held};
use arch::{Desc, Level, Machine, Mmu, PhysAddr, PhysMem};

use super::entry::Entry;

/// Asks both of a store of `new` to `entry`, whose tree stands in a lock of rank `lock`.
///
/// # Panics
/// The lock is not held, or the rule asks for a break first.
pub(super) fn store(entry: &Entry<'_>, new: Desc, lock: Rank) {
    let (va, old) = (entry.va(), entry.desc());
    assert_held(lock, format_args!("{old} at {va} replaced by {new}"));
    if let need @ BbmNeed::BreakBeforeMake { .. } = need(old, new, entry.level()) {
        panic!("{old} at {va} replaced by {new}: {need}");
    }
}

/// What the rule asks for. Memory is compared only where that decides.
fn need(old: Desc, new: Desc, level: Level) -> BbmNeed {
    let (bbm, hw_dirty) = (Machine::features().bbm, Machine::hw_dirty());
    let ask = |contents| bbm_need(old, new, level, &Ctx { bbm, hw_dirty, contents });
    match (ask(Contents::Differ), ask(Contents::Equal)) {
        (differ, equal) if differ == equal => equal,
        (differ, _) if is_device(old, level) || is_device(new, level) => differ,
        _ => ask(compare(old, new, level, &Linked)),
    }
}

/// Whether this leaf maps registers, which are not read to be compared.
fn is_device(desc: Desc, level: Level) -> bool {
    desc.is_leaf(level) && desc.flags(level).intersects(PteFlags::ATTR_INDEX)
}

/// What the descriptors of live tables lead to: tables and memory of this machine.
struct Linked;

impl Ram for Linked {
    fn desc(&self, at: PhysAddr) -> Option<Desc> {
        Some(Machine::read_desc(at))
    }
    fn equal(&self, a: PhysAddr, b: PhysAddr, bytes: u64) -> bool {
        Machine::equal(a, b, bytes)
    }
}

#[cfg(test)]
mod tests;
