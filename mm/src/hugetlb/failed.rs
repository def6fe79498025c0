//! Which pages of hugetlb folios have failed: a sorted list of their frames, on the heap.
//!
//! ```text
//!   head of a folio   POISONED                   list   ...  0x48205  |  0x48a03  0x48bff  |  ...
//!                     `-- look here ------------------------------------- those of one folio
//! ```
//! Linux hangs a list on the head (`raw_hwp_page`), as struct pages of tails cannot tell: HVO shares them. Here one
//! list serves all folios: frames of one stand next to one another in it, and the flag of the head says whether to
//! look.
//!
//! **Guarantee.** A page that is on the list lies in a hugetlb folio with [`Flags::POISONED`], and each such folio has a
//! page on the list, or has [`Flags::UNRELIABLE`] too: there was no memory for the list when one of its pages failed,
//! so all of them count (Linux: `hugetlb_raw_hwp_unreliable`). A folio that is taken apart takes its pages off the
//! list; they are of kind [`PageKind::Failed`] then, for ever.
//!
//! [`PageKind::Failed`]: crate::page::PageKind::Failed
#![forbid(unsafe_code)]

use core::ops::Range;

use allocator_api2::vec::Vec;
use arch::Pfn;
use arch::sync::SpinLock;

use crate::kalloc::KAlloc;
use crate::locks::FAILED_FRAMES;
use crate::page::{Flags, PageRef};

/// See the [module](self).
pub(crate) struct FailedFrames {
    list: SpinLock<List>,
}

struct List {
    /// Frames that lie in folios, ascending.
    in_folios: Vec<Pfn, KAlloc>,
    /// All frames that have failed, those that are in no folio any more among them.
    all: u64,
}

/// Whether there is room on the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    Yes,
    No,
}

impl FailedFrames {
    /// None has failed.
    pub(super) const fn new() -> Self {
        let list = List { in_folios: Vec::new_in(KAlloc), all: 0 };
        FailedFrames { list: SpinLock::new(FAILED_FRAMES, list) }
    }

    /// Room for one more, for whoever is alone in adding: the right to resize is held, and no spinlock.
    pub(super) fn prepare(&self) -> Room {
        let wanted = {
            let list = self.list.lock();
            if list.in_folios.len() < list.in_folios.capacity() {
                return Room::Yes;
            }
            list.in_folios.len() + 1
        };
        let mut longer = Vec::new_in(KAlloc);
        if longer.try_reserve(wanted.next_power_of_two()).is_err() {
            return Room::No;
        }
        let mut list = self.list.lock();
        longer.extend_from_slice(&list.in_folios);
        let shorter = core::mem::replace(&mut list.in_folios, longer);
        drop(list);
        drop(shorter);
        Room::Yes
    }

    /// The page `n` of the folio with this head has failed. Says whether it is the first time.
    pub(super) fn add(&self, head: PageRef, n: u64, room: Room) -> Seen {
        let mut list = self.list.lock();
        if is_unreliable(head) {
            return Seen::Before;
        }
        let pfn = head.pfn().add(n);
        let Err(at) = list.in_folios.binary_search(&pfn) else { return Seen::Before };
        if room == Room::Yes && list.in_folios.len() < list.in_folios.capacity() {
            list.in_folios.insert(at, pfn);
            list.all += 1;
            head.set_flags(Flags::POISONED);
        } else {
            let noted = list.place_of(head);
            list.all += head.order().pages() - noted.len() as u64;
            list.in_folios.drain(noted);
            head.set_flags(Flags::POISONED | Flags::UNRELIABLE);
        }
        Seen::First
    }

    /// The first of these pages of the folio that has failed.
    pub(super) fn first_in(&self, head: PageRef, pages: Range<u64>) -> Option<u64> {
        if !head.flags().contains(Flags::POISONED) || pages.is_empty() {
            return None;
        }
        let list = self.list.lock();
        if is_unreliable(head) {
            return Some(pages.start);
        }
        let at = list.in_folios.partition_point(|&pfn| pfn < head.pfn().add(pages.start));
        let n = list.in_folios.get(at)?.offset_from(head.pfn());
        (n < pages.end).then_some(n)
    }

    /// Takes the last page of the folio that is on the list off it. The folio is taken apart.
    pub(super) fn take_last(&self, head: PageRef) -> Option<u64> {
        let mut list = self.list.lock();
        let last = list.place_of(head).last()?;
        Some(list.in_folios.remove(last).offset_from(head.pfn()))
    }

    /// Puts a frame on the list, whatever is there: damage, for tests of the check.
    #[cfg(test)]
    pub(crate) fn damage(&self, pfn: Pfn) {
        let mut list = self.list.lock();
        let at = list.in_folios.partition_point(|&other| other < pfn);
        list.in_folios.insert(at, pfn);
        list.all += 1;
    }

    /// How many frames have failed.
    pub(super) fn all(&self) -> u64 {
        self.list.lock().all
    }

    /// Tells `f` each frame on the list.
    pub(super) fn for_each(&self, mut f: impl FnMut(Pfn)) {
        self.list.lock().in_folios.iter().for_each(|&pfn| f(pfn));
    }
}

impl List {
    /// Where the pages of the folio stand.
    fn place_of(&self, head: PageRef) -> Range<usize> {
        let (first, end) = (head.pfn(), head.pfn().add(head.order().pages()));
        let at = |pfn: Pfn| self.in_folios.partition_point(|&other| other < pfn);
        at(first)..at(end)
    }
}

/// Whether a failure was seen before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    First,
    Before,
}

/// Whether all pages of the folio count as failed.
pub(crate) fn is_unreliable(head: PageRef) -> bool {
    head.flags().contains(Flags::UNRELIABLE)
}
