//! What is mapped in a range, added up as smaps divides it.
//!
//! Resident is what Linux counts as such: anonymous and shared memory, not the page of zeros nor any other
//! [special](crate::pgtable::normal) leaf; pages of hugetlb stand in rows of their own. Every resident page counts as
//! dirty, as there is no other copy of it, and nothing here is ever swapped.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Desc, Level, Order, VirtAddr};

use super::leaves::{Reading, for_each_leaf};
use super::share::{self, Extent, Owner, Share};
use crate::Mm;
use crate::page::{PageKind, PageRef};
use crate::pgtable::normal_page;
use crate::space::AddressSpace;

/// Fractional bits of a proportional size in bytes (Linux: `PSS_SHIFT`).
const PSS_SHIFT: u32 = 12;
/// A page in bytes with [`PSS_SHIFT`] fractional bits.
const PAGE: u64 = PAGE_SIZE << PSS_SHIFT;

/// Sizes in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Anonymous memory.
    pub anonymous: u64,
    /// Memory of shared objects.
    pub shmem: u64,
    /// Pages of the kernel that a device has put in with a reference; Linux counts them as those of a file.
    pub file: u64,
    /// The share of the resident memory that falls to this mapping: each page divided by the number of entries that
    /// map it, as exactly as the scheme can tell (`share`). Rounded down at the end.
    pub pss: u64,
    /// Of [`Self::pss`], memory of shared objects.
    pub pss_shmem: u64,
    /// Of [`Self::pss`], memory of devices.
    pub pss_file: u64,
    /// Of [`Self::pss`], anonymous memory.
    pub pss_anonymous: u64,
    /// Resident memory that somebody else maps too, or perhaps.
    pub shared: u64,
    /// Resident memory that nobody else maps.
    pub private: u64,
    /// Resident memory that was accessed since its access flags were cleared.
    pub referenced: u64,
    /// Anonymous memory that is mapped by blocks.
    pub anonymous_blocks: u64,
    /// Memory of shared objects that is mapped by blocks.
    pub shmem_blocks: u64,
    /// hugetlb memory that somebody else maps too, or perhaps.
    pub shared_hugetlb: u64,
    /// hugetlb memory that nobody else maps.
    pub private_hugetlb: u64,
    /// Tables that begin in the range, the root not counted.
    pub tables: u64,
}

impl Sizes {
    /// Resident memory.
    #[must_use]
    pub fn rss(&self) -> u64 {
        self.anonymous + self.shmem + self.file
    }
    /// Resident memory that would be free if the process ended: the unique set size.
    #[must_use]
    pub fn uss(&self) -> u64 {
        self.private
    }
}

/// Sums so far. Pages, but for the proportional sizes.
pub(super) struct Tally<'m> {
    mm: &'m Mm,
    /// The last folio whose pages are not told apart.
    last: Option<(PageRef, Share)>,
    anonymous: u64,
    shmem: u64,
    /// [`PSS_SHIFT`].
    pss_anonymous: u64,
    /// [`PSS_SHIFT`].
    pss_shmem: u64,
    file: u64,
    /// [`PSS_SHIFT`].
    pss_file: u64,
    private: u64,
    untouched: u64,
    anonymous_blocks: u64,
    shmem_blocks: u64,
    hugetlb: u64,
    private_hugetlb: u64,
    tables: u64,
}

impl<'m> Tally<'m> {
    /// Nothing so far.
    pub(super) fn new(mm: &'m Mm) -> Self {
        Tally {
            mm,
            last: None,
            anonymous: 0,
            shmem: 0,
            pss_anonymous: 0,
            pss_shmem: 0,
            file: 0,
            pss_file: 0,
            private: 0,
            untouched: 0,
            anonymous_blocks: 0,
            shmem_blocks: 0,
            hugetlb: 0,
            private_hugetlb: 0,
            tables: 0,
        }
    }

    /// Adds what `[start, end)` of the space maps.
    pub(super) fn add(&mut self, space: &AddressSpace, start: VirtAddr, end: VirtAddr, reading: Reading) {
        let mm = self.mm;
        let tables = for_each_leaf(mm, space, start, end, reading, |level, _, desc| self.leaf(level, desc));
        self.tables += tables;
    }

    /// The sums in bytes.
    pub(super) fn sizes(&self) -> Sizes {
        let rss = self.anonymous + self.shmem + self.file;
        let bytes = |pages: u64| pages * PAGE_SIZE;
        Sizes {
            anonymous: bytes(self.anonymous),
            shmem: bytes(self.shmem),
            file: bytes(self.file),
            pss: (self.pss_anonymous + self.pss_shmem + self.pss_file) >> PSS_SHIFT,
            pss_shmem: self.pss_shmem >> PSS_SHIFT,
            pss_file: self.pss_file >> PSS_SHIFT,
            pss_anonymous: self.pss_anonymous >> PSS_SHIFT,
            shared: bytes(rss - self.private),
            private: bytes(self.private),
            referenced: bytes(rss - self.untouched),
            anonymous_blocks: bytes(self.anonymous_blocks),
            shmem_blocks: bytes(self.shmem_blocks),
            shared_hugetlb: bytes(self.hugetlb - self.private_hugetlb),
            private_hugetlb: bytes(self.private_hugetlb),
            tables: bytes(self.tables),
        }
    }

    #[inline]
    fn leaf(&mut self, level: Level, desc: Desc) {
        let Some(page) = normal_page(desc, level) else { return };
        let head = page.head(self.mm.config.tails);
        let kind = head.kind();
        let pages = level.entry_bytes() / PAGE_SIZE;
        let (private, pss) = match kind {
            PageKind::Hugetlb => return self.hugetlb(head, pages),
            _ if !is_resident(kind) => return,
            _ if pages == 1 => self.one(head, page),
            _ => self.many(head, page, pages),
        };
        self.private += private;
        if !desc.flags(level).contains(PteFlags::ACCESSED) {
            self.untouched += pages;
        }
        match kind {
            PageKind::Shmem => {
                self.shmem += pages;
                self.pss_shmem += pss;
            }
            PageKind::Kernel => {
                self.file += pages;
                self.pss_file += pss;
            }
            _ => {
                self.anonymous += pages;
                self.pss_anonymous += pss;
            }
        }
        if pages >= Order::PMD.pages() && kind == PageKind::Anon {
            self.anonymous_blocks += pages;
        }
    }

    /// Of one page: private pages, proportional size.
    #[inline]
    fn one(&mut self, head: PageRef, page: PageRef) -> (u64, u64) {
        if let Some((_, share)) = self.last.filter(|(folio, _)| *folio == head) {
            return parts(share);
        }
        match share::of_page(self.mm, head, page) {
            Extent::Page(share) => parts(share),
            Extent::Folio(share) => {
                self.last = Some((head, share));
                parts(share)
            }
        }
    }

    /// Of `pages` pages of a folio from `first` on, which one leaf maps: private pages, proportional size.
    fn many(&self, head: PageRef, first: PageRef, pages: u64) -> (u64, u64) {
        let times = |share: Share| {
            let (private, pss) = parts(share);
            (private * pages, pss * pages)
        };
        if let Some(share) = share::of_block(self.mm, head) {
            return times(share);
        }
        let mut sum = (0, 0);
        for page in (0..pages).map(|n| first.nth(n)) {
            let (private, pss) = match share::of_page(self.mm, head, page) {
                Extent::Page(share) => parts(share),
                Extent::Folio(share) => return times(share),
            };
            sum = (sum.0 + private, sum.1 + pss);
        }
        sum
    }

    fn hugetlb(&mut self, head: PageRef, pages: u64) {
        self.hugetlb += pages;
        if share::of_hugetlb(self.mm, head) == Owner::Private {
            self.private_hugetlb += pages;
        }
    }
}

/// One page of this share: private pages, proportional size.
#[inline]
fn parts(share: Share) -> (u64, u64) {
    match share.mappings {
        1 => (u64::from(share.owner == Owner::Private), PAGE),
        n => (u64::from(share.owner == Owner::Private), PAGE / u64::from(n)),
    }
}

/// Whether a user's page of this kind is resident memory. Of the kernel's own, those are that a device has put in with a
/// reference.
fn is_resident(kind: PageKind) -> bool {
    matches!(kind, PageKind::Anon | PageKind::Shmem | PageKind::Kernel)
}
