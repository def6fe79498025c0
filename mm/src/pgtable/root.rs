//! A tree of tables under its lock, and how entries are had from it.
#![forbid(unsafe_code)]

use arch::{Desc, Level, PhysAddr, VirtAddr};

use super::entry::Entry;
use super::flush::Flusher;
use super::stock::TableStock;
use super::table::LooseTable;
use super::walk::{Walk, WalkStep, down_to, last, walk};

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
    /// A leaf of this level, above the wished one, maps the address; or a migration entry will.
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
        let step = down_to(self.root, va, level);
        match missing(step, level) {
            None => Ok(Entry::new(step.slot, level, va, flusher)),
            Some(missing) => Err(missing),
        }
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
        loop {
            let step = down_to(self.root, va, level);
            let entry = Entry::new(step.slot, step.level, va, flusher);
            match missing(step, level) {
                None => return Ok(entry),
                Some(Missing::Table(_)) => entry.make(stock.take().ok_or(Missing::Stock)?.link()),
                Some(missing) => return Err(missing),
            }
        }
    }
}

/// Why a walk that came no further than `step` has no entry of `level`; `None`: it has.
#[inline]
fn missing(step: WalkStep, level: Level) -> Option<Missing> {
    if step.level == level {
        None
    } else if step.desc.is_empty() {
        Some(Missing::Table(step.level))
    } else {
        Some(Missing::Leaf(step.level, step.desc))
    }
}
