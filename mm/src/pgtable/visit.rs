//! Visiting every leaf of a tree.
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::pte::Kind;
use arch::{Desc, Level, Machine, PhysAddr, PhysMem, VirtAddr};

/// A leaf that a visit has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The first address that it translates.
    pub va: VirtAddr,
    /// Its level.
    pub level: Level,
    /// Where it stands.
    pub slot: PhysAddr,
    /// What it is.
    pub desc: Desc,
}

/// Calls `f` for every leaf of the tree at `root`, addresses ascending. `base` is the first address of the
/// tree's half. The caller holds the tree's lock, or nothing changes the tree meanwhile.
pub fn visit_leaves(root: PhysAddr, base: VirtAddr, mut f: impl FnMut(Leaf)) {
    visit_table(root, Level::L0, base, &mut f);
}

fn visit_table(table: PhysAddr, level: Level, base: VirtAddr, f: &mut impl FnMut(Leaf)) {
    for n in 0..ENTRIES_PER_TABLE as u64 {
        let slot = table.add(8 * n);
        let desc = Machine::read_desc(slot);
        let va = base.add(n * level.entry_bytes());
        match (desc.kind(level), level.next()) {
            (Kind::Table, Some(next)) => visit_table(desc.output(level), next, va, f),
            (Kind::Block | Kind::Page, _) => f(Leaf { va, level, slot, desc }),
            _ => {}
        }
    }
}
