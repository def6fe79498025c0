//! Pins: references of those who read or write the memory itself, at a time of their own choosing (Linux: FOLL_PIN).
//!
//! A pin is a reference and one more in `pincount`, of the head for every page of a folio that is pinned. Upstream
//! counts the pins of a small folio in its reference count, 1024 a pin (`GUP_PIN_COUNTING_BIAS`), since its struct page
//! has no room for another counter; so there 1024 references look like a pin, and "maybe" is meant. Ours has the
//! counter in every struct page: the answer is exact, and refers to pins alone.
//!
//! | who meets a pinned folio | what it does |
//! |---|---|
//! | fork | gives the child a copy of the page at once: the parent's stays its own |
//! | a write to a private page | keeps the page: what is pinned is mapped by nobody else |
//! | promotion, migration, folio split | refuse: the pin is a reference that they do not expect |
//! | HVO | leaves the folio as it is |
//! | munmap, exit, truncation | unmap it; the memory stays until it is unpinned |
//!
//! A pin is added under the page-table lock of an entry that maps the page, so who holds the locks of all entries that
//! map it sees no new ones. Pins go at any time.
#![forbid(unsafe_code)]

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use super::{Page, PageRef};

const PINCOUNT: usize = offset_of!(Page, pincount);

/// Most pins of one folio. Beyond it there is room for every CPU to add a whole folio's at once.
pub const MOST_PINS: u32 = 1 << 31;

impl PageRef {
    /// Pins of any part of the folio of which this is the head, or of this single page. 0 for a tail.
    #[must_use]
    pub fn pincount(self) -> u32 {
        self.load_32(PINCOUNT, Ordering::Acquire)
    }
    /// Whether any part of the folio of which this is the head is pinned, or this single page (Linux:
    /// `folio_maybe_dma_pinned`). Exact while the page-table locks of all entries that map it are held; otherwise a pin
    /// may come or go at any time.
    #[must_use]
    pub fn maybe_pinned(self) -> bool {
        self.pincount() != 0
    }
    /// Counts `n` pins more, 1..=2^18, unless there are [`MOST_PINS`] or more already. Under T of an entry that maps
    /// the folio; the caller has a reference for each. Says whether they were counted.
    #[must_use]
    pub(crate) fn add_pins(self, n: u32) -> bool {
        if self.pincount() >= MOST_PINS {
            return false;
        }
        self.fetch_add_32(PINCOUNT, n);
        true
    }
    /// Counts `n` pins fewer. The caller has counted them, and drops their references after.
    pub(crate) fn sub_pins(self, n: u32) {
        let old = self.fetch_sub_32(PINCOUNT, n);
        debug_assert!(old >= n, "{self:?}: {n} pins removed of {old}");
    }
    /// Sets the number of pins: for tests that begin near the limit.
    #[cfg(not(target_os = "none"))]
    pub fn set_pincount(self, n: u32) {
        self.store_32(PINCOUNT, n, Ordering::Release);
    }
}
