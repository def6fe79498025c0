//! A tree of tables under its lock, and how entries are had from it.
#![forbid(unsafe_code)]

use arch::pte::Kind;
use arch::{Desc, Level, PhysAddr, VirtAddr};

use super::entry::Entry;
use super::flush::Flusher;
use super::stock::TableStock;
use super::table::LooseTable;
use super::walk::{Walk, WalkStep, last, read, slot, walk};

/// One tree of tables. It stands inside the spinlock that protects it, so a `&mut PtRoot` is the proof that the
/// lock is held, and an [`Entry`], which borrows it, cannot outlive the lock. As the borrow is exclusive, a tree
/// has one entry at a time in hand, or one that is broken, or one that is clean.
#[derive(Debug)]
pub struct PtRoot {
    root: PhysAddr,
    /// `None` for the kernel's tree, whose root is never given back.
    table: Option<LooseTable>,
}

/// Why there is no entry of the wished level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// The descriptor of this level, above the wished one, is invalid.
    Table(Level),
    /// A leaf of this level, above the wished one, maps the address; or a migration entry will, or a marker says that
    /// nothing can.
    Leaf(Level, Desc),
    /// The stock has no table left.
    Stock,
}

impl PtRoot {
    /// An empty tree, whose level-0 table `table` comes to be.
    pub(crate) fn new(table: LooseTable) -> Self {
        PtRoot { root: table.address(), table: Some(table) }
    }
    /// The tree that boot has built, whose level-0 table is at `root`.
    pub(crate) const fn built(root: PhysAddr) -> Self {
        PtRoot { root, table: None }
    }
    /// The level-0 table, at the end of the tree's life: nothing is mapped, and no CPU will use it again. `None`
    /// where it was taken before.
    pub(crate) fn take_root(&mut self) -> Option<LooseTable> {
        self.table.take()
    }
    /// The level-0 table.
    #[must_use]
    pub fn root(&self) -> PhysAddr {
        self.root
    }
    /// Every level for `va`.
    #[must_use]
    pub fn walk(&self, va: VirtAddr) -> Walk {
        walk(self.root, va)
    }

    /// The entry of `level` that translates `va`.
    ///
    /// # Errors
    /// [`Missing::Table`] or [`Missing::Leaf`]: a level above does not lead there.
    pub fn entry<'l>(
        &'l mut self,
        flusher: Flusher<'l>,
        va: VirtAddr,
        level: Level,
    ) -> Result<Entry<'l>, Missing> {
        self.descend(flusher, va, level, |above| Err(Missing::Table(above.level())))
    }

    /// Walks down to the entry of `level` for `va`. Where a table is missing, `missing` is given the entry that would
    /// lead to it, and says where it is now.
    #[inline(always)]
    fn descend<'l>(
        &'l mut self,
        flusher: Flusher<'l>,
        va: VirtAddr,
        level: Level,
        mut missing: impl FnMut(Entry<'_>) -> Result<PhysAddr, Missing>,
    ) -> Result<Entry<'l>, Missing> {
        let mut table = self.root;
        for above in [Level::L0, Level::L1, Level::L2].into_iter().take_while(|above| *above < level) {
            let step = read(table, above, va);
            table = match step.kind() {
                Kind::Table => step.desc.output(above),
                Kind::Invalid if !step.desc.is_empty() => return Err(Missing::Leaf(above, step.desc)),
                Kind::Invalid => missing(Entry::new(step.slot, above, va, flusher))?,
                Kind::Block | Kind::Page => return Err(Missing::Leaf(above, step.desc)),
            };
        }
        Ok(Entry::new(slot(table, level, va), level, va, flusher))
    }

    /// The last step of the walk for `va`: a leaf, or the invalid descriptor where the walk ends.
    #[must_use]
    #[inline]
    pub fn last(&self, va: VirtAddr) -> WalkStep {
        last(self.root, va)
    }

    /// The entry at which the walk for `va` ends, and what stands there: one look where both are wanted.
    #[inline]
    pub fn last_entry<'l>(&'l mut self, flusher: Flusher<'l>, va: VirtAddr) -> (WalkStep, Entry<'l>) {
        let last = self.last(va);
        (last, Entry::new(last.slot, last.level, va, flusher))
    }

    /// As [`Self::entry`], but puts tables from `stock` where they are missing.
    ///
    /// # Errors
    /// [`Missing::Leaf`]: a leaf above maps the address. [`Missing::Stock`]: the stock is empty; tables that
    /// were put in place stay, empty, and are freed with the tree.
    pub fn entry_or_table<'l>(
        &'l mut self,
        flusher: Flusher<'l>,
        va: VirtAddr,
        level: Level,
        stock: &mut TableStock,
    ) -> Result<Entry<'l>, Missing> {
        self.descend(flusher, va, level, |above| {
            let table = stock.take().ok_or(Missing::Stock)?;
            let address = table.address();
            above.make(table.link());
            Ok(address)
        })
    }
}
