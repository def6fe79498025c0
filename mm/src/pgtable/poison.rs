//! Poison markers in a live tree: how they come and go.
//!
//! ```text
//!   leaf --poison--> marker        the flush is owed to a gather; the entry's mapping and reference go
//!   nothing --make--> marker       fork, mremap
//!   marker --clear--> nothing      munmap, MADV_DONTNEED, exit
//! ```
//! No TLB holds anything of a marker, and it is never replaced by a leaf: a fault finds it and ends there. It stands
//! for as long as its address is mapped.
#![forbid(unsafe_code)]

use arch::Desc;

use super::Entry;
use super::gather::Gather;
use super::unlinked::Unmapped;

impl Entry<'_> {
    /// Replaces a leaf by a marker. Returns what the leaf held, for the same `gather`, which ends before the tree's
    /// lock is let go.
    ///
    /// # Panics
    /// No leaf stands here.
    pub fn poison<'g>(self, gather: &mut Gather<'g>) -> Unmapped<'g> {
        let (old, level) = (self.desc(), self.level());
        assert!(old.is_leaf(level), "{old} at {} is no leaf whose memory could fail", self.va());
        self.clear_to(Desc::POISONED, gather)
    }
}
