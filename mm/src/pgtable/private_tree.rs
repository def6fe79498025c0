//! A tree of tables that no CPU ever uses: for experiments on what is counted, without what a live tree costs.
//!
//! Descriptors are written plainly: no TLB and no walker knows of the tree, so nothing is ever owed. Walks read it as
//! they read any.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::Kind;
use arch::{Desc, Level, Machine, PhysAddr, PhysMem, VirtAddr};

use super::LooseTable;
use super::walk::{self, Walk, slot};
use crate::Mm;
use crate::error::OutOfMemory;

/// The owner of such a tree. It is given back by [`Self::free`].
#[must_use = "a tree is given back by `free`; otherwise its tables are lost"]
#[derive(Debug)]
pub struct PrivateTree {
    root: LooseTable,
}

impl PrivateTree {
    /// An empty tree.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(mm: &Mm) -> Result<Self, OutOfMemory> {
        Ok(PrivateTree { root: mm.alloc_table()? })
    }

    /// The level-0 table.
    #[must_use]
    pub fn root(&self) -> PhysAddr {
        self.root.address()
    }

    /// As the hardware would walk it.
    #[must_use]
    pub fn walk(&self, va: VirtAddr) -> Walk {
        walk::walk(self.root(), va)
    }

    /// The table of `level`, 1..=3, that translates `va`.
    #[must_use]
    pub fn table_at(&self, va: VirtAddr, level: Level) -> Option<PhysAddr> {
        let step = self.walk(va).steps().iter().find(|step| step.level == level).copied()?;
        Some(PhysAddr::new(step.slot.raw() & !(PAGE_SIZE - 1)))
    }

    /// As [`Self::table_at`]; tables that are missing are made.
    ///
    /// # Errors
    /// [`OutOfMemory`]. `None`: a leaf stands above.
    pub fn table_for(
        &mut self,
        mm: &Mm,
        va: VirtAddr,
        level: Level,
    ) -> Result<Option<PhysAddr>, OutOfMemory> {
        let mut table = self.root();
        for above in [Level::L0, Level::L1, Level::L2].into_iter().filter(|above| *above < level) {
            let slot = slot(table, above, va);
            let desc = Machine::read_desc(slot);
            table = match desc.kind(above) {
                Kind::Table => desc.output(above),
                Kind::Invalid => {
                    let link = mm.alloc_table()?.link();
                    Machine::write_desc(slot, link);
                    link.output(above)
                }
                Kind::Block | Kind::Page => return Ok(None),
            };
        }
        Ok(Some(table))
    }

    /// Writes entry `n` of a table of this tree.
    pub fn write(&mut self, table: PhysAddr, n: usize, desc: Desc) {
        Machine::write_desc(table.add(8 * n as u64), desc);
    }

    /// Takes the table out that the entry of `level` for `va` leads to, and writes `desc` in its place.
    pub fn replace_table(&mut self, va: VirtAddr, level: Level, desc: Desc) -> Option<LooseTable> {
        let step = self.walk(va).steps().iter().find(|step| step.level == level).copied()?;
        let table = (step.kind() == Kind::Table).then(|| step.desc.output(level))?;
        Machine::write_desc(step.slot, desc);
        Some(LooseTable::from_flushed(table))
    }

    /// Gives all tables back.
    pub fn free(self, mm: &Mm) {
        free_below(mm, self.root.address(), Level::L0);
        mm.free_table(self.root);
    }
}

/// Gives back the tables that a table leads to.
fn free_below(mm: &Mm, table: PhysAddr, level: Level) {
    let Some(next) = level.next() else { return };
    for n in 0..ENTRIES_PER_TABLE as u64 {
        let desc = Machine::read_desc(table.add(8 * n));
        if desc.kind(level) == Kind::Table {
            let below = desc.output(level);
            free_below(mm, below, next);
            mm.free_table(LooseTable::from_flushed(below));
        }
    }
}
