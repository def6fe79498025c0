//! `mm-owner`: the count of entries, and who has them, for two address spaces.
//!
//! A folio has two *owner slots*: the small number of a space ([`super::OwnerId`]) and how many of the entries are its.
//! A space that maps the folio gets a free slot; a third one finds none and is not tracked. The flag SHARED says that
//! the entries may be of several spaces. The algorithm is mainline's since 6.15 (commit 6af8cb80;
//! `folio_add_return_large_mapcount`, `folio_sub_return_large_mapcount`).
//!
//! ```text
//!   owners word, in the first tail:   63       62        32 31     30        0
//!                                    | SHARED | owner of 1 | lock | owner of 0 |
//! ```
//! | done by a space | slot | SHARED |
//! |---|---|---|
//! | maps, has a slot | adds to it | stays |
//! | maps, finds slot free | takes it | set, if others have entries |
//! | maps, finds none free | - | is set already: two others have entries |
//! | unmaps, its slot keeps a count | takes from it | stays |
//! | unmaps, its slot drains, or it has none | freed | cleared, if one slot has all entries that are left |
//!
//! **Exact** while no more than two spaces map the folio. `Exclusive` is never said wrongly: a slot never counts more
//! than its space has, so one that has all entries has them alone.
//!
//! **Flaw.** A third space is not tracked. If it is the last that maps the folio, the folio still looks shared, until one
//! entry is left, or none.
//!
//! **Cost.** One atomic operation a run, the taking of the lock bit; what changes under it is written by plain stores.
//! A second counter, of entries of the folio's own size, tells a folio that is mapped in part, and the average.
//!
//! **Readers without a lock** see the count and the word at different moments. A writer who holds the page-table lock of
//! a space that maps the folio may believe `Exclusive`: as long as it is the only one, only it could add another.
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::{Order, PhysAddr};

use super::rfc_v2::sharing_of;
use super::scheme::rounded;
use super::single::room;
use super::{Answer, Claim, Contract, CountFull, MapcountScheme, Remains, Run, Sharing};
use crate::page::{FirstTailRef, PageKind, PageRef};

/// The scheme; it has no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct MmOwner;

const SHARED: u64 = 1 << 63;
const ID: u64 = (1 << 31) - 1;
/// Where the owner of each slot stands in the word.
const SHIFT: [u32; 2] = [0, 32];

/// The state of a folio while its lock bit is held; written back by [`Locked::unlock`].
struct Locked {
    head: PageRef,
    tail: FirstTailRef,
    word: u64,
    total: u32,
}

impl Locked {
    #[inline]
    fn new(head: PageRef) -> Self {
        let tail = head.first_tail();
        let word = tail.lock_owners();
        Locked { head, tail, word, total: head.raw_mapcount() }
    }
    #[inline]
    fn unlock(self) {
        self.head.set_raw_mapcount(self.total);
        self.tail.unlock_owners(self.word);
    }
    /// The slot of this owner; 0 finds a free one.
    #[inline]
    fn slot_of(&self, id: u32) -> Option<usize> {
        (0..2).find(|&n| self.word >> SHIFT[n] & ID == u64::from(id))
    }
    #[inline]
    fn set_owner(&mut self, n: usize, id: u32) {
        self.word = self.word & !(ID << SHIFT[n]) | u64::from(id) << SHIFT[n];
    }

    #[inline]
    fn add(&mut self, id: u32, n: u32) {
        self.total += n;
        if let Some(slot) = self.slot_of(id) {
            self.tail.set_slot(slot, self.tail.slot(slot) + n);
        } else if let Some(slot) = self.slot_of(0) {
            self.set_owner(slot, id);
            self.tail.set_slot(slot, n);
            if self.total != n {
                self.word |= SHARED;
            }
        }
    }

    #[inline]
    fn sub(&mut self, id: u32, n: u32) {
        debug_assert!(self.total >= n, "{:?}: {n} mappings removed of {}", self.head, self.total);
        self.total -= n;
        if let Some(slot) = self.slot_of(id) {
            // Entries that the space had before it got the slot are not in it.
            let left = self.tail.slot(slot).saturating_sub(n);
            self.tail.set_slot(slot, left);
            if left != 0 {
                return;
            }
            self.set_owner(slot, 0);
        }
        if (0..2).any(|n| self.tail.slot(n) == self.total) {
            self.word &= !SHARED;
        }
    }
}

/// Adds to the entries of the folio's own size. With the lock bit.
#[inline]
fn add_whole(tail: FirstTailRef, run: &Run) {
    if run.is_whole() {
        tail.set_whole(tail.whole() + run.entries);
    }
}

impl MapcountScheme for MmOwner {
    const CONTRACT: Contract =
        [Claim::Exact, Claim::Exact, Claim::Bound, Claim::Bound, Claim::Bound, Claim::Estimate];

    fn add(run: &Run) {
        let mut folio = Locked::new(run.head);
        folio.add(run.owner.raw(), run.entries);
        add_whole(folio.tail, run);
        folio.unlock();
    }

    fn remove(run: &Run) -> Remains {
        let mut folio = Locked::new(run.head);
        folio.sub(run.owner.raw(), run.entries);
        if run.is_whole() {
            folio.tail.set_whole(folio.tail.whole() - run.entries);
        }
        let remains = remains(run.head, folio.total, folio.tail.whole());
        folio.unlock();
        remains
    }

    fn split(block: &Run, _table: PhysAddr) {
        let mut folio = Locked::new(block.head);
        folio.add(block.owner.raw(), ENTRIES_PER_TABLE as u32 - 1);
        if block.is_whole() {
            folio.tail.set_whole(folio.tail.whole() - 1);
        }
        folio.unlock();
    }

    fn join(_pieces: &Run, block: &Run) {
        let mut folio = Locked::new(block.head);
        folio.sub(block.owner.raw(), ENTRIES_PER_TABLE as u32 - 1);
        add_whole(folio.tail, block);
        folio.unlock();
    }

    fn may_add(run: &Run) -> Result<(), CountFull> {
        room(run.head.raw_mapcount(), run.entries)
    }

    fn is_mapped(head: PageRef) -> bool {
        head.raw_mapcount() != 0
    }

    fn entries(head: PageRef) -> Answer<u32> {
        Answer::Exact(head.raw_mapcount())
    }

    /// Exact where the folio is not mapped, or by entries of its own size only.
    fn page_entries(head: PageRef, _page: PageRef) -> Answer<u32> {
        let (entries, whole) = (head.raw_mapcount(), head.first_tail().whole());
        if entries == whole { Answer::Exact(entries) } else { Answer::AtMost(entries) }
    }

    /// Exact where nothing maps it, or something maps all of it, or it is private and one space maps it, each page
    /// once; else no more than there are entries, or pages.
    fn pages_mapped(head: PageRef) -> Answer<u32> {
        let (entries, whole, pages) =
            (head.raw_mapcount(), head.first_tail().whole(), head.order().pages() as u32);
        match entries {
            0 => Answer::Exact(0),
            _ if whole != 0 => Answer::Exact(pages),
            _ if is_once(head) => Answer::Exact(entries),
            _ => Answer::AtMost(bound(head, entries)),
        }
    }

    /// Exact unless SHARED is set while a slot is free: then a space may have entries that no slot counts.
    fn sharing(head: PageRef) -> Answer<Sharing> {
        let (entries, word) = (head.raw_mapcount(), head.first_tail().owners());
        if entries <= 1 {
            sharing_of(entries)
        } else if word & SHARED == 0 {
            Answer::Exact(Sharing::Exclusive)
        } else if SHIFT.iter().all(|shift| word >> shift & ID != 0) {
            Answer::Exact(Sharing::Shared)
        } else {
            Answer::AtMost(Sharing::Shared)
        }
    }

    /// Entries of the folio's own size map each page; the others are shared out over all pages.
    fn average(head: PageRef) -> u32 {
        let (entries, whole) = (head.raw_mapcount(), head.first_tail().whole());
        match entries.saturating_sub(whole) {
            0 => entries,
            small => {
                rounded(u64::from(small) + u64::from(whole) * head.order().pages(), head.order().pages())
            }
        }
    }
}

/// Whether each entry maps a page that no other maps: private memory of one space, by page entries.
fn is_once(head: PageRef) -> bool {
    head.kind() == PageKind::Anon
        && head.order() <= Order::PMD
        && MmOwner::sharing(head) == Answer::Exact(Sharing::Exclusive)
}

/// How many pages so many entries can map, none of which is the folio's own size.
fn bound(head: PageRef, entries: u32) -> u32 {
    let pages = head.order().pages();
    // Entries between the page's size and the folio's map 512 pages each.
    let each = if head.order() > Order::PMD { Order::PMD.pages() } else { 1 };
    u32::try_from(u64::from(entries).saturating_mul(each).min(pages)).unwrap_or(u32::MAX)
}

/// What is known of a folio of which so many entries, and so many of its own size, are left.
pub(super) fn remains(head: PageRef, entries: u32, whole: u32) -> Remains {
    match entries {
        0 => Remains::Nothing,
        _ if whole == 0 && bound(head, entries) < head.order().pages() as u32 => Remains::Part,
        _ => Remains::Whole,
    }
}
