//! What is mapped in a range, added up as smaps divides it.
//!
//! Resident is what Linux counts as such: anonymous and shared memory, not the page of zeros nor any other
//! [special](crate::pgtable::normal) leaf; pages of hugetlb stand in rows of their own. Every resident page counts as
//! dirty, as there is no other copy of it, and nothing here is ever swapped. What is moving to another frame is
//! resident all the while.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Desc, Level, VirtAddr};

use super::leaves::{Leaf, Reading, Visitor, for_each_leaf};
use super::share::{self, Extent, Owner, Share};
use crate::Mm;
use crate::page::{PageKind, PageRef};
use crate::pgtable::{moving_kind, normal_page};
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
    /// Anonymous pages that are mapped once: by far the most.
    plain: u64,
    /// Pages of the last folio whose pages are not told apart, not added yet.
    run: Option<Run>,
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

/// Pages of one folio, each mapped by an entry of its own, whose shares are equal.
#[derive(Clone, Copy)]
struct Run {
    head: PageRef,
    kind: PageKind,
    share: Share,
    pages: u64,
}

impl<'m> Tally<'m> {
    /// Nothing so far.
    pub(super) fn new(mm: &'m Mm) -> Self {
        Tally {
            mm,
            plain: 0,
            run: None,
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
        self.tables += for_each_leaf(mm, space, start, end, reading, self);
        self.end_run();
        self.resident(PageKind::Anon, self.plain, Share::WHOLE);
        self.plain = 0;
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

    #[inline(always)]
    fn touched(&mut self, level: Level, desc: Desc) {
        if !desc.flags(level).contains(PteFlags::ACCESSED) {
            self.untouched += level.entry_bytes() / PAGE_SIZE;
        }
    }

    /// A page of another kind, a tail, or a page that others map too.
    fn other_page(&mut self, desc: Desc, page: PageRef) {
        let head = page.head(self.mm.config.tails);
        if let Some(run) = &mut self.run
            && run.head == head
        {
            run.pages += 1;
            return self.touched(Level::L3, desc);
        }
        let kind = head.kind();
        match kind {
            PageKind::Anon | PageKind::Shmem | PageKind::Kernel => {}
            PageKind::Hugetlb => return self.hugetlb(head, (page, 1)),
            _ => return,
        }
        self.touched(Level::L3, desc);
        match share::of_page(self.mm, head, page) {
            Extent::Page(share) => self.resident(kind, 1, share),
            Extent::Folio(share) => {
                self.end_run();
                self.run = Some(Run { head, kind, share, pages: 1 });
            }
        }
    }

    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.resident(run.kind, run.pages, run.share);
        }
    }

    /// Adds pages of this kind, anonymous, of an object or of the kernel, each with this share. Of the last, those are
    /// met that a device has put in.
    fn resident(&mut self, kind: PageKind, pages: u64, share: Share) {
        let pss = pages * if share.mappings == 1 { PAGE } else { PAGE / u64::from(share.mappings) };
        if share.owner == Owner::Private {
            self.private += pages;
        }
        let (sum, proportional) = match kind {
            PageKind::Anon => (&mut self.anonymous, &mut self.pss_anonymous),
            PageKind::Kernel => (&mut self.file, &mut self.pss_file),
            _ => (&mut self.shmem, &mut self.pss_shmem),
        };
        *sum += pages;
        *proportional += pss;
    }

    /// Adds a block of this kind, anonymous or of an object, to those that are mapped as blocks.
    fn block_of(&mut self, kind: PageKind, pages: u64) {
        match kind {
            PageKind::Anon => self.anonymous_blocks += pages,
            _ => self.shmem_blocks += pages,
        }
    }

    fn hugetlb(&mut self, head: PageRef, (first, pages): (PageRef, u64)) {
        self.hugetlb += pages;
        if share::of_hugetlb(self.mm, head, (first, pages)) == Owner::Private {
            self.private_hugetlb += pages;
        }
    }
}

impl Visitor for Tally<'_> {
    #[inline(always)]
    fn page(&mut self, leaf: Leaf) {
        let Some(page) = normal_page(leaf.desc, Level::L3) else { return };
        // A tail has a kind of its own, so an anonymous page is no tail.
        if page.kind() == PageKind::Anon && share::is_mapped_once(self.mm, page) {
            self.plain += 1;
            self.touched(Level::L3, leaf.desc);
        } else {
            self.other_page(leaf.desc, page);
        }
    }

    fn block(&mut self, leaf: Leaf) {
        let Some(first) = normal_page(leaf.desc, leaf.level) else { return };
        let pages = leaf.pages();
        if first.kind() == PageKind::Anon && share::is_block_alone(self.mm, first) {
            self.anonymous_blocks += pages;
            self.plain += pages;
            return self.touched(leaf.level, leaf.desc);
        }
        let head = first.head(self.mm.config.tails);
        let kind = head.kind();
        match kind {
            PageKind::Anon | PageKind::Shmem => self.block_of(kind, pages),
            PageKind::Hugetlb => return self.hugetlb(head, (first, pages)),
            _ => return,
        }
        self.touched(leaf.level, leaf.desc);
        for page in (0..pages).map(|n| first.nth(n)) {
            match share::of_page(self.mm, head, page) {
                Extent::Page(share) => self.resident(kind, 1, share),
                Extent::Folio(share) => return self.resident(kind, pages, share),
            }
        }
    }

    fn moving(&mut self, leaf: Leaf) {
        let (kind, pages) = (moving_kind(self.mm, leaf.desc.output(leaf.level)), leaf.pages());
        if kind == PageKind::Hugetlb {
            self.hugetlb += pages;
            return;
        }
        if leaf.level != Level::L3 {
            self.block_of(kind, pages);
        }
        self.touched(leaf.level, leaf.desc);
        self.resident(kind, pages, Share::MOVING);
    }
}
