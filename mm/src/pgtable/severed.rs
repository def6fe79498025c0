//! A level-3 table that leaves its tree with all that its entries hold.
//!
//! ```text
//!   level 2   [ table ]                [ . ]                  [ . ]
//!                 |         sever                  leaves taken out, one run after the other
//!   level 3   [ a b . c ]   ------>    [ a b . c ]  ------>   [ . . . c ]  ...  ------>  the table is freed
//! ```
//! One store takes 512 translations away and one flush makes every TLB forget them, so what the entries hold can be
//! given up at once, without a gather. The tree's lock stays with the caller until all is taken out: who comes by way
//! of a page looks under that lock, and must find as many entries as are counted.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::{Desc, DescTable, Level, Machine, PhysAddr, PhysMem, VirtAddr};

use super::entry::Entry;
use super::gather::Gather;
use super::stretch::Stretch;
use super::table::LooseTable;
use crate::Mm;

/// See the [module](self). No TLB holds anything of it, and no walker comes to it.
#[must_use = "what the entries hold is lost otherwise, and the table"]
pub struct Severed<'t, 'l> {
    stretch: &'t Stretch<'l>,
    table: LooseTable,
    above: PhysAddr,
    entries: <Machine as PhysMem>::Table,
}

impl<'l> Stretch<'l> {
    /// Whether the stretch is all of a level-3 table.
    #[must_use]
    pub fn is_table(&self) -> bool {
        self.level() == Level::L3 && self.len() == ENTRIES_PER_TABLE
    }

    /// Takes the table, all of whose entries these are, out of the tree. What `gather` owes and holds is flushed and
    /// given up with it. `None`: the stretch is no table.
    pub fn sever<'t>(&'t mut self, gather: &mut Gather<'_>) -> Option<Severed<'t, 'l>> {
        let above = self.walk().steps().iter().find(|step| step.level == Level::L2)?;
        if !self.is_table() {
            return None;
        }
        let entry = Entry::new(above.slot, Level::L2, self.start(), self.flusher());
        let above_table = entry.table();
        let table = entry.clear(gather).old.output();
        gather.settle();
        Some(Severed {
            stretch: self,
            entries: Machine::table(table),
            table: LooseTable::from_flushed(table),
            above: above_table,
        })
    }
}

impl Severed<'_, '_> {
    /// Where the table is.
    #[must_use]
    pub fn address(&self) -> PhysAddr {
        self.table.address()
    }
    /// The level-2 table that led to it.
    #[must_use]
    pub fn above(&self) -> PhysAddr {
        self.above
    }
    /// The address that its first entry translated.
    #[must_use]
    pub fn start(&self) -> VirtAddr {
        self.stretch.start()
    }

    /// What entry `n`, 0..=511, holds is the caller's now: its reference and its mapping, if it is a leaf.
    #[inline]
    pub fn take(&mut self, n: usize) -> Desc {
        let old = self.entries.read(n);
        self.entries.write(n, Desc::INVALID);
        old
    }

    /// As [`Self::take`] for the entries from `n` on that go on from `before`, the leaf that stood before the first of
    /// them: they map consecutive frames with the same attributes. `most` of them, or fewer. Returns how many.
    #[inline]
    pub fn take_run(&mut self, n: usize, before: Desc, most: usize) -> usize {
        let (table, last) = (self.entries, ENTRIES_PER_TABLE.min(n.saturating_add(most)));
        let (mut next, mut m) = (before.raw(), n);
        while m < last {
            next = next.wrapping_add(PAGE_SIZE);
            if table.read(m).raw() != next {
                break;
            }
            table.write(m, Desc::INVALID);
            m += 1;
        }
        m - n
    }

    /// Gives the table back.
    pub fn free(self, mm: &Mm) {
        mm.free_table(self.table);
    }
}
