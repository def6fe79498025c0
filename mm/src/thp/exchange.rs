//! The exchange of a range's level-2 entry, on which every promotion in place ends.
//!
//! ```text
//!   [ table ]   -- break, flush -->   [ . ]   -- `meanwhile`: the table is nobody's but the caller's --   make -->   [ new ]
//! ```
//! Where the block translates like the table, and the CPUs allow it, it takes its place without a break ([`replace`]).
//! What is made may be a block, or the same table again, whose entries have changed meanwhile.
#![forbid(unsafe_code)]

use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, PhysAddr};

use super::PromoteError;
use crate::Mm;
use crate::pgtable::{Clean, Displaced, Entry};
use crate::stats::Counter;
use crate::steps::{Owed, Step, StepKind, announce};

/// The table that a level-2 entry leads to.
pub(super) fn table_of(entry: &Entry<'_>) -> Result<PhysAddr, PromoteError> {
    let desc = entry.desc();
    match desc.kind(Level::L2) {
        Kind::Table => Ok(desc.output(Level::L2)),
        Kind::Invalid | Kind::Block | Kind::Page => Err(PromoteError::NoTable),
    }
}

/// Whether a page entry has these rights. The right to write may be away since a fork; the access flag and the
/// contiguous bit do not matter.
pub(super) fn has_rights(entry: Desc, rights: PteFlags) -> bool {
    let ignored = PteFlags::READ_ONLY | PteFlags::ACCESSED | PteFlags::CONTIGUOUS;
    let good = Desc::leaf(entry.output(Level::L3), Level::L3, rights);
    entry.flags(Level::L3) - ignored == good.flags(Level::L3) - ignored
}

/// Break, flush, make, and `meanwhile` before it is made; each step is announced.
pub(super) fn exchange(
    mm: &Mm,
    entry: Entry<'_>,
    new: Desc,
    meanwhile: impl FnOnce(&mut Clean<'_, 1>),
) -> Displaced<1> {
    let (slot, va, table) = (entry.slot(), entry.va(), entry.desc());
    let tell = |kind, owed, old, new| {
        announce(mm, &Step { kind, owed, level: Level::L2, entries: 1, va, slot, old, new });
    };
    tell(StepKind::PromoteBegin, Owed::Nothing, table, table);
    let broken = entry.break_live(|_, _| ());
    tell(StepKind::PromoteBreak, Owed::FlushThenMake, table, Desc::INVALID);
    let mut clean = broken.flush();
    tell(StepKind::PromoteFlush, Owed::Make, Desc::INVALID, Desc::INVALID);
    meanwhile(&mut clean);
    let displaced = clean.make(|_| new, |_, _| ());
    tell(StepKind::PromoteMake, Owed::Nothing, Desc::INVALID, new);
    displaced
}

/// Replaces the table by the block, which translates alike, and flushes; each step is announced.
pub(super) fn replace(mm: &Mm, entry: Entry<'_>, block: Desc) -> Displaced<1> {
    let (slot, va, table) = (entry.slot(), entry.va(), entry.desc());
    let tell = |kind, owed, old, new| {
        announce(mm, &Step { kind, owed, level: Level::L2, entries: 1, va, slot, old, new });
    };
    tell(StepKind::PromoteBegin, Owed::Nothing, table, table);
    let resized = entry.resize(block);
    tell(StepKind::PromoteReplace, Owed::Flush, table, block);
    let displaced = resized.flush();
    tell(StepKind::PromoteFlush, Owed::Nothing, block, block);
    mm.stats.inc(Counter::ResPagesCollapsedDirect);
    displaced
}
