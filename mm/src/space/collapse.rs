//! MADV_COLLAPSE and MADV_SPLIT: which entries map a range.
//!
//! The mmap lock is let go after each VMA, and of shared hugetlb memory after each entry that was made; what that has
//! put out of use is cleared away without it.
#![forbid(unsafe_code)]

use arch::VirtAddr;

use super::unmap;
use super::{AddressSpace, Advice, Grain, MmapError, Vma};
use crate::Mm;
use crate::hugetlb::hgm::{self, Debris, NotCollapsed};
use crate::kalloc::KArc;
use crate::thp::held::Held;

impl Mm {
    /// Takes MADV_COLLAPSE for `[start, end)`. May sleep; the caller holds no lock.
    ///
    /// # Errors
    /// As [`Mm::madvise`]; what lies below is done.
    pub(super) fn collapse_range(
        &self,
        space: &KArc<AddressSpace>,
        start: VirtAddr,
        end: VirtAddr,
    ) -> Result<(), MmapError> {
        let (mut hole, mut from) = (None, start);
        while from < end {
            let debris;
            {
                let _mmap = space.mmap_lock.write(self.env);
                let _held = Held::mmap_write(self);
                let Some(vma) = space.find_vma(from).filter(|vma| vma.start < end) else {
                    hole = hole.or(Some(from));
                    break;
                };
                if vma.start > from {
                    hole = hole.or(Some(from));
                }
                let part = (vma.start.max(from), vma.end.min(end));
                let step = self.collapse_part(space, &vma, part);
                // Who waits for content there finds the page: it is mapped as if it had been continued. Of a step that
                // has failed some may be, too.
                space.userfaults.wake(self, part.0..step.as_ref().map_or(part.1, |step| step.0));
                (from, debris) = step?;
            }
            if let Some(debris) = debris {
                debris.clear_away(self);
            }
        }
        hole.map_or(Ok(()), |va| Err(MmapError::Hole(va)))
    }

    /// The first step in a part of a VMA. Returns where the next one begins. M is held for writing.
    fn collapse_part(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        part: (VirtAddr, VirtAddr),
    ) -> Result<(VirtAddr, Option<Debris>), MmapError> {
        match vma.grain {
            Grain::Whole => self.advise(space, vma, part, Advice::Collapse).map(|()| (part.1, None)),
            Grain::Any => hgm::collapse_next(self, space, vma, part).map_err(|error| refused(error, vma)),
            Grain::Page => self.end_pages(space, vma, part).map(|()| (part.1, None)),
        }
    }

    /// Smaller entries than a page's are permitted for a part of a VMA. M is held for writing.
    pub(super) fn permit_split(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        part: (VirtAddr, VirtAddr),
    ) -> Result<(), MmapError> {
        let grain = hgm::grain_after_split(self, vma).ok_or(MmapError::Unadvisable(*vma))?;
        self.whole_pages(vma, part)?;
        if vma.grain == grain {
            return Ok(());
        }
        self.note(space, part, |vma| vma.grain = grain)?;
        if grain == Grain::Page {
            unmap::unmap(self, space, part.0, part.1);
        }
        // They wait for whole pages, and whoever serves them may continue less from now on.
        space.userfaults.wake(self, part.0..part.1);
        Ok(())
    }

    /// Ends the permission for entries of 4 KiB alone: the part is unmapped, and faults map whole pages again.
    fn end_pages(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        part: (VirtAddr, VirtAddr),
    ) -> Result<(), MmapError> {
        self.whole_pages(vma, part)?;
        self.note(space, part, |vma| vma.grain = Grain::Whole)?;
        unmap::unmap(self, space, part.0, part.1);
        let (mut va, now) = (part.0, Vma { grain: Grain::Whole, ..*vma });
        while va < part.1 {
            va = hgm::collapse_next(self, space, &now, (va, part.1)).map_err(|error| refused(error, vma))?.0;
        }
        Ok(())
    }

    /// A part of a VMA must be whole huge pages: nobody can cut one.
    fn whole_pages(&self, vma: &Vma, part: (VirtAddr, VirtAddr)) -> Result<(), MmapError> {
        let granule = vma.kind.granule();
        let cut = [part.0, part.1].into_iter().find(|va| !va.is_aligned(granule));
        cut.map_or(Ok(()), |va| Err(MmapError::InsideHugePage(va)))
    }
}

fn refused(error: NotCollapsed, vma: &Vma) -> MmapError {
    match error {
        NotCollapsed::Unsuitable => MmapError::Unadvisable(*vma),
        NotCollapsed::Full(_) => MmapError::InUse,
        NotCollapsed::OutOfMemory => MmapError::OutOfMemory,
    }
}
