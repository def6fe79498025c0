//! Which leaves have a struct page that may be touched.
//!
//! A leaf of a user tree is *normal* or *special* ([`PteFlags::SPECIAL`]). A normal one holds a reference to a folio
//! and is counted as one of its mappings. A special one does neither, and its frame may have no struct page at all: the
//! page of zeros, and what the mmap of a device puts in without counting (`crate::device`). The bit stands in the
//! descriptor, so what is asked is asked of the descriptor alone and answered without a look at the VMA (Linux:
//! `vm_normal_page` on a CPU with `PTE_SPECIAL`).
//!
//! Everything that goes from a descriptor of a user tree to a struct page goes through here.
//!
//! [`PteFlags::SPECIAL`]: arch::pte::PteFlags::SPECIAL
#![forbid(unsafe_code)]

use arch::{Desc, Level, PhysAddr};

use crate::Mm;
use crate::page::{PageKind, PageRef, page_of};

/// The page that a leaf of `level` maps, or begins to map: a single page, a head or a tail. `None`: `desc` is no leaf,
/// or a special one.
#[must_use]
#[inline(always)]
pub fn normal_page(desc: Desc, level: Level) -> Option<PageRef> {
    let normal = desc.is_leaf(level) && !desc.is_special();
    normal.then(|| page_of(desc.output(level).pfn()))
}

/// As [`normal_page`], the single page or the head of the folio: the one that has the counts.
#[must_use]
#[inline]
pub fn normal_folio(mm: &Mm, desc: Desc, level: Level) -> Option<PageRef> {
    normal_page(desc, level).map(|page| page.head(mm.config.tails))
}

/// The kind of the memory at `frame`, which a migration entry remembers: one of those that move. Under T it is right,
/// as the frame is kept by whoever moves it. A folio that is being split has no kind for a moment
/// ([`PageRef::dissolve`]); only anonymous memory is split.
#[must_use]
pub fn moving_kind(mm: &Mm, frame: PhysAddr) -> PageKind {
    match page_of(frame.pfn()).head(mm.config.tails).kind() {
        kind @ (PageKind::Hugetlb | PageKind::Shmem) => kind,
        _ => PageKind::Anon,
    }
}
