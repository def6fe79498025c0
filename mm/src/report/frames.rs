//! `/proc/kpagecount` and `/proc/kpageflags`: a 64-bit word for each frame from number 0 on.
//!
//! Both are read without a lock, of frames that may change hands at any moment: each word is true of some moment, and
//! two words need not be of the same.
//!
//! | bit | Linux's name | here |
//! |--:|---|---|
//! | 0 | `KPF_LOCKED` | somebody moves its folio or splits it |
//! | 10 | `KPF_BUDDY` | in a free block of the buddy allocator; not on a list of a CPU |
//! | 11 | `KPF_MMAP` | mapped, or, where the scheme does not tell pages of a folio apart, its folio is |
//! | 12 | `KPF_ANON` | anonymous memory |
//! | 14 | `KPF_SWAPBACKED` | memory of processes that no file backs, anonymous or shared |
//! | 15 | `KPF_COMPOUND_HEAD` | the first page of a folio of several |
//! | 16 | `KPF_COMPOUND_TAIL` | another page of one |
//! | 17 | `KPF_HUGE` | of a hugetlb folio |
//! | 19 | `KPF_HWPOISON` | it has failed; Linux says it of every page of a hugetlb folio of which one has |
//! | 20 | `KPF_NOPAGE` | no RAM: there is no struct page |
//! | 22 | `KPF_THP` | of a huge page of anonymous memory |
//! | 24 | `KPF_ZERO_PAGE` | the page of zeros |
//! | 26 | `KPF_PGTABLE` | a page table |
//! | 32 | `KPF_RESERVED` | never the allocator's: image, firmware, early tables |
//!
//! No page is dirty against a file, on an LRU list, slab, swapped, merged or taken offline here, so
//! the other bits are 0.
#![forbid(unsafe_code)]

use arch::Pfn;

use super::share;
use crate::Mm;
use crate::hugetlb;
use crate::page::{Flags, PageKind, PageRef, page_of};

/// A bit of kpageflags, by Linux's name (`include/uapi/linux/kernel-page-flags.h`).
pub mod kpf {
    /// Somebody moves its folio or splits it.
    pub const LOCKED: u64 = 1 << 0;
    /// In a free block of the buddy allocator.
    pub const BUDDY: u64 = 1 << 10;
    /// Mapped by a user.
    pub const MMAP: u64 = 1 << 11;
    /// Anonymous memory.
    pub const ANON: u64 = 1 << 12;
    /// Memory of processes that no file backs.
    pub const SWAPBACKED: u64 = 1 << 14;
    /// First page of a folio of several pages.
    pub const COMPOUND_HEAD: u64 = 1 << 15;
    /// Another page of such a folio.
    pub const COMPOUND_TAIL: u64 = 1 << 16;
    /// Of a hugetlb folio.
    pub const HUGE: u64 = 1 << 17;
    /// It has failed.
    pub const HWPOISON: u64 = 1 << 19;
    /// No struct page.
    pub const NOPAGE: u64 = 1 << 20;
    /// Of a huge page.
    pub const THP: u64 = 1 << 22;
    /// The page of zeros.
    pub const ZERO_PAGE: u64 = 1 << 24;
    /// A page table.
    pub const PGTABLE: u64 = 1 << 26;
    /// Never the allocator's.
    pub const RESERVED: u64 = 1 << 32;
}

impl Mm {
    /// One past the last frame of RAM: how many words both files have.
    #[must_use]
    pub fn end_of_ram(&self) -> u64 {
        self.ram().last().map_or(0, |bank| bank.end.raw())
    }

    /// Writes, for the frames from number `first` on, by how many entries each is mapped: exact, or the average of
    /// its folio, as the scheme can tell; 0 where there is no RAM. Returns how many words there are: fewer than asked
    /// for only at the end of RAM.
    pub fn read_kpagecount(&self, first: u64, words: &mut [u64]) -> usize {
        self.read_frames(first, words, |page| {
            let Some(page) = page else { return 0 };
            let head = page.head(self.config.tails);
            share::mappings(self, head, page).into()
        })
    }

    /// Writes the flags of the frames from number `first` on, as [`kpf`] has them. Returns how many words there are:
    /// fewer than asked for only at the end of RAM.
    pub fn read_kpageflags(&self, first: u64, words: &mut [u64]) -> usize {
        self.read_frames(first, words, |page| page.map_or(kpf::NOPAGE, |page| self.flags_of(page)))
    }

    fn read_frames(&self, first: u64, words: &mut [u64], word: impl Fn(Option<PageRef>) -> u64) -> usize {
        let left = self.end_of_ram().saturating_sub(first).min(words.len() as u64) as usize;
        for (n, slot) in words[..left].iter_mut().enumerate() {
            let pfn = Pfn::new(first + n as u64);
            *slot = word(self.pfn_valid(pfn).then(|| page_of(pfn)));
        }
        left
    }

    fn flags_of(&self, page: PageRef) -> u64 {
        let head = page.head(self.config.tails);
        let kind = head.kind();
        let mut flags = match kind {
            PageKind::Buddy => kpf::BUDDY,
            PageKind::Free => self.if_in_free_block(page),
            PageKind::Table => kpf::PGTABLE,
            PageKind::Anon => kpf::ANON | kpf::SWAPBACKED,
            PageKind::Shmem => kpf::SWAPBACKED,
            PageKind::Hugetlb if hugetlb::poison::has_failed(self, head, page) => kpf::HUGE | kpf::HWPOISON,
            PageKind::Hugetlb => kpf::HUGE,
            PageKind::Failed => kpf::HWPOISON,
            PageKind::Kernel if self.huge_zero.pfn() == Some(page.pfn()) => kpf::ZERO_PAGE | kpf::THP,
            PageKind::Reserved if self.zero_page.pfn() == page.pfn() => kpf::ZERO_PAGE | kpf::RESERVED,
            PageKind::Reserved => kpf::RESERVED,
            PageKind::Tail | PageKind::Kernel | PageKind::Vmemmap | PageKind::ThpReserved => 0,
        };
        if head.flags().contains(Flags::HEAD) {
            flags |= if head == page { kpf::COMPOUND_HEAD } else { kpf::COMPOUND_TAIL };
            flags |= if kind == PageKind::Anon { kpf::THP } else { 0 };
        }
        if head.flags().contains(Flags::MOVING) {
            flags |= kpf::LOCKED;
        }
        // Pages of the kernel devices may have put into VMAs.
        let mappable =
            matches!(kind, PageKind::Anon | PageKind::Hugetlb | PageKind::Shmem | PageKind::Kernel);
        if mappable && share::mappings(self, head, page) != 0 {
            flags |= kpf::MMAP;
        }
        flags
    }

    /// Of a page that is free by its kind: whether it lies in a free block. Else it is on a CPU's list, or inside of a
    /// block that was given out whole.
    fn if_in_free_block(&self, page: PageRef) -> u64 {
        let around = self.block_around(page);
        if around.is_some_and(|block| block.is_kind(PageKind::Buddy)) { kpf::BUDDY } else { 0 }
    }
}
