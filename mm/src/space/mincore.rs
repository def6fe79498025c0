//! mincore: which pages of a range are in memory.
//!
//! | page | said to be in memory |
//! |---|---|
//! | mapped by an entry, also the page of zeros, also while it moves | yes |
//! | of an object, not mapped here | if the object has it |
//! | private, of hugetlb, that has failed | no; Linux says yes |
//! | of a PFNMAP device | no: nobody knows what its frames are |
//! | any other | no |
//!
//! As Linux says it (`mincore_pte_range`, `__mincore_unmapped_range`).
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::madvise::is_pfnmap;
use super::range;
use super::{AddressSpace, MmapError};
use crate::Mm;
use crate::kalloc::KArc;
use crate::shmem::Object;

impl Mm {
    /// Says of each page from `va` on, which is aligned, whether it is in memory: 1 or 0. Stops at the end of the VMA;
    /// returns of how many pages it has told. What it tells may have changed when it returns. Takes M for reading, so
    /// it may sleep.
    ///
    /// # Errors
    /// `Hole` (ENOMEM): nothing is mapped at `va`.
    pub fn mincore(&self, space: &AddressSpace, va: VirtAddr, into: &mut [u8]) -> Result<usize, MmapError> {
        let _mmap = space.mmap_lock.read(self.env);
        let vma = space.vma_at(va).ok_or(MmapError::Hole(va))?;
        let pages = (vma.end.offset_from(va) / PAGE_SIZE).min(into.len() as u64);
        let into = &mut into[..pages as usize];
        into.fill(0);
        if is_pfnmap(&vma) {
            return Ok(into.len());
        }
        self.note_mapped(space, va, into);
        if let Some(object) = vma.kind.object().and_then(|id| space.objects.find(id)) {
            note_held(&object, vma.index_of(va), into);
        }
        Ok(into.len())
    }

    /// Notes the pages from `va` on that an entry maps.
    fn note_mapped(&self, space: &AddressSpace, va: VirtAddr, into: &mut [u8]) {
        let end = va.add(into.len() as u64 * PAGE_SIZE);
        range::scan(self, space, va, end, |stretch| {
            let (level, bytes) = (stretch.level(), stretch.level().entry_bytes());
            let first = stretch.start().align_down(bytes);
            for (n, desc) in (0..).zip(stretch.descs()) {
                if !desc.is_leaf(level) && !desc.is_migration() {
                    continue;
                }
                let start = first.add(n * bytes);
                let (from, to) = (start.max(va), start.add(bytes).min(end));
                let page = |at: VirtAddr| (at.offset_from(va) / PAGE_SIZE) as usize;
                into[page(from)..page(to)].fill(1);
            }
        });
    }
}

/// Notes the pages from `index` on that the object has.
fn note_held(object: &KArc<Object>, index: u64, into: &mut [u8]) {
    for (n, place) in (0..).zip(into) {
        if *place == 0 {
            *place = object.page(index + n).is_some().into();
        }
    }
}
