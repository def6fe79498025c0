//! When a live descriptor must be broken before it is made (Arm ARM D8.16, R_WHZWS), written once.
//!
//! A TLB may hold a descriptor for as long as no TLBI removes it. If another descriptor is made over it,
//! both may be held, and an access may see either, a mixture of the two, or a conflict abort (R_FVQCK).
//! For some changes that does no harm; for the others software must make the descriptor invalid, flush,
//! and only then make the new one (R_DDMVT), even where nobody is thought to use the address (I_THWDH).
//!
//! [`bbm_need`] looks at one store. It presumes that the flush owed by the *last* store to the same
//! descriptor has completed.
//!
//! # The table
//! First row that fits, from above. "Leaf" is a block or a page.
//!
//! | row | old → new | need | source |
//! |---|---|---|---|
//! | 1 | old faults at this level | none | I_WZCBG: what faults is never held |
//! | 2 | identical, or apart only in bits that hardware ignores (58:55) | none | D8.3.2: nothing that a TLB holds changes |
//! | 3 | old is a leaf with AF clear | none | D8.4.6: what takes an access flag fault is never held |
//! | 4 | new faults at this level | flush after | R_GPPYH |
//! | 5 | table → other table, with hardware updates of AF or dirty | break: output address, written | R_WHZWS, 2nd: hardware writes what the descriptor points to |
//! | 6 | table → other table, descriptors in them differ | break: output address, contents | R_WHZWS, 2nd |
//! | 7 | table → other table, descriptors in them equal | flush after | R_WHZWS, 2nd, does not apply |
//! | 8 | leaf ↔ table, translating differently | break: size | R_WHZWS, 3rd; R_PVTFW relaxes size alone |
//! | 9 | leaf ↔ table, translating alike, BBM 2 and 3 | flush after | FEAT_BBM level 2 |
//! | 10 | leaf ↔ table, translating alike, BBM 1, the leaf has nT | flush after | FEAT_BBM level 1, R_MRRPW |
//! | 11 | leaf ↔ table, otherwise | break: size | R_WHZWS, 3rd |
//! | 12 | memory type or shareability changes | break: memory type | R_WHZWS, 1st |
//! | 13 | output address changes, one side grants write | break: output address, written | R_WHZWS, 2nd; DBM with hardware dirty state grants write |
//! | 14 | output address changes, contents differ | break: output address, contents | R_WHZWS, 2nd |
//! | 15 | contiguous bit changes, BBM 0 | break: size | R_WHZWS, 3rd |
//! | 16 | contiguous bit changes and something else with it | break: size | R_PVTFW relaxes size alone |
//! | 17 | contiguous bit alone, BBM 1 and up | flush after | R_KHRBC |
//! | 18 | non-global → global | break: global | R_WHZWS, 4th |
//! | 19 | anything else: permissions in either direction, DBM, AF cleared, nT, global → non-global, read-only to an equal copy | flush after | R_GPPYH |
//!
//! Rows 5 to 7 read the second bullet for tables: every translation below goes through the descriptor,
//! and what stands at its output address are descriptors. A permission that is widened needs its flush
//! too: until then an access may still fault by the old one.

use core::fmt;

use crate::addr::Level;
use crate::features::BbmLevel;
use crate::pte::{Desc, HwDirty, Kind, PteFlags};

/// What the rule needs to know beside the two descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    /// FEAT_BBM level of the machine.
    pub bbm: BbmLevel,
    /// Whether hardware manages dirty state.
    pub hw_dirty: HwDirty,
    /// How what the two descriptors lead to compares.
    pub contents: Contents,
}

/// How what is reached through the old descriptor compares with what is reached through the new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Two leaves: the memory holds the same bytes, and nobody writes it meanwhile. Two tables: their
    /// 512 descriptors are the same. A leaf and a table: the table's leaves translate each address as the
    /// leaf does, to the same output address with the same attributes.
    Equal,
    /// Different, or not known to be equal.
    Differ,
}

/// What replacing a descriptor asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BbmNeed {
    /// Nothing: no TLB can hold the old descriptor, or nothing that it holds changes.
    None,
    /// A TLBI afterwards; the store itself may be made at once.
    FlushAfter,
    /// Invalid first, flushed, and only then the new descriptor.
    BreakBeforeMake {
        /// The row of the rule that says so.
        why: Why,
    },
}

/// The bullets of the rule that demand a break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Memory type, shareability or cacheability changes (R_WHZWS, first bullet).
    MemoryType,
    /// The output address changes while one side grants write (second bullet).
    OutputAddressWritable,
    /// The output address changes and the contents differ (second bullet).
    OutputAddressContents,
    /// Block, table or contiguous size changes (third bullet; relaxed by FEAT_BBM, R_PVTFW).
    Size,
    /// A global entry comes to overlap a non-global one (fourth bullet).
    Global,
}

const NONE: BbmNeed = BbmNeed::None;
const FLUSH: BbmNeed = BbmNeed::FlushAfter;

const fn break_for(why: Why) -> BbmNeed {
    BbmNeed::BreakBeforeMake { why }
}

/// Descriptor bits that are left to software (D8.3.2).
pub(crate) const SOFTWARE: u64 = 0xf << 55;

/// What replacing `old` by `new` in a live table of `level` needs.
#[must_use]
pub fn bbm_need(old: Desc, new: Desc, level: Level, ctx: &Ctx) -> BbmNeed {
    let accessed = old.flags(level).contains(PteFlags::ACCESSED);
    match (old.kind(level), new.kind(level)) {
        (Kind::Invalid, _) => NONE,
        _ if (old.raw() ^ new.raw()) & !SOFTWARE == 0 => NONE,
        (Kind::Block | Kind::Page, _) if !accessed => NONE,
        (_, Kind::Invalid) => FLUSH,
        (Kind::Table, Kind::Table) => other_table(ctx),
        (Kind::Table, _) => resize(new, level, ctx),
        (_, Kind::Table) => resize(old, level, ctx),
        (Kind::Block | Kind::Page, Kind::Block | Kind::Page) => leaf_to_leaf(old, new, level, ctx),
    }
}

/// Rows 5 to 7.
fn other_table(ctx: &Ctx) -> BbmNeed {
    match (ctx.hw_dirty, ctx.contents) {
        (HwDirty::Enabled, _) => break_for(Why::OutputAddressWritable),
        (HwDirty::Disabled, Contents::Differ) => break_for(Why::OutputAddressContents),
        (HwDirty::Disabled, Contents::Equal) => FLUSH,
    }
}

/// Rows 8 to 11: `leaf` gives way to a table, or a table to `leaf`.
fn resize(leaf: Desc, level: Level, ctx: &Ctx) -> BbmNeed {
    let not_held_with_another = leaf.flags(level).contains(PteFlags::NT);
    match (ctx.contents, ctx.bbm) {
        (Contents::Equal, BbmLevel::Level2 | BbmLevel::Level3) => FLUSH,
        (Contents::Equal, BbmLevel::Level1) if not_held_with_another => FLUSH,
        _ => break_for(Why::Size),
    }
}

/// Rows 12 to 19.
fn leaf_to_leaf(old: Desc, new: Desc, level: Level, ctx: &Ctx) -> BbmNeed {
    let (was, is) = (old.flags(level), new.flags(level));
    let changed = was.symmetric_difference(is);
    let moved = old.output(level) != new.output(level);
    if changed.intersects(PteFlags::ATTR_INDEX | PteFlags::SHAREABILITY) {
        break_for(Why::MemoryType)
    } else if moved && (old.grants_write(ctx.hw_dirty) || new.grants_write(ctx.hw_dirty)) {
        break_for(Why::OutputAddressWritable)
    } else if moved && ctx.contents == Contents::Differ {
        break_for(Why::OutputAddressContents)
    } else if changed.contains(PteFlags::CONTIGUOUS) {
        let alone = !moved && changed == PteFlags::CONTIGUOUS;
        if alone && ctx.bbm >= BbmLevel::Level1 { FLUSH } else { break_for(Why::Size) }
    } else if was.contains(PteFlags::NOT_GLOBAL) && !is.contains(PteFlags::NOT_GLOBAL) {
        break_for(Why::Global)
    } else {
        FLUSH
    }
}

impl fmt::Display for BbmNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BbmNeed::None => f.write_str("nothing is needed"),
            BbmNeed::FlushAfter => f.write_str("a flush is needed afterwards"),
            BbmNeed::BreakBeforeMake { why } => write!(f, "break-before-make is needed: {why}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::MemoryType => "memory type or shareability changes (R_WHZWS, first bullet)",
            Why::OutputAddressWritable => {
                "the output address changes while one side grants write (R_WHZWS, second bullet)"
            }
            Why::OutputAddressContents => {
                "the output address changes and the contents differ (R_WHZWS, second bullet)"
            }
            Why::Size => "block, table or contiguous size changes (R_WHZWS, third bullet)",
            Why::Global => "a global entry replaces a non-global one (R_WHZWS, fourth bullet)",
        })
    }
}

#[cfg(test)]
mod tests;
