//! Reading a tree of tables, as the hardware's walker would.
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::pte::Kind;
use arch::{Desc, DescTable, Level, Machine, PhysAddr, PhysMem, VirtAddr};

/// Where the descriptor of `level` for `va` stands in the table at `table`.
#[must_use]
#[inline]
pub fn slot(table: PhysAddr, level: Level, va: VirtAddr) -> PhysAddr {
    table.add(8 * va.index(level) as u64)
}

/// One descriptor that a walk read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkStep {
    /// The level of its table.
    pub level: Level,
    /// Where it stands.
    pub slot: PhysAddr,
    /// What it was.
    pub desc: Desc,
}

impl WalkStep {
    /// What the descriptor is.
    #[must_use]
    #[inline]
    pub fn kind(&self) -> Kind {
        self.desc.kind(self.level)
    }
    /// This step, where it is a leaf.
    #[must_use]
    #[inline]
    pub fn leaf(self) -> Option<WalkStep> {
        self.desc.is_leaf(self.level).then_some(self)
    }
    /// How many tables are missing below, where nothing stands here: 0 in a level-3 table.
    #[must_use]
    #[inline]
    pub fn missing(&self) -> usize {
        Level::L3 as usize - self.level as usize
    }
}

/// The descriptors from the root down to a leaf or an invalid one.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    steps: [WalkStep; 4],
    len: usize,
}

impl Walk {
    /// What was read, from the root down; one to four steps.
    #[must_use]
    pub fn steps(&self) -> &[WalkStep] {
        &self.steps[..self.len]
    }
    /// The last step: a leaf, or the invalid descriptor where the walk ended.
    #[must_use]
    pub fn last(&self) -> WalkStep {
        self.steps[self.len - 1]
    }
    /// The leaf, where there is one.
    #[must_use]
    pub fn leaf(&self) -> Option<WalkStep> {
        self.last().leaf()
    }
}

/// The last step alone of a walk of the tree at `root`; see [`walk`].
#[must_use]
#[inline]
pub fn last(root: PhysAddr, va: VirtAddr) -> WalkStep {
    let mut step = read(root, Level::L0, va);
    for level in [Level::L1, Level::L2, Level::L3] {
        if step.kind() != Kind::Table {
            break;
        }
        step = read(step.desc.output(step.level), level, va);
    }
    step
}

/// Entries that [`is_empty`] reads before it asks whether one of them holds something.
const ROW: usize = 16;

/// Whether no entry of the table at `table` holds anything, be it valid or a migration entry. The lock of its tree is
/// held.
#[must_use]
pub fn is_empty(table: PhysAddr) -> bool {
    let table = Machine::table(table);
    let row = |first: usize| (first..first + ROW).fold(0, |bits, n| bits | table.read(n).raw());
    (0..ENTRIES_PER_TABLE).step_by(ROW).all(|first| Desc::from_raw(row(first)).is_empty())
}

/// The descriptor of `level` for `va` in the table at `table`.
#[inline]
pub(super) fn read(table: PhysAddr, level: Level, va: VirtAddr) -> WalkStep {
    let slot = slot(table, level, va);
    WalkStep { level, slot, desc: Machine::read_desc(slot) }
}

/// Walks the tree at `root` for `va`. Takes no lock: without the tree's lock the answer may be old, and a
/// table that is freed meanwhile may be read after its end of life; callers without the lock must have other
/// grounds for the tables to stay.
#[must_use]
pub fn walk(root: PhysAddr, va: VirtAddr) -> Walk {
    let mut steps = [read(root, Level::L0, va); 4];
    let mut len = 1;
    for level in [Level::L1, Level::L2, Level::L3] {
        let above = steps[len - 1];
        if above.kind() != Kind::Table {
            break;
        }
        steps[len] = read(above.desc.output(above.level), level, va);
        len += 1;
    }
    Walk { steps, len }
}
