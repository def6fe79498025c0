//! A reservation as it stands in the struct pages of its block.
//!
//! The block's 512 base pages have 512 owner's words ([`PageRef::private`]), which nobody else uses while the
//! reservation lives, those inside of a piece among them. Eleven of them hold it:
//!
//! ```text
//!   page     0 .. 7                  8          9                                 10
//!   private  population map, 512 b   space id   address of the range | QUEUED    when it last moved | bits set | place
//!   link     0: the bucket's chain   1: the queue of partially populated reservations
//! ```
//! A page of the block that is mapped is a page like any other to everybody else: kind, mapping, counts are its own.
#![forbid(unsafe_code)]

use arch::{Order, PageSize, VirtAddr};

use super::popmap::{self, PAGES, Popmap, WORDS};
use crate::page::{FolioRef, PageRef, page_of};
use crate::space::AddressSpace;
use crate::thp::{pieces, queue::Standing};

const SPACE: u64 = WORDS as u64;
const RANGE: u64 = SPACE + 1;
const STANDING: u64 = RANGE + 1;
/// So many owner's words, those of the first pages, hold a record.
pub(super) const END: u64 = STANDING + 1;
const QUEUED: u64 = 1;

/// Which range of which space: what a reservation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The space's number.
    pub space: u64,
    /// The first address of the range; a multiple of 2 MiB.
    pub range: VirtAddr,
}

impl Key {
    /// The range of `space` that holds `va`.
    #[must_use]
    pub fn new(space: &AddressSpace, va: VirtAddr) -> Self {
        Key { space: space.id, range: va.align_down(PageSize::Size2M.bytes()) }
    }
    /// The address of page `i` (0..=511) of the range.
    #[must_use]
    pub fn va(&self, i: usize) -> VirtAddr {
        self.range.add(i as u64 * PageSize::Size4K.bytes())
    }
}

/// Whether a request for promotion is in the promoter's queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queued {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// The record in the block whose first page this is. Used under the lock of its bucket (R), or before it is in the
/// table, or after it has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record(PageRef);

impl Record {
    /// Writes the record of an empty reservation into a block of 512 pages as it was given out, of which the caller is
    /// the sole user, and has the reference. Its words are 0, which is no page and no place in the queue.
    pub(super) fn write(block: PageRef, key: Key) -> Self {
        debug_assert!(block.pfn().is_aligned(Order::PMD) && block.order() == Order::PMD);
        let record = Record(block);
        debug_assert!((0..END).all(|n| block.nth(n).private() == 0), "{block:?} was given out with a word");
        block.nth(SPACE).set_private(key.space);
        block.nth(RANGE).set_private(key.range.raw());
        record
    }

    /// Wipes the record out of the struct pages.
    pub(super) fn erase(self) {
        (0..END).for_each(|n| self.0.nth(n).set_private(0));
    }

    /// The record in the block that begins with this page, if there is one: only the table can tell.
    pub(super) const fn at(block: PageRef) -> Self {
        Record(block)
    }

    /// The first page of the block.
    #[must_use]
    pub fn block(self) -> PageRef {
        self.0
    }
    /// Page `i` (0..=511) of the block.
    #[must_use]
    pub fn page(self, i: usize) -> PageRef {
        debug_assert!(i < PAGES);
        self.0.nth(i as u64)
    }
    /// What it is for.
    #[must_use]
    pub fn key(self) -> Key {
        let range = self.0.nth(RANGE).private() & !QUEUED;
        Key { space: self.0.nth(SPACE).private(), range: VirtAddr::new(range) }
    }
    /// Which pages are populated.
    #[must_use]
    pub fn popmap(self) -> Popmap {
        Popmap::from_words(core::array::from_fn(|n| self.0.nth(n as u64).private()))
    }
    /// Sets them, and counts them.
    pub(crate) fn set_popmap(self, map: &Popmap) {
        (0..WORDS).for_each(|n| self.0.nth(n as u64).set_private(map.word(n)));
        self.set_standing(Standing { populated: map.count(), ..self.standing() });
    }
    /// Whether page `i` (0..=511) is populated.
    #[inline]
    #[must_use]
    pub fn is_populated(self, i: usize) -> bool {
        self.page(i / u64::BITS as usize).private() >> (i % u64::BITS as usize) & 1 != 0
    }
    /// As [`Popmap::has_group`], of the map.
    #[inline]
    #[must_use]
    pub(super) fn has_group(self, i: usize) -> bool {
        popmap::has_group(self.page(i / u64::BITS as usize).private(), i)
    }
    /// How many pages are populated: 0..=512.
    #[inline]
    #[must_use]
    pub fn populated(self) -> u64 {
        self.standing().populated
    }
    /// Whether the promoter knows of it.
    #[must_use]
    pub fn queued(self) -> Queued {
        if self.0.nth(RANGE).private() & QUEUED != 0 { Queued::Yes } else { Queued::No }
    }
    pub(super) fn set_queued(self, queued: Queued) {
        let range = self.key().range.raw();
        let mark = if queued == Queued::Yes { QUEUED } else { 0 };
        self.0.nth(RANGE).set_private(range | mark);
    }

    /// The page of the block whose link is the queue's.
    pub(super) fn link(self) -> PageRef {
        self.0.nth(1)
    }
    /// The record whose [`Self::link`] this is.
    pub(super) fn of_link(link: PageRef) -> Self {
        Record(page_of(link.pfn().align_down(Order::PMD)))
    }
    /// Where it stands among the reservations.
    #[must_use]
    pub fn standing(self) -> Standing {
        Standing::from_word(self.0.nth(STANDING).private())
    }
    pub(super) fn set_standing(self, standing: Standing) {
        self.0.nth(STANDING).set_private(standing.word());
    }

    /// Counts page `i` as populated and takes a reference to it for its future entry. Whose it is, and where in it, says
    /// who makes the entry. It must not be populated.
    pub(super) fn populate(self, i: usize) -> FolioRef {
        let (word, standing) = (self.page(i / u64::BITS as usize), self.standing());
        word.set_private(word.private() | 1 << (i % u64::BITS as usize));
        self.set_standing(Standing { populated: standing.populated + 1, ..standing });
        pieces::cut(self.0, i)
    }
}
