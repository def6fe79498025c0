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
//! One [`Row`] per case, with its need and its source: [`ROWS`]. [`bbm_row`] takes the first that fits. Each row has
//! its test in `bbm/tests.rs`, and the table of `arch/README.md` is held against this one.
//!
//! # What a row rests on
//! - *Never held* (rows 1 to 3): a descriptor that gives a translation fault or an access flag fault is not
//!   in a TLB. What gives an address size fault is not either, but which address is too wide is not known
//!   here, so it counts as held.
//! - *AF clear* (row 3) proves that only where software alone sets AF. Hardware sets it in the descriptor
//!   before it holds the translation, also for speculative accesses; between the load of `old` and the
//!   store it may have done so. With hardware updates such a leaf counts as held with AF set.
//! - *Tables* (rows 5 to 8): every translation below goes through the descriptor, and what stands at its
//!   output address are descriptors; hardware writes AF and dirty state there. Rights in a table descriptor
//!   (APTable, UXNTable, PXNTable) are permissions, and held with the table: their flush is one of all levels.
//! - *Hardware updates* means TCR_EL1.HA and HD together: [`HwDirty::Enabled`]. Here neither is set alone.
//! - *nT* is bit 16 of a block. Setting or clearing it changes no size. At BBM 0 it is reserved, and
//!   relaxes nothing; in a page or table bit 16 is part of the address.
//! - *Contiguous* members are judged one by one; what must hold of all 16 is in [`crate::contiguous`].
//! - A permission that is widened needs its flush too: until then an access may still fault by the old one.

use core::fmt;

use crate::addr::Level;
use crate::features::BbmLevel;
use crate::pte::{Desc, HwDirty, Kind, PteFlags};

mod contents;
mod rows;

pub use contents::{Ram, compare};
pub use rows::{ROWS, Row};

/// What the rule needs to know beside the two descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    /// FEAT_BBM level of the machine.
    pub bbm: BbmLevel,
    /// Whether hardware manages the access flag and dirty state.
    pub hw_dirty: HwDirty,
    /// How what the two descriptors lead to compares.
    pub contents: Contents,
}

/// How what is reached through the old descriptor compares with what is reached through the new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Two leaves: the memory holds the same bytes. Two tables: their 512 descriptors are the same. A leaf and
    /// a table: the table's leaves translate each address as the leaf does, to the same output address with the
    /// same attributes. And nobody changes that before the flush. [`compare`] finds out.
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

/// Descriptor bits that are left to software (D8.3.2): all that hardware ignores in a leaf.
pub(crate) const SOFTWARE: u64 = 0xf << 55;
/// Descriptor bits that hardware ignores in a table descriptor (D8.3.1).
const IGNORED_IN_TABLE: u64 = 0xff << 51 | 0x3ff << 2;
/// NS of a leaf: the output address space (I_WZRHR counts its change as one of the output address).
const NS: u64 = 1 << 5;
/// NSTable of a table descriptor.
const NS_TABLE: u64 = 1 << 63;
/// What a leaf lets whom do, and what hardware may change of that.
const RIGHTS: PteFlags =
    PteFlags::USER.union(PteFlags::READ_ONLY).union(PteFlags::DBM).union(PteFlags::PXN).union(PteFlags::UXN);

/// What replacing `old` by `new` in a live table of `level` needs.
#[must_use]
pub fn bbm_need(old: Desc, new: Desc, level: Level, ctx: &Ctx) -> BbmNeed {
    bbm_row(old, new, level, ctx).need()
}

/// The row that says what replacing `old` by `new` in a live table of `level` needs.
#[must_use]
pub fn bbm_row(old: Desc, new: Desc, level: Level, ctx: &Ctx) -> Row {
    match (old.kind(level), new.kind(level)) {
        (Kind::Invalid, _) => Row::FromFault,
        (Kind::Block | Kind::Page, kind) if !may_be_held(old, level, ctx) => match kind {
            _ if ignored_apart(old, new, SOFTWARE) => Row::NothingChanges,
            _ => Row::NotAccessed,
        },
        (_, Kind::Invalid) => Row::ToFault,
        (Kind::Table, Kind::Table) => table_to_table(old, new, level, ctx),
        (Kind::Table, _) => resize(new, level, ctx),
        (_, Kind::Table) => resize(old, level, ctx),
        (Kind::Block | Kind::Page, Kind::Block | Kind::Page) => leaf_to_leaf(old, new, level, ctx),
    }
}

/// Whether a TLB may hold this leaf, or may come to before it is replaced.
fn may_be_held(leaf: Desc, level: Level, ctx: &Ctx) -> bool {
    leaf.flags(level).contains(PteFlags::ACCESSED) || ctx.hw_dirty == HwDirty::Enabled
}

/// Whether two descriptors are the same but for the bits of `ignored`.
fn ignored_apart(old: Desc, new: Desc, ignored: u64) -> bool {
    (old.raw() ^ new.raw()) & !ignored == 0
}

/// Rows 2 and 5 to 8.
fn table_to_table(old: Desc, new: Desc, level: Level, ctx: &Ctx) -> Row {
    let other = old.output(level) != new.output(level) || (old.raw() ^ new.raw()) & NS_TABLE != 0;
    match (ctx.hw_dirty, ctx.contents) {
        _ if ignored_apart(old, new, IGNORED_IN_TABLE) => Row::NothingChanges,
        _ if !other => Row::TableRights,
        (HwDirty::Enabled, _) => Row::TableWritten,
        (HwDirty::Disabled, Contents::Differ) => Row::TableDiffers,
        (HwDirty::Disabled, Contents::Equal) => Row::TableAlike,
    }
}

/// Rows 9 to 12: `leaf` gives way to a table, or a table to `leaf`.
fn resize(leaf: Desc, level: Level, ctx: &Ctx) -> Row {
    let not_held_with_another = leaf.flags(level).contains(PteFlags::NT);
    match (ctx.contents, ctx.bbm) {
        (Contents::Differ, _) => Row::ResizeDiffers,
        (Contents::Equal, BbmLevel::Level2 | BbmLevel::Level3) => Row::ResizeDirect,
        (Contents::Equal, BbmLevel::Level1) if not_held_with_another => Row::ResizeNt,
        (Contents::Equal, _) => Row::Resize,
    }
}

/// Rows 2 and 13 to 25.
fn leaf_to_leaf(old: Desc, new: Desc, level: Level, ctx: &Ctx) -> Row {
    let (was, is) = (old.flags(level), new.flags(level));
    let changed = was.symmetric_difference(is);
    let moved = old.output(level) != new.output(level) || (old.raw() ^ new.raw()) & NS != 0;
    let written = old.grants_write(ctx.hw_dirty) || new.grants_write(ctx.hw_dirty);
    match () {
        () if ignored_apart(old, new, SOFTWARE) => Row::NothingChanges,
        () if changed.intersects(PteFlags::ATTR_INDEX | PteFlags::SHAREABILITY) => Row::MemoryType,
        () if moved && written => Row::MovedWritten,
        () if moved && ctx.contents == Contents::Differ => Row::MovedDiffers,
        () if changed.contains(PteFlags::CONTIGUOUS) => contiguous(old, new, ctx),
        () if changed.contains(PteFlags::NOT_GLOBAL) && was.contains(PteFlags::NOT_GLOBAL) => Row::MadeGlobal,
        () if moved => Row::MovedAlike,
        () if changed.contains(PteFlags::NOT_GLOBAL) => Row::MadePrivate,
        () if changed.intersects(RIGHTS) => Row::Rights,
        () if changed.contains(PteFlags::NT) => Row::Nt,
        () if changed.contains(PteFlags::ACCESSED) => Row::AccessFlag,
        () => Row::Reserved,
    }
}

/// Rows 16 to 18: the contiguous bit changes, perhaps with something else.
fn contiguous(old: Desc, new: Desc, ctx: &Ctx) -> Row {
    let alone = ignored_apart(old, new, SOFTWARE | PteFlags::CONTIGUOUS.bits());
    match ctx.bbm {
        BbmLevel::Level0 => Row::Contiguous,
        _ if alone => Row::ContiguousAlone,
        _ => Row::ContiguousAndMore,
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
