//! The two encodings by which a tail struct page leads to its head. Bit 0 set tells a tail.
//!
//! `pointer` holds the head's address. When HVO maps the head's page at all of a folio's vmemmap, every 64th
//! struct page shows the head's bytes: a *fake head*, which is told apart by its neighbour (Linux:
//! `page_fixed_fake_head`).
//!
//! `mask` holds a mask for the tail's own address, so all tails of one order are byte-identical and one
//! read-only page of them serves every folio. It needs vmemmap aligned to the largest folio.
//!
//! ```text
//! pointer   ffff8000_01000001   head at ffff8000_01000000
//! mask      ffffffff_ffff8001   order 9: address & ffffffff_ffff8000 is the head
//! ```
#![forbid(unsafe_code)]

use core::mem::offset_of;
use core::sync::atomic::Ordering;

use arch::addr::PAGE_SIZE;
use arch::layout::STRUCT_PAGE_BYTES;
use arch::{Machine, Order, PhysAddr, PhysMem};

use super::{Flags, Page, PageRef};
use crate::config::TailEncoding;

const INFO: usize = offset_of!(Page, compound_info);
const TAIL: u64 = 1;
/// 64-bit words of a struct page.
pub(crate) const WORDS: usize = STRUCT_PAGE_BYTES as usize / 8;
/// Which of them leads a tail to its head.
pub(crate) const INFO_WORD: usize = INFO / 8;
/// Struct pages in one page of vmemmap.
pub const PER_VMEMMAP_PAGE: u64 = PAGE_SIZE / STRUCT_PAGE_BYTES;

/// The word that a tail of a folio of `order` with its head at `head` holds.
#[must_use]
pub fn encode(encoding: TailEncoding, head: PageRef, order: Order) -> u64 {
    match encoding {
        TailEncoding::Pointer => head.address().raw() | TAIL,
        TailEncoding::Mask => !(order.pages() * STRUCT_PAGE_BYTES - 1) | TAIL,
    }
}

/// Fills `pages` frames from `at` on with pristine tails that hold `info`, through the linear map. Either nobody can reach
/// the struct pages that they hold yet, or they hold pristine tails, mapped read-only: readers find the old word or the
/// new one in each.
pub(crate) fn write_pages(at: PhysAddr, pages: u64, info: u64) {
    const { assert!(STRUCT_PAGE_BYTES == 64 && INFO_WORD == 1) };
    Machine::fill(at, pages * PAGE_SIZE, [0, info]);
}

/// Makes the first struct page of the frame at `at`, a copy of a head, a pristine tail that holds `info`. Readers find the
/// old word or the new one in each place. The frame is mapped read-only, and written through the linear map.
pub(crate) fn write_first(at: PhysAddr, info: u64) {
    Machine::fill(at, STRUCT_PAGE_BYTES, [0, info]);
}

impl PageRef {
    /// Whether this struct page is a pristine tail with this word, every other byte zero.
    pub(crate) fn is_pristine_tail(self, info: u64) -> bool {
        (0..STRUCT_PAGE_BYTES as usize).step_by(8).all(|offset| {
            let word = self.load_64(offset, Ordering::Relaxed);
            word == if offset == INFO { info } else { 0 }
        })
    }

    /// Makes the `n` struct pages from here pristine tails: all zero but for the encoding. Only while nobody else has
    /// the folio.
    pub fn make_tails(self, n: u64, info: u64) {
        debug_assert!(info & TAIL != 0);
        self.fill(n, 0, info);
    }

    /// The tail's word; 0 in a page that is no tail.
    #[must_use]
    pub fn compound_info(self) -> u64 {
        self.load_64(INFO, Ordering::Acquire)
    }

    /// The first struct page of the folio that this page belongs to; itself for a single page.
    #[must_use]
    pub fn head(self, encoding: TailEncoding) -> PageRef {
        let info = self.compound_info();
        match (encoding, info & TAIL != 0) {
            (TailEncoding::Mask, true) => PageRef::from_address(self.address().raw() & info),
            (TailEncoding::Pointer, true) => PageRef::from_address(info),
            (TailEncoding::Mask, false) => self,
            (TailEncoding::Pointer, false) => self.behind_fake_head(),
        }
    }

    /// A struct page at the start of a vmemmap page may be an alias of the head. Its neighbour is then an
    /// alias of the first tail, whose word names another head than this page.
    fn behind_fake_head(self) -> PageRef {
        let starts_page = self.pfn().raw().is_multiple_of(PER_VMEMMAP_PAGE);
        if !starts_page || !self.flags().contains(Flags::HEAD) {
            return self;
        }
        let next = self.nth(1).compound_info();
        if next & TAIL == 0 { self } else { PageRef::from_address(next) }
    }
}
