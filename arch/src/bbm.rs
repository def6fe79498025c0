//! When a live descriptor must be broken before it is made (Arm ARM D8.16, R_WHZWS), written once.

use crate::addr::Level;
use crate::features::BbmLevel;
use crate::pte::{Desc, HwDirty};

/// What the rule needs to know beside the two descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    /// FEAT_BBM level of the machine.
    pub bbm: BbmLevel,
    /// Whether hardware manages dirty state.
    pub hw_dirty: HwDirty,
    /// Whether the memory at the two output addresses holds the same bytes.
    pub contents: Contents,
}

/// How the bytes at the old and the new output address compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contents {
    /// Byte for byte equal, and nobody writes them meanwhile.
    Equal,
    /// Different, or not known to be equal.
    Differ,
}

/// What replacing a descriptor asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BbmNeed {
    /// Nothing: no TLB can hold the old descriptor.
    None,
    /// A TLBI afterwards; the store itself may be made at once.
    FlushAfter,
    /// Invalid first, flushed, and only then the new descriptor.
    BreakBeforeMake {
        /// The row of the rule that says so.
        why: Why,
    },
}

/// The rows of the rule that demand a break.
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

/// What replacing `old` by `new` in a live table of `level` needs.
#[must_use]
pub fn bbm_need(old: Desc, new: Desc, level: Level, ctx: &Ctx) -> BbmNeed {
    let _ = (level, ctx);
    if !old.is_valid() || old == new { BbmNeed::None } else { todo!() }
}
