//! Who may free memory: the owner of a reference, and nobody else.
//!
//! A [`PageRef`] is a view; anybody may have one of any page, copy it, and free nothing by it. A reference is a
//! value of its own, [`FolioRef`], which cannot be copied: allocating gives one, `put_folio` and `free_pages`
//! take one. While no function has it in hand, a reference is remembered in one of four ways, and each of
//! them gives it back in one place:
//!
//! | a reference is owned by | which remembers it as | and gives it back through |
//! |---|---|---|
//! | a leaf entry that maps the page | the output address | [`crate::pgtable::Gather`], after its flush |
//! | a reservation, a promotion's claim | a record in struct pages | `thp` |
//! | the hugetlb pool, a hoard | the links of a [`FolioList`] | the list |
//! | a user of the kernel's heap | an address | `kalloc` |
//!
//! `FolioRef::into_raw` leads there and `FolioRef::from_raw` back. Outside this crate there is neither, and in it
//! `from_raw` stands only in those places; a test of the source text (`tests/source/owners.rs`) lists them.
//!
//! A reference that is dropped like any value is lost, with the memory: that is safe, and every check that
//! counts pages finds it. There is no assertion in `Drop`, as owners are dropped whenever a test unwinds.
#![forbid(unsafe_code)]

use core::ops::Deref;

use arch::Order;

use super::{PageList, PageRef};
use crate::config::TailEncoding;

/// One reference to a folio, a plain block or a single page, owned. As a view ([`PageRef`]) it can be read like
/// any page. A folio whose sole reference this is may be frozen meanwhile ([`PageRef::freeze`]): its count is 0,
/// and this is still its owner.
#[must_use = "a reference is given up by `put_folio` or `free_pages`; otherwise the memory is lost"]
#[derive(PartialEq, Eq, Debug)]
pub struct FolioRef(PageRef);

impl FolioRef {
    /// The page, as a view.
    #[must_use]
    pub fn page(&self) -> PageRef {
        self.0
    }
    /// Gives the reference to something that remembers it otherwise; see the [module](self).
    pub(crate) fn into_raw(self) -> PageRef {
        self.0
    }
    /// As [`Self::into_raw`], where what remembers the reference knows the page already.
    pub(crate) fn leave(self) {}
    /// Takes back a reference that was given away by [`Self::into_raw`]: once, and only by what has remembered
    /// it.
    pub(crate) fn from_raw(page: PageRef) -> Self {
        FolioRef(page)
    }
}

impl Deref for FolioRef {
    type Target = PageRef;
    fn deref(&self) -> &PageRef {
        &self.0
    }
}

/// The references to a run of single pages, one each: what a block becomes that is split.
#[must_use = "each of the pages has a reference that must be given up"]
#[derive(Debug)]
pub struct SinglePages {
    first: PageRef,
    left: u64,
}

impl SinglePages {
    /// As [`FolioRef::from_raw`], for the `n` pages from `first`.
    pub(crate) fn from_raw(first: PageRef, n: u64) -> Self {
        SinglePages { first, left: n }
    }
}

impl Iterator for SinglePages {
    type Item = FolioRef;
    fn next(&mut self) -> Option<FolioRef> {
        self.left = self.left.checked_sub(1)?;
        let page = self.first;
        self.first = page.nth(1);
        Some(FolioRef::from_raw(page))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl FolioRef {
    /// Makes folios of order `into` of a frozen folio ([`PageRef::divide`]): those, each frozen.
    pub(crate) fn divide(self, into: Order, encoding: TailEncoding) -> impl Iterator<Item = FolioRef> {
        let (first, pieces) = (self.page(), self.order().pages() / into.pages());
        first.divide(into, encoding);
        pieces_of(first, into, pieces)
    }

    /// As [`Self::divide`], of one whose vmemmap is that of its pieces already ([`crate::hvo::divide_folio`]).
    pub(crate) fn divide_optimised(
        self,
        into: Order,
        encoding: TailEncoding,
    ) -> impl Iterator<Item = FolioRef> {
        let (first, pieces) = (self.page(), self.order().pages() / into.pages());
        first.divide_optimised(into, encoding);
        pieces_of(first, into, pieces)
    }
}

/// The folios of order `into` that one was divided into.
fn pieces_of(first: PageRef, into: Order, pieces: u64) -> impl Iterator<Item = FolioRef> {
    (0..pieces).map(move |n| FolioRef::from_raw(first.nth(n * into.pages())))
}

/// A list of folios, blocks or pages that owns a reference to each: as [`PageList`], it needs no memory.
#[must_use = "the list owns references"]
#[derive(Debug, Default)]
pub struct FolioList(PageList);

impl FolioList {
    /// An empty list.
    pub const fn new() -> Self {
        FolioList(PageList::new())
    }
    /// How many are on the list.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }
    /// Whether nothing is on the list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Puts one in front.
    pub fn push(&mut self, folio: FolioRef) {
        self.0.push(folio.into_raw());
    }
    /// Takes the one in front.
    pub fn pop(&mut self) -> Option<FolioRef> {
        self.0.pop().map(FolioRef::from_raw)
    }
    /// Takes the first for which `wanted` holds.
    pub fn take_first(&mut self, wanted: impl FnMut(&PageRef) -> bool) -> Option<FolioRef> {
        let page = self.0.iter().find(wanted)?;
        self.0.remove(page);
        Some(FolioRef::from_raw(page))
    }
    /// As [`PageList::broken_link`].
    pub(crate) fn broken_link(&self) -> Option<PageRef> {
        self.0.broken_link()
    }
    /// Views of all, the one in front first.
    pub fn iter(&self) -> impl Iterator<Item = PageRef> + '_ {
        self.0.iter()
    }
}
