//! The rule as a table: one row per case.

use super::{BbmNeed, Why};

/// The cases of the rule, in the order in which they are tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Row {
    /// The old descriptor faults at its level.
    FromFault,
    /// Nothing that a TLB holds changes.
    NothingChanges,
    /// The old leaf was never accessed.
    NotAccessed,
    /// The new descriptor faults at its level.
    ToFault,
    /// The same table, with other rights.
    TableRights,
    /// Another table, where hardware writes descriptors.
    TableWritten,
    /// Another table with other descriptors.
    TableDiffers,
    /// Another table with the same descriptors.
    TableAlike,
    /// A leaf and a table that translate differently.
    ResizeDiffers,
    /// A leaf and a table that translate alike, changed directly.
    ResizeDirect,
    /// A leaf and a table that translate alike, changed by way of nT.
    ResizeNt,
    /// A leaf and a table that translate alike, and nothing to help.
    Resize,
    /// Memory type, cacheability or shareability.
    MemoryType,
    /// The output address, and one side may write.
    MovedWritten,
    /// The output address, and the bytes there.
    MovedDiffers,
    /// The contiguous bit without FEAT_BBM.
    Contiguous,
    /// The contiguous bit and something else.
    ContiguousAndMore,
    /// The contiguous bit and nothing else.
    ContiguousAlone,
    /// Non-global to global.
    MadeGlobal,
    /// The output address, read-only, with the same bytes there.
    MovedAlike,
    /// Global to non-global.
    MadePrivate,
    /// Who may do what.
    Rights,
    /// nT.
    Nt,
    /// The access flag.
    AccessFlag,
    /// Bits that mean nothing here.
    Reserved,
}

/// What is said of a row.
#[derive(Clone, Copy, Debug)]
pub struct RowText {
    /// The row.
    pub row: Row,
    /// From what to what.
    pub change: &'static str,
    /// What that needs.
    pub need: BbmNeed,
    /// Where the Arm ARM says so.
    pub source: &'static str,
}

impl Row {
    /// What this row asks for.
    #[must_use]
    pub const fn need(self) -> BbmNeed {
        self.text().need
    }
    /// Its place in the table, from 1.
    #[must_use]
    pub const fn number(self) -> usize {
        self as usize + 1
    }
    /// What is said of it.
    #[must_use]
    pub const fn text(self) -> &'static RowText {
        &ROWS[self as usize]
    }
}

const NONE: BbmNeed = BbmNeed::None;
const FLUSH: BbmNeed = BbmNeed::FlushAfter;

const fn row(row: Row, change: &'static str, need: BbmNeed, source: &'static str) -> RowText {
    RowText { row, change, need, source }
}

const fn broken(why: Why) -> BbmNeed {
    BbmNeed::BreakBeforeMake { why }
}

/// The rows, in order: the first that fits decides. "Leaf" is a block or a page, "written" means that hardware
/// may update AF and dirty state.
pub static ROWS: [RowText; 25] = [
    row(Row::FromFault, "what faults at this level → anything", NONE, "I_WZCBG: never held"),
    row(
        Row::NothingChanges,
        "apart at most in bits that hardware ignores: 58:55 of a leaf, 58:51 and 11:2 of a table",
        NONE,
        "D8.3.1, D8.3.2",
    ),
    row(
        Row::NotAccessed,
        "leaf with AF clear → anything, no hardware updates",
        NONE,
        "I_WZCBG: access flag faults are never held",
    ),
    row(Row::ToFault, "anything → what faults at this level", FLUSH, "R_GPPYH"),
    row(
        Row::TableRights,
        "table → same table, other APTable, UXNTable or PXNTable",
        FLUSH,
        "R_GPPYH: permissions; all levels",
    ),
    row(
        Row::TableWritten,
        "table → other table, hardware updates",
        broken(Why::OutputAddressWritable),
        "R_WHZWS, 2nd bullet: hardware writes descriptors",
    ),
    row(
        Row::TableDiffers,
        "table → other table, descriptors differ",
        broken(Why::OutputAddressContents),
        "R_WHZWS, 2nd bullet",
    ),
    row(
        Row::TableAlike,
        "table → other table, descriptors equal",
        FLUSH,
        "R_WHZWS, 2nd bullet, does not apply",
    ),
    row(
        Row::ResizeDiffers,
        "leaf ↔ table, translating differently, any BBM",
        broken(Why::Size),
        "R_WHZWS, 3rd bullet; R_PVTFW relaxes size alone",
    ),
    row(Row::ResizeDirect, "leaf ↔ table, alike, BBM 2 and 3", FLUSH, "R_PVTFW, I_HYQMB"),
    row(Row::ResizeNt, "leaf ↔ table, alike, BBM 1, the leaf has nT", FLUSH, "R_PVTFW, R_MRRPW"),
    row(Row::Resize, "leaf ↔ table, alike, otherwise", broken(Why::Size), "R_WHZWS, 3rd bullet"),
    row(
        Row::MemoryType,
        "memory type, cacheability or shareability",
        broken(Why::MemoryType),
        "R_WHZWS, 1st bullet",
    ),
    row(
        Row::MovedWritten,
        "output address or its space, one side grants write; DBM does with hardware updates",
        broken(Why::OutputAddressWritable),
        "R_WHZWS, 2nd bullet; I_WZRHR",
    ),
    row(
        Row::MovedDiffers,
        "output address or its space, read-only, contents differ",
        broken(Why::OutputAddressContents),
        "R_WHZWS, 2nd bullet; I_WZRHR",
    ),
    row(Row::Contiguous, "contiguous bit, BBM 0", broken(Why::Size), "R_WHZWS, 3rd bullet"),
    row(
        Row::ContiguousAndMore,
        "contiguous bit and something else, BBM 1 and up",
        broken(Why::Size),
        "R_WHZWS, 3rd bullet; R_PVTFW relaxes size alone",
    ),
    row(Row::ContiguousAlone, "contiguous bit alone, BBM 1 and up", FLUSH, "R_KHRBC"),
    row(Row::MadeGlobal, "non-global → global", broken(Why::Global), "R_WHZWS, 4th bullet"),
    row(
        Row::MovedAlike,
        "output address, read-only, contents equal",
        FLUSH,
        "R_WHZWS, 2nd bullet, does not apply",
    ),
    row(Row::MadePrivate, "global → non-global", FLUSH, "R_WHZWS, 4th bullet, names one direction"),
    row(Row::Rights, "permissions in either direction, execution, DBM", FLUSH, "R_GPPYH"),
    row(Row::Nt, "nT of a block set or cleared", FLUSH, "FEAT_BBM level 1: both ends of its sequences"),
    row(Row::AccessFlag, "AF cleared, or set with hardware updates", FLUSH, "R_GPPYH"),
    row(Row::Reserved, "bits that are reserved or of features not used here", FLUSH, "D8.3.2: may be held"),
];
