//! The leaves of a space, a table at a time.
//!
//! A *stretch* is what one table holds from an address on: up to 512 descriptors, leaves and holes, up to the first
//! that leads to another table. A reader goes from stretch to stretch:
//!
//! ```text
//!   root -> L1 -> L2 -> L3 [ leaf | leaf | hole | ... ]     one stretch: the tables above are walked once
//!                  `------ [ block | block | table ...      another: blocks are leaves of level 2
//! ```
//! [`Reading::Locked`] holds the page-table lock for the stretch, so what it tells of one table is true at one moment.
//!
//! [`Reading::LockFree`] holds no lock, nor can it make anybody wait. It takes a reference to each table on the way
//! down ([`Mm::try_get_folio`]), so that none of them becomes anything else meanwhile, and then reads the way down
//! once more, from a root that has not been given up: where it is as it was, the lowest table was linked at that
//! moment, and the stretch is read from it. Where it is not, somebody else has changed it, and the reader walks down
//! again. **What such a reader is told** of an address is a leaf that stood there at some moment since the stretch
//! began, or, where the table left the tree after that moment, what it held when it left; never anything that was not
//! mapped there, and each address once at most. A leaf that is broken at the moment, to be made anew, is not told. The
//! frame of a leaf may belong to somebody else by the time its struct page is read: what is said of it then is true of
//! its new use.
//!
//! A migration entry is told as the leaf that it remembers ([`Visitor::moving`]). Under T its frame is the one that
//! is moving: whoever moves it gives it up only when he has been to all entries.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::Kind;
use arch::{Cpu, Desc, Level, Machine, PhysAddr, PhysMem, VirtAddr};

use crate::Mm;
use crate::page::{FolioRef, PageKind};
use crate::pgtable::walk::slot;
use crate::space::AddressSpace;

/// How the tables of a space are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// Under the page-table lock, a table at a time. The caller holds no spinlock.
    Locked,
    /// Without a lock.
    LockFree,
}

/// The way to the last descriptor for an address.
struct Path {
    /// The tables, from the root on; as many as `level` says.
    tables: [PhysAddr; 4],
    /// The level of the last.
    level: Level,
}

impl Path {
    /// Reads the way down from `root`; `enter` says whether a table may be read.
    fn down(root: PhysAddr, va: VirtAddr, mut enter: impl FnMut(PhysAddr) -> bool) -> Option<Path> {
        let (mut table, mut level, mut tables) = (root, Level::L0, [root; 4]);
        loop {
            if !enter(table) {
                return None;
            }
            tables[level as usize] = table;
            let desc = Machine::read_desc(slot(table, level, va));
            match (desc.kind(level), level.next()) {
                (Kind::Table, Some(next)) => (table, level) = (desc.output(level), next),
                _ => return Some(Path { tables, level }),
            }
        }
    }

    /// Whether every table on the way still leads to the next.
    fn stands(&self, va: VirtAddr) -> bool {
        let leads = |level: Level| {
            let desc = Machine::read_desc(slot(self.tables[level as usize], level, va));
            desc == Desc::table(self.tables[level as usize + 1])
        };
        Level::ALL.into_iter().filter(|&level| level < self.level).all(leads)
    }

    /// How many of the tables, the root not counted, begin at `va`.
    fn begin_at(&self, va: VirtAddr) -> u64 {
        let covered = |level: Level| level.entry_bytes() * ENTRIES_PER_TABLE as u64;
        let begins =
            |level: &Level| *level > Level::L0 && *level <= self.level && va.is_aligned(covered(*level));
        Level::ALL.iter().filter(|level| begins(level)).count() as u64
    }

    /// Tells `to` the leaves of the last table from `va` on, and returns where the stretch ends; not above `end`, but
    /// where the last leaf reaches beyond.
    #[inline(always)]
    fn read(&self, va: VirtAddr, end: VirtAddr, to: &mut impl Visitor) -> VirtAddr {
        // Pages are by far the most: their loop knows its level.
        match self.level {
            Level::L3 => self.read_level(Level::L3, va, end, to),
            level => self.read_level(level, va, end, to),
        }
    }

    #[inline(always)]
    fn read_level(&self, level: Level, va: VirtAddr, end: VirtAddr, to: &mut impl Visitor) -> VirtAddr {
        let (table, bytes) = (self.tables[level as usize], level.entry_bytes());
        let base = va.align_down(bytes * ENTRIES_PER_TABLE as u64);
        let last = end.offset_from(base).div_ceil(bytes).min(ENTRIES_PER_TABLE as u64);
        for n in va.index(level) as u64..last {
            let desc = Machine::read_desc(table.add(8 * n));
            match desc.kind(level) {
                Kind::Page => to.page(Leaf { level, base, n, desc }),
                Kind::Block => to.block(Leaf { level, base, n, desc }),
                Kind::Table => return base.add(n * bytes).max(va),
                Kind::Invalid => {
                    if let Some(was) = desc.as_migration(level) {
                        to.moving(Leaf { level, base, n, desc: was.leaf(level) });
                    }
                }
            }
        }
        base.add(last * bytes)
    }
}

/// Whoever is told of leaves.
pub(super) trait Visitor {
    /// A leaf of level 3.
    fn page(&mut self, leaf: Leaf);
    /// A leaf of another level.
    fn block(&mut self, leaf: Leaf);
    /// What a migration entry of any level remembers. The folio does not count it as a mapping.
    fn moving(&mut self, leaf: Leaf);
}

/// A leaf that was read.
#[derive(Clone, Copy)]
pub(super) struct Leaf {
    /// The level of its table.
    pub(super) level: Level,
    /// The first address that its table translates.
    base: VirtAddr,
    /// Which of the table's descriptors it is.
    n: u64,
    /// The descriptor; where a migration entry stands, the one that was there before.
    pub(super) desc: Desc,
}

impl Leaf {
    /// How many pages it maps.
    pub(super) fn pages(&self) -> u64 {
        self.level.entry_bytes() / PAGE_SIZE
    }

    /// The first address that it translates.
    pub(super) fn va(&self) -> VirtAddr {
        self.base.add(self.n * self.level.entry_bytes())
    }
}

/// References to the tables of a path.
struct Held<'m> {
    mm: &'m Mm,
    tables: [Option<FolioRef>; 4],
    len: usize,
}

impl Held<'_> {
    /// Takes a reference to a table; fails where the frame is no table at this moment.
    fn take(&mut self, table: PhysAddr) -> bool {
        let valid = self.mm.pfn_valid(table.pfn()) && self.len < self.tables.len();
        let Some(folio) = valid.then(|| self.mm.try_get_folio(table.pfn())).flatten() else { return false };
        let good = folio.kind() == PageKind::Table;
        self.tables[self.len] = Some(folio);
        self.len += 1;
        good
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.tables.iter_mut().filter_map(Option::take).for_each(|table| self.mm.put_folio(table));
    }
}

/// Tells `to` every leaf that covers an address of `[start, end)`, addresses
/// ascending; and returns how many tables it met that begin in the range, the root not counted. A leaf that the range
/// cuts is told whole. Nothing is told of a space that has ended.
pub(super) fn for_each_leaf(
    mm: &Mm,
    space: &AddressSpace,
    start: VirtAddr,
    end: VirtAddr,
    reading: Reading,
    to: &mut impl Visitor,
) -> u64 {
    let (mut va, mut tables) = (start, 0);
    while va < end {
        let next = match reading {
            Reading::Locked => locked_stretch(space, va, end, &mut tables, to),
            Reading::LockFree => free_stretch(mm, space, va, end, &mut tables, to),
        };
        let Some(next) = next else { break };
        va = next;
    }
    tables
}

/// One stretch under the page-table lock. `None`: the space has ended.
fn locked_stretch(
    space: &AddressSpace,
    va: VirtAddr,
    end: VirtAddr,
    tables: &mut u64,
    to: &mut impl Visitor,
) -> Option<VirtAddr> {
    let tree = space.ptl.lock();
    let path = Path::down(tree.root(), va, |_| space.has_tables())?;
    *tables += path.begin_at(va);
    Some(path.read(va, end, to))
}

/// One stretch without a lock. `None`: the space has ended.
fn free_stretch(
    mm: &Mm,
    space: &AddressSpace,
    va: VirtAddr,
    end: VirtAddr,
    tables: &mut u64,
    to: &mut impl Visitor,
) -> Option<VirtAddr> {
    loop {
        let mut held = Held { mm, tables: [const { None }; 4], len: 0 };
        let path = Path::down(space.root(), va, |table| held.take(table));
        // A root that is not given up by now was not when its reference was taken.
        if !space.has_tables() {
            return None;
        }
        if let Some(path) = path.filter(|path| path.stands(va)) {
            *tables += path.begin_at(va);
            return Some(path.read(va, end, to));
        }
        drop(held);
        Machine::relax();
    }
}
