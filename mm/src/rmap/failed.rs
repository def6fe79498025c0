//! Taking a folio whose memory has failed out of the tables.
//!
//! | the folio is | an entry that mapped it becomes | the next access |
//! |---|---|---|
//! | a page of an object | empty | the fault finds in the object that it has failed |
//! | private | a marker | the fault finds the marker: what was there is lost, and no page of zeros may look like it |
//!
//! (Linux: `hwpoison_user_mappings`, which leaves a marker in both.)
#![forbid(unsafe_code)]

use super::unmap::{unmap_folio, unmap_to_mark};
use super::wake;
use super::walk::Origin;
use crate::Mm;
use crate::page::{Flags, PageRef};

/// The right to move a folio, had by who takes it out of the tables since it has failed: so it does not move meanwhile.
pub(crate) struct Still<'m> {
    mm: &'m Mm,
    head: PageRef,
}

impl<'m> Still<'m> {
    /// Waits until nobody moves the folio, to which the caller has a reference. May sleep; no spinlock is held.
    pub(crate) fn hold(mm: &'m Mm, head: PageRef) -> Self {
        mm.rmap.moved.wait(mm, || head.claim_flag(Flags::MOVING).then_some(()));
        Still { mm, head }
    }

    /// Takes every entry away that maps a part of the folio. Its head says by now that it has failed, so nobody makes a
    /// new one.
    pub(crate) fn unmap(&self) {
        let origin = Origin::of(self.head);
        if origin.is_shared() {
            unmap_folio(self.mm, self.head);
        } else {
            unmap_to_mark(self.mm, &origin);
        }
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        self.head.clear_flags(Flags::MOVING);
        wake(self.mm);
    }
}
