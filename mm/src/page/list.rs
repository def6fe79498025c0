//! A list of pages, linked through their struct pages: no memory of its own, so it cannot fail to grow. A
//! page is on at most one list. Whoever owns the list serialises its use.
//!
//! Links hold pfn + 1, so that 0 is the end and a struct page of all zeros is on no list. 32 bits reach
//! far beyond the linear map.
#![forbid(unsafe_code)]

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use arch::Pfn;
use arch::layout::LINEAR_BYTES;

use super::{Page, PageRef, page_of};

const NEXT: usize = offset_of!(Page, link_next);
const PREV: usize = offset_of!(Page, link_prev);
const _: () = assert!(LINEAR_BYTES >> arch::addr::PAGE_SHIFT <= u32::MAX as u64);

/// A doubly linked list of pages; push and pop at the front, removal anywhere.
#[derive(Debug, Default)]
pub struct PageList {
    first: Option<PageRef>,
    len: u64,
}

fn encode(page: Option<PageRef>) -> u32 {
    page.map_or(0, |page| page.pfn().raw() as u32 + 1)
}

fn decode(link: u32) -> Option<PageRef> {
    (link != 0).then(|| page_of(Pfn::new(u64::from(link) - 1)))
}

impl PageList {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        PageList { first: None, len: 0 }
    }
    /// Pages on the list.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }
    /// Whether nothing is on the list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
    /// The page that was pushed last.
    #[must_use]
    pub fn first(&self) -> Option<PageRef> {
        self.first
    }
    /// Puts a page in front. It must be on no list.
    pub fn push(&mut self, page: PageRef) {
        page.store_32(NEXT, encode(self.first), Ordering::Relaxed);
        page.store_32(PREV, 0, Ordering::Relaxed);
        if let Some(first) = self.first {
            first.store_32(PREV, encode(Some(page)), Ordering::Relaxed);
        }
        self.first = Some(page);
        self.len += 1;
    }
    /// Puts a page behind another one that is on this list. It must be on no list itself.
    pub(super) fn push_behind(&mut self, before: PageRef, page: PageRef) {
        let next = decode(before.load_32(NEXT, Ordering::Relaxed));
        page.store_32(NEXT, encode(next), Ordering::Relaxed);
        page.store_32(PREV, encode(Some(before)), Ordering::Relaxed);
        before.store_32(NEXT, encode(Some(page)), Ordering::Relaxed);
        if let Some(next) = next {
            next.store_32(PREV, encode(Some(page)), Ordering::Relaxed);
        }
        self.len += 1;
    }
    /// The page in front of one that is on this list.
    pub(super) fn before(&self, page: PageRef) -> Option<PageRef> {
        decode(page.load_32(PREV, Ordering::Relaxed))
    }
    /// Takes the page in front.
    pub fn pop(&mut self) -> Option<PageRef> {
        let page = self.first?;
        // Its link back is 0 already.
        let next = decode(page.load_32(NEXT, Ordering::Relaxed));
        if let Some(next) = next {
            next.store_32(PREV, 0, Ordering::Relaxed);
        }
        page.store_32(NEXT, 0, Ordering::Relaxed);
        self.first = next;
        self.len -= 1;
        Some(page)
    }
    /// Takes a page that is on this list.
    pub fn remove(&mut self, page: PageRef) {
        let next = decode(page.load_32(NEXT, Ordering::Relaxed));
        let prev = decode(page.load_32(PREV, Ordering::Relaxed));
        match prev {
            Some(prev) => prev.store_32(NEXT, encode(next), Ordering::Relaxed),
            None => {
                debug_assert_eq!(self.first, Some(page), "the page is on another list");
                self.first = next;
            }
        }
        if let Some(next) = next {
            next.store_32(PREV, encode(prev), Ordering::Relaxed);
        }
        page.store_32(NEXT, 0, Ordering::Relaxed);
        page.store_32(PREV, 0, Ordering::Relaxed);
        self.len -= 1;
    }
    /// The first page whose link back does not lead to the page before it.
    #[must_use]
    pub fn broken_link(&self) -> Option<PageRef> {
        let mut before = None;
        self.iter().take(self.len as usize).find(|&page| {
            let back = decode(page.load_32(PREV, Ordering::Relaxed));
            before.replace(page) != back
        })
    }
    /// The pages, the one in front first.
    pub fn iter(&self) -> impl Iterator<Item = PageRef> + '_ {
        core::iter::successors(self.first, |page| decode(page.load_32(NEXT, Ordering::Relaxed)))
    }
}
