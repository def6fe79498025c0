//! How contents compare.

use std::collections::HashMap;

use super::super::*;
use super::{A, B, RO, RW, flip};
use crate::addr::PhysAddr;

const TABLE: PhysAddr = PhysAddr::new(0x1000);
const BELOW: PhysAddr = PhysAddr::new(0x2000);

/// Descriptors by address; other addresses are no RAM. Ranges hold the same where `same` says so.
#[derive(Clone, Default)]
struct Memory {
    descs: HashMap<PhysAddr, Desc>,
    same: bool,
}

impl Ram for Memory {
    fn desc(&self, at: PhysAddr) -> Option<Desc> {
        self.descs.get(&at).copied()
    }
    fn equal(&self, _: PhysAddr, _: PhysAddr, _: u64) -> bool {
        self.same
    }
}

impl Memory {
    /// A table of `level` whose 512 leaves follow each other from `pa`.
    fn with_leaves(mut self, table: PhysAddr, level: Level, pa: PhysAddr, flags: PteFlags) -> Self {
        for n in 0..512 {
            let leaf = Desc::leaf(pa.add(n * level.entry_bytes()), level, flags);
            self.descs.insert(table.add(8 * n), leaf);
        }
        self
    }
    fn with(&self, at: PhysAddr, desc: Desc) -> Self {
        let mut memory = self.clone();
        memory.descs.insert(at, desc);
        memory
    }
}

/// A leaf and a table compare the same in both directions.
fn resized(leaf: Desc, table: Desc, level: Level, memory: &Memory) -> Contents {
    let contents = compare(leaf, table, level, memory);
    assert_eq!(contents, compare(table, leaf, level, memory));
    contents
}

/// Two leaves are about bytes, unless they map the same; two tables are about descriptors, all 512.
#[test]
fn leaves_by_bytes_and_tables_by_descriptors() {
    let (same, other) = (Memory { same: true, ..Memory::default() }, Memory::default());
    let [a, b] = [A, B].map(|pa| Desc::leaf(pa, Level::L2, RO));
    assert_eq!(compare(a, b, Level::L2, &same), Contents::Equal);
    assert_eq!(compare(a, b, Level::L2, &other), Contents::Differ);
    assert_eq!(compare(a, a, Level::L2, &other), Contents::Equal);
    assert_eq!(compare(a, flip(a, NS), Level::L2, &same), Contents::Differ, "another space");
    let memory = Memory::default().with_leaves(TABLE, Level::L3, A, RW).with_leaves(BELOW, Level::L3, A, RW);
    let [a, b] = [TABLE, BELOW].map(Desc::table);
    assert_eq!(compare(a, b, Level::L2, &memory), Contents::Equal);
    assert_eq!(compare(a, flip(b, NS_TABLE), Level::L2, &memory), Contents::Differ);
    for n in [0, 300, 511] {
        let one_other = memory.with(BELOW.add(8 * n), Desc::INVALID);
        assert_eq!(compare(a, b, Level::L2, &one_other), Contents::Differ, "descriptor {n}");
    }
    let unreadable = compare(a, Desc::table(B), Level::L2, &memory);
    assert_eq!(unreadable, Contents::Differ, "no RAM");
    assert_eq!(compare(a, Desc::INVALID, Level::L2, &memory), Contents::Differ);
}

/// A block and a table are alike where each page has the block's address and attributes; AF, the contiguous bit, nT
/// and software's bits are no part of that.
#[test]
fn blocks_and_tables_by_translation() {
    let memory = Memory::default().with_leaves(TABLE, Level::L3, A, RW);
    let (block, table) = (Desc::leaf(A, Level::L2, RW), Desc::table(TABLE));
    assert_eq!(resized(block, table, Level::L2, &memory), Contents::Equal);
    assert_eq!(
        resized(Desc::leaf(A, Level::L2, RW | PteFlags::NT), table, Level::L2, &memory),
        Contents::Equal
    );
    assert_eq!(resized(Desc::leaf(B, Level::L2, RW), table, Level::L2, &memory), Contents::Differ);
    assert_eq!(resized(flip(block, NS), table, Level::L2, &memory), Contents::Differ);
    for n in [0, 5, 511] {
        let at = TABLE.add(8 * n);
        let page = memory.descs[&at];
        let with = |desc| resized(block, table, Level::L2, &memory.with(at, desc));
        for bit in [10, 52, 55, 58] {
            assert_eq!(with(flip(page, 1 << bit)), Contents::Equal, "descriptor {n}, bit {bit}");
        }
        for bit in [0, 2, 5, 6, 7, 8, 11, 12, 16, 21, 47, 50, 51, 53, 54, 59, 63] {
            assert_eq!(with(flip(page, 1 << bit)), Contents::Differ, "descriptor {n}, bit {bit}");
        }
    }
    for bit in 59..=63 {
        assert_eq!(resized(block, flip(table, 1 << bit), Level::L2, &memory), Contents::Differ, "bit {bit}");
    }
}

/// Two levels down: a level-1 block, a table of blocks, and among them a table of pages.
#[test]
fn two_levels_down() {
    let memory = Memory::default().with_leaves(TABLE, Level::L2, A, RO).with_leaves(
        BELOW,
        Level::L3,
        A.add(3 << 21),
        RO,
    );
    let (block, table, third) = (Desc::leaf(A, Level::L1, RO), Desc::table(TABLE), TABLE.add(24));
    assert_eq!(resized(block, table, Level::L1, &memory), Contents::Equal);
    let mixed = memory.with(third, Desc::table(BELOW));
    assert_eq!(resized(block, table, Level::L1, &mixed), Contents::Equal);
    let shifted = memory.with(TABLE.add(32), Desc::table(BELOW));
    assert_eq!(resized(block, table, Level::L1, &shifted), Contents::Differ);
    let one_writable = mixed.with(BELOW.add(80), Desc::leaf(A.add((3 << 21) + 10 * 4096), Level::L3, RW));
    assert_eq!(resized(block, table, Level::L1, &one_writable), Contents::Differ);
}
