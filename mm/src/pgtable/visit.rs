//! Visiting every descriptor of a tree.
#![forbid(unsafe_code)]

use core::convert::Infallible;

use arch::addr::ENTRIES_PER_TABLE;
use arch::pte::Kind;
use arch::{Desc, Level, Machine, PhysAddr, PhysMem, VirtAddr};

/// A leaf, a migration entry or a marker, that a visit has found.
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

/// What a visit has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// A descriptor that leads to the table at this address.
    Table(PhysAddr),
    /// A leaf.
    Leaf(Leaf),
    /// A migration entry.
    Migration(Leaf),
    /// A poison marker.
    Poisoned(Leaf),
}

/// Calls `f` for every leaf of the tree at `root`, addresses ascending. `base` is the first address of the
/// tree's half. The caller holds the tree's lock, or nothing changes the tree meanwhile.
pub fn visit_leaves(root: PhysAddr, base: VirtAddr, mut f: impl FnMut(Leaf)) {
    let Ok(()) = visit::<Infallible>(root, base, &mut |node| {
        if let Node::Leaf(leaf) = node {
            f(leaf);
        }
        Ok(())
    });
}

/// As [`visit_leaves`], and for every table but the root before it is read.
///
/// # Errors
/// What `f` says first; nothing further is read.
pub fn visit<E>(root: PhysAddr, base: VirtAddr, f: &mut impl FnMut(Node) -> Result<(), E>) -> Result<(), E> {
    visit_table(root, Level::L0, base, f)
}

fn visit_table<E>(
    table: PhysAddr,
    level: Level,
    base: VirtAddr,
    f: &mut impl FnMut(Node) -> Result<(), E>,
) -> Result<(), E> {
    for n in 0..ENTRIES_PER_TABLE as u64 {
        let slot = table.add(8 * n);
        let desc = Machine::read_desc(slot);
        let va = base.add(n * level.entry_bytes());
        match (desc.kind(level), level.next()) {
            (Kind::Table, Some(next)) => {
                let below = desc.output(level);
                f(Node::Table(below))?;
                visit_table(below, next, va, f)?;
            }
            (Kind::Block | Kind::Page, _) => f(Node::Leaf(Leaf { va, level, slot, desc }))?,
            _ if desc.is_migration() => f(Node::Migration(Leaf { va, level, slot, desc }))?,
            _ if desc.is_poisoned() => f(Node::Poisoned(Leaf { va, level, slot, desc }))?,
            _ => {}
        }
    }
    Ok(())
}
