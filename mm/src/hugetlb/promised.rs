//! What the hugetlb VMAs of a range have of the pools.
#![forbid(unsafe_code)]

use arch::VirtAddr;

use super::hstate::HugeSize;
use super::pool::unreserve;
use crate::Mm;
use crate::space::{AddressSpace, Commit, range};

/// Pages that the pools have promised to a range and that no entry maps yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Promised {
    /// By size; `None`: the range has no VMA with pages of this size.
    pages: [Option<u64>; HugeSize::ALL.len()],
}

impl Promised {
    /// Those of `[start, end)`. M is held, or nobody changes the space.
    pub(crate) fn to(mm: &Mm, space: &AddressSpace, start: VirtAddr, end: VirtAddr) -> Self {
        let mut promised = Promised::default();
        let mut from = start;
        while let Some(vma) = space.first_vma_in(from, end) {
            if let Some(size) = vma.kind.huge_size() {
                let pages = promised.pages[size.index()].get_or_insert(0);
                // What an object was promised is the object's; private mappings of one have a list.
                if vma.commit == Commit::Account && vma.kind.object().is_none() {
                    let piece = vma.part(start, end);
                    // A slot with a marker has had its page.
                    let entries = range::count_entries(mm, space, piece.start, piece.end);
                    *pages += piece.bytes() / size.bytes() - entries / size.entries() as u64;
                }
            }
            from = vma.end;
        }
        promised
    }

    /// Pages of this size.
    pub(crate) fn pages(&self, size: HugeSize) -> u64 {
        self.pages[size.index()].unwrap_or(0)
    }

    /// The range is unmapped: the pools have their promises back, and surplus folios that it had leave them. May sleep;
    /// no spinlock is held.
    pub(crate) fn give_back(&self, mm: &Mm) {
        for (size, pages) in HugeSize::ALL.into_iter().zip(self.pages) {
            if let Some(pages) = pages {
                unreserve(mm, size, pages);
                mm.hugetlb.trim(mm, size);
            }
        }
    }
}
