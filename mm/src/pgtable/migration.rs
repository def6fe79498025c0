//! Migration entries in a live tree: how they come, change and go.
//!
//! ```text
//!              begin_migration              end_migration
//!    leaf ------------------------> entry ----------------> leaf that maps the new frame (or the old one again)
//!            flush owed to a gather  |  ^ |
//!                    change_migration`--' | take_migration          (unmap; mremap puts it elsewhere)
//!                                         v
//!    nothing <----------------------------'      nothing --put_migration--> entry   (fork, mremap)
//! ```
//! A migration entry holds no reference and is counted as no mapping: whoever migrates holds the folio, and takes a
//! reference for each leaf that it makes again. The old translation is flushed before the lock of the tree is let go,
//! so to everybody else a migration entry is an entry of which no TLB holds anything: what replaces it needs no break.
//! An access to it faults and waits ([`crate::rmap::wait`]).
#![forbid(unsafe_code)]

use arch::pte::Migration;
use arch::{Desc, VirtAddr};

use super::gather::Gather;
use super::{Entry, PtRoot, Unmapped, Walk, WalkStep};

impl WalkStep {
    /// What the migration entry remembers, where this is one.
    #[must_use]
    pub fn migration(&self) -> Option<Migration> {
        self.desc.as_migration(self.level)
    }
}

impl Walk {
    /// The migration entry at which the walk ends, where it does.
    #[must_use]
    pub fn migration(&self) -> Option<Migration> {
        self.last().migration()
    }
}

impl PtRoot {
    /// Whether the frame that `va` maps is moving to another place.
    #[must_use]
    pub fn is_migrating(&self, va: VirtAddr) -> bool {
        self.walk(va).migration().is_some()
    }
}

impl Entry<'_> {
    /// What the migration entry that stands here remembers; `None` where it is none.
    #[must_use]
    pub fn migration(&self) -> Option<Migration> {
        self.desc().as_migration(self.level())
    }

    /// Replaces a leaf by the migration entry that remembers it. Returns what the leaf held, for the same `gather`,
    /// which ends before the tree's lock is let go.
    ///
    /// # Panics
    /// No leaf stands here.
    pub fn begin_migration<'g>(self, gather: &mut Gather<'g>) -> Unmapped<'g> {
        self.unfold();
        let (old, level) = (self.desc(), self.level());
        assert!(old.is_leaf(level), "{old} at {} is no leaf that could move", self.va());
        self.clear_to(Desc::migration(old.output(level), level, old.flags(level)), gather)
    }

    /// Makes valid what takes the place of a migration entry: the leaf for the frame's new place, or a table of the
    /// migration entries of the next level.
    ///
    /// # Panics
    /// No migration entry stands here.
    pub fn end_migration(self, new: Desc) {
        self.expect_migration();
        self.store_from_invalid(new);
    }

    /// Replaces a migration entry by one with other rights.
    ///
    /// # Panics
    /// No migration entry stands here.
    pub fn change_migration(self, new: Migration) {
        self.expect_migration();
        let desc = new.desc(self.level());
        self.store_from_invalid(desc);
    }

    /// Takes a migration entry away. Nothing is owed.
    ///
    /// # Panics
    /// No migration entry stands here.
    pub fn take_migration(self) -> Migration {
        let old = self.expect_migration();
        self.store_from_invalid(Desc::INVALID);
        old
    }

    /// Puts a migration entry where nothing stands. Nothing is owed.
    ///
    /// # Panics
    /// Something stands here.
    pub fn put_migration(self, new: Migration) {
        let old = self.desc();
        assert!(old.is_empty(), "{new:?} put at {}, which holds {old}", self.va());
        let desc = new.desc(self.level());
        self.store_from_invalid(desc);
    }

    fn expect_migration(&self) -> Migration {
        let old = self.desc();
        match old.as_migration(self.level()) {
            Some(migration) => migration,
            None => panic!("{old} at {} is no migration entry", self.va()),
        }
    }
}
