//! Taking pages out of an object, and out of every space that maps them.
//!
//! ```text
//!   1. the size                under O      a fault that has not made its entry yet finds the new end
//!   2. pages out of the tree   under O      nobody maps them anew: entries are made under O
//!   3. their entries           under I, T   every space, every VMA of the object; the flush is each gather's
//!   4. their references
//! ```
//! No mmap lock is taken: whoever truncates a file has nothing to do with the calls of those who map it (Linux:
//! `truncate_pagecache`, which has the locks of the mapping only). VMAs may come and go meanwhile. A VMA that comes
//! too late to be visited finds the pages gone when it faults, and mremap, which takes entries from one VMA to
//! another, holds I while it does.
//!
//! **Why that is of interest.** A way of counting mappings that keeps a count with a *table*, not with a leaf, cannot be
//! truncated: the leaves go here, but the table may be freed only under the mmap lock. See [`crate::mapcount`].
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::{Machine, PhysMem};

use super::object::{MOST_BYTES, Object};
use crate::Mm;
use crate::hugetlb::{self, poison};
use crate::page::{FolioList, PageKind, PageRef};
use crate::space::unmap;

/// Why the size of an object could not be changed (EINVAL). Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeError {
    /// So many bytes are more than [`MOST_BYTES`].
    TooLong(u64),
    /// So many bytes are no whole hugetlb pages.
    NotWhole(u64),
}

/// Which entries go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Zap {
    /// All, also those of private copies: what they were copies of is beyond the end (Linux: `even_cows`).
    Everything,
    /// Those of the object's pages; private copies stay.
    Pages,
}

impl Mm {
    /// Gives the object another size (Linux: ftruncate). Beyond a smaller one everything goes, in every space that maps
    /// it, and the rest of the last page is zeroed; a greater one adds zeros. May sleep.
    ///
    /// # Errors
    /// [`SizeError`].
    pub fn truncate_object(&self, object: &Object, bytes: u64) -> Result<(), SizeError> {
        if bytes > MOST_BYTES {
            return Err(SizeError::TooLong(bytes));
        }
        if object.huge.is_some() && !bytes.is_multiple_of(object.unit()) {
            return Err(SizeError::NotWhole(bytes));
        }
        let _resize = object.resize.write(self.env);
        let first = {
            let mut contents = object.contents.lock();
            // What stands in the last page behind the end was never part of the object.
            let cut = bytes.min(contents.bytes);
            match contents.pages.get(cut / PAGE_SIZE) {
                Some(page) if object.huge.is_none() => zero_from(page, cut % PAGE_SIZE),
                _ => {}
            }
            contents.bytes = bytes;
            contents.end()
        };
        self.take_range(object, first..u64::MAX, Zap::Everything);
        Ok(())
    }

    /// Takes the pages of these indices (4 KiB units) out of the object: who accesses them again finds zeros. Of
    /// hugetlb pages that are in the range in part, that part is zeroed (Linux: fallocate with FALLOC_FL_PUNCH_HOLE,
    /// MADV_REMOVE; `hugetlbfs_punch_hole`). May sleep.
    pub fn punch_object(&self, object: &Object, pages: Range<u64>) {
        let _resize = object.resize.write(self.env);
        let each = object.unit() / PAGE_SIZE;
        let whole = pages.start.div_ceil(each)..pages.end / each;
        if whole.start > whole.end {
            return zero_part(self, object, pages);
        }
        zero_part(self, object, pages.start..whole.start * each);
        zero_part(self, object, whole.end * each..pages.end);
        self.take_range(object, whole, Zap::Pages);
    }

    /// Takes the pages with these numbers out, and out of all spaces.
    fn take_range(&self, object: &Object, numbers: Range<u64>, zap: Zap) {
        let mut taken = FolioList::new();
        while let Some(page) = self.take_page(object, numbers.start, numbers.end) {
            taken.push(page);
        }
        if !taken.is_empty() || zap == Zap::Everything {
            let each = object.unit() / PAGE_SIZE;
            let pages = numbers.start.saturating_mul(each)..numbers.end.saturating_mul(each);
            self.zap_mappers(object, &pages, zap);
        }
        while let Some(page) = taken.pop() {
            self.put_folio(page);
        }
        self.unpromise_pages(object, numbers);
    }

    fn zap_mappers(&self, object: &Object, pages: &Range<u64>, zap: Zap) {
        let mappers = object.mappers.lock();
        for space in mappers.iter() {
            space.for_each_linear(pages.clone(), |part| {
                if part.kind.object() == Some(object.id) {
                    // Markers stand for private copies.
                    let is_objects = |page: Option<PageRef>| page.is_some_and(|page| !is_copy(page));
                    unmap::unmap_if(self, space, part, |page| zap == Zap::Everything || is_objects(page));
                }
            });
        }
    }
}

/// Whether a folio that a mapping of an object maps, by its head, is a private copy.
fn is_copy(head: PageRef) -> bool {
    head.is_kind(PageKind::Anon) || hugetlb::is_own(head)
}

/// Pages that are zeroed under one hold of O.
const ZEROED_AT_ONCE: u64 = 512;

/// Zeroes pages (4 KiB units) that lie in one hugetlb page of the object, where it has that one. The right to resize is
/// held, so the page may move, but not leave. What has failed stays as it is.
fn zero_part(mm: &Mm, object: &Object, pages: Range<u64>) {
    let mut from = pages.start;
    while from < pages.end {
        let to = pages.end.min(from + ZEROED_AT_ONCE);
        let contents = object.contents.lock();
        let Some(head) = contents.pages.get(object.number_of(from)) else { return };
        let (first, base) = (head.nth(from - head.index()), head.index());
        let failed = poison::first_in(mm, head, from - base..to - base).map(|n| base + n);
        Machine::zero(first.pfn().phys(), (failed.unwrap_or(to) - from) * PAGE_SIZE);
        from = failed.map_or(to, |page| page + 1);
    }
}

/// Zeroes a page from this offset on.
pub(super) fn zero_from(page: PageRef, offset: u64) {
    const ZEROS: [u8; 64] = [0; 64];
    let mut at = offset;
    while at < PAGE_SIZE {
        let bytes = (PAGE_SIZE - at).min(ZEROS.len() as u64);
        Machine::write_bytes(page.pfn().phys().add(at), &ZEROS[..bytes as usize]);
        at += bytes;
    }
}
