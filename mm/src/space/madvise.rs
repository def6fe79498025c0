//! madvise.
//!
//! | advice | anonymous | hugetlb |
//! |---|---|---|
//! | MADV_DONTNEED | pages and reservations go; the next access finds zeros | the same, for whole huge pages |
//! | MADV_REMOVE | EINVAL | EINVAL |
//! | MADV_FREE | as MADV_DONTNEED: what may go at any time goes at once | EINVAL |
//! | MADV_HUGEPAGE, MADV_NOHUGEPAGE | noted in the VMA for the huge page policy | noted, means nothing |
//! | MADV_COLLAPSE | every 2 MiB of the range becomes a huge page, by copy: [`crate::thp::collapse`] | EINVAL |
//! | MADV_POPULATE_READ, MADV_POPULATE_WRITE | every page is faulted in | the same |
//!
//! Of an object MADV_DONTNEED drops entries and private copies, and the object's pages stay; MADV_REMOVE takes them out
//! of the object, through a shared mapping that is writable (else EACCES).
//!
//! Parts of the range that are not mapped are passed over, and the call then fails with ENOMEM, as on Linux; populating
//! stops at the first page that cannot be had.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, VirtAddr};

use super::munmap::page_align;
use super::{AddressSpace, Advice, Commit, Errno, HugeAdvice, MmapError, Prot, Vma, VmaKind};
use super::{range, unmap};
use crate::Mm;
use crate::device::Entries;
use crate::hugetlb;
use crate::kalloc::KArc;
use crate::thp::collapse::{CollapseError, collapse};
use crate::thp::reservation;

impl Mm {
    /// Takes advice for `[addr, addr + len)`. May sleep.
    ///
    /// The mmap lock is taken for writing also for MADV_DONTNEED, where Linux reads: between the split of a
    /// block and the unmapping of its pieces no promotion may put the block back.
    ///
    /// # Errors
    /// `Unaligned`, `Length`, `Unadvisable`: EINVAL. `Hole`: ENOMEM, a part is not mapped; the rest is done. `Busy`
    /// (EAGAIN), `OutOfMemory`: a VMA or a block cannot be cut; what lies below is done. Populating: [`Mm::populate`].
    pub fn madvise(
        &self,
        space: &KArc<AddressSpace>,
        addr: u64,
        len: u64,
        advice: Advice,
    ) -> Result<(), MmapError> {
        let start = VirtAddr::new(addr);
        if !start.is_aligned(PAGE_SIZE) {
            return Err(MmapError::Unaligned(start));
        }
        let end = page_align(len).and_then(|bytes| start.checked_add(bytes)).ok_or(MmapError::Length(len))?;
        match advice {
            Advice::PopulateRead => return self.populate(space, start, end, Access::Read),
            Advice::PopulateWrite => return self.populate(space, start, end, Access::Write),
            _ => {}
        }
        let _mmap = space.mmap_lock.write(self.env);
        let mut hole = None;
        let mut from = start;
        while from < end {
            let Some(vma) = space.find_vma(from).filter(|vma| vma.start < end) else {
                hole = hole.or(Some(from));
                break;
            };
            if vma.start > from {
                hole = hole.or(Some(from));
            }
            self.advise(space, &vma, (vma.start.max(from), vma.end.min(end)), advice)?;
            from = vma.end;
        }
        hole.map_or(Ok(()), |va| Err(MmapError::Hole(va)))
    }

    /// Takes advice for a part of one VMA. M is held for writing.
    fn advise(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        part: (VirtAddr, VirtAddr),
        advice: Advice,
    ) -> Result<(), MmapError> {
        match advice {
            Advice::DontNeed if vma.kind == VmaKind::Hugetlb => self.discard_huge(space, vma, part),
            Advice::DontNeed if is_pfnmap(vma) => Err(MmapError::Unadvisable(*vma)),
            Advice::DontNeed => self.discard(space, part),
            Advice::Free if !matches!(vma.kind, VmaKind::Anon) => Err(MmapError::Unadvisable(*vma)),
            Advice::Free => self.discard(space, part),
            Advice::Remove => self.remove(space, vma, part),
            Advice::HugePage | Advice::NoHugePage if vma.kind.device().is_some() => {
                Err(MmapError::Unadvisable(*vma))
            }
            Advice::HugePage => self.set_advice(space, part, HugeAdvice::Huge),
            Advice::NoHugePage => {
                self.set_advice(space, part, HugeAdvice::NoHuge)?;
                reservation::release_range(self, space, part.0, part.1);
                Ok(())
            }
            Advice::Collapse => collapse(self, space, vma, part).map_err(|error| match error {
                CollapseError::Unsuitable => MmapError::Unadvisable(*vma),
                CollapseError::OutOfMemory => MmapError::OutOfMemory,
                CollapseError::Busy => MmapError::InUse,
            }),
            // They are not taken a VMA at a time.
            Advice::PopulateRead | Advice::PopulateWrite => Ok(()),
        }
    }

    fn discard(&self, space: &AddressSpace, (start, end): (VirtAddr, VirtAddr)) -> Result<(), MmapError> {
        range::split_edges(self, space, start, end)?;
        reservation::release_range(self, space, start, end);
        unmap::unmap(self, space, start, end);
        Ok(())
    }

    /// Huge pages go that lie wholly in the part, which begins with one (Linux:
    /// `madvise_dontneed_free_valid_vma`). They are promised to the VMA once more; where others have taken them from the
    /// pool meanwhile, it has no promise for this part any more.
    fn discard_huge(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        (start, end): (VirtAddr, VirtAddr),
    ) -> Result<(), MmapError> {
        let granule = vma.kind.granule().bytes();
        if !start.is_aligned(granule) {
            return Err(MmapError::Unadvisable(*vma));
        }
        let end = end.align_down(granule);
        if start == end {
            return Ok(());
        }
        self.prepare_cuts(space, start, end, 0)?;
        let promised = self.promised_hugetlb(space, start, end);
        unmap::unmap(self, space, start, end);
        if vma.commit == Commit::Account {
            let pages = end.offset_from(start) / granule;
            if hugetlb::reserve(self, pages - promised).is_err() {
                hugetlb::unreserve(self, promised);
                let loose = |vma: &mut Vma| vma.commit = Commit::NoReserve;
                space.change_vmas(self, start, end, |vmas| vmas.change(start, end, loose));
            }
        }
        Ok(())
    }

    /// Takes the pages of the part out of their object. Everybody who maps it finds zeros there.
    fn remove(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        (start, end): (VirtAddr, VirtAddr),
    ) -> Result<(), MmapError> {
        let object = vma.kind.object().and_then(|id| space.objects.find(id));
        let object = object.ok_or(MmapError::Unadvisable(*vma))?;
        if !matches!(vma.kind, VmaKind::Shared(_)) || !vma.prot.contains(Prot::WRITE) {
            return Err(MmapError::ReadOnly(*vma));
        }
        let part = vma.part(start, end);
        self.punch_object(&object, part.pgoff..part.pgoff + part.bytes() / PAGE_SIZE);
        Ok(())
    }

    fn set_advice(
        &self,
        space: &AddressSpace,
        (start, end): (VirtAddr, VirtAddr),
        advice: HugeAdvice,
    ) -> Result<(), MmapError> {
        let room = self.prepare_cuts(space, start, end, 0);
        room.map_err(|error| if error.errno() == Errno::NoMem { MmapError::Busy } else { error })?;
        space.change_vmas(self, start, end, |vmas| vmas.change(start, end, |vma| vma.advice = advice));
        range::release_cut_reservations(self, space, start, end);
        Ok(())
    }
}

/// Whether the VMA holds what a device has put in by numbers, which would not come back.
fn is_pfnmap(vma: &Vma) -> bool {
    vma.kind.device().is_some_and(|map| map.entries == Entries::PfnMap)
}
