//! madvise.
//!
//! | advice | anonymous | hugetlb |
//! |---|---|---|
//! | MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL | noted in the VMA, and shown in smaps | the same |
//! | MADV_WILLNEED | nothing: no page is anywhere but in memory | the same |
//! | MADV_COLD, MADV_PAGEOUT | nothing, as on Linux without swap: pages are not ordered by age | EINVAL |
//! | MADV_DONTNEED | pages and reservations go; the next access finds zeros | the same, for whole huge pages: `discard_huge` |
//! | MADV_REMOVE | EINVAL | EINVAL |
//! | MADV_FREE | as MADV_DONTNEED: what may go at any time goes at once | EINVAL |
//! | MADV_HUGEPAGE, MADV_NOHUGEPAGE | noted in the VMA for the huge page policy | noted, means nothing |
//! | MADV_COLLAPSE | every 2 MiB of the range becomes a huge page, in place where it has a reservation, else by copy: [`crate::thp::collapse`] | after MADV_SPLIT: the largest entries again ([`crate::hugetlb::hgm`]); else EINVAL |
//! | MADV_SPLIT | EINVAL | shared: smaller entries than a page's are permitted; else EINVAL |
//! | MADV_HWPOISON | EOPNOTSUPP | the memory fails: [`crate::hugetlb::poison`] |
//! | MADV_POPULATE_READ, MADV_POPULATE_WRITE | every page is faulted in | the same |
//!
//! Of an object MADV_DONTNEED drops entries and private copies, and the object's pages stay; MADV_REMOVE takes them out
//! of the object, through a shared mapping that is writable (else EACCES).
//!
//! MADV_COLD, MADV_PAGEOUT and MADV_DONTNEED of a PFNMAP device are EINVAL. All other numbers are EINVAL, whatever the
//! range (Linux: `madvise_behavior_valid`).
//!
//! Parts of the range that are not mapped are passed over, and the call then fails with ENOMEM, as on Linux; populating
//! stops at the first page that cannot be had.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, VirtAddr};

use super::munmap::page_align;
use super::{AccessPattern, AddressSpace, Advice, Errno, HugeAdvice, MmapError, Prot, Vma, VmaKind};
use super::{range, unmap};
use crate::Mm;
use crate::device::Entries;
use crate::kalloc::KArc;
use crate::thp::collapse::{CollapseError, collapse};
use crate::thp::{again, reservation};
use crate::trace::Point;

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
        let begin = || [addr, len, 0, 0];
        self.stats.slice(
            Point::Madvise,
            (0, begin),
            |_| (0, [addr, 0, 0, 0]),
            || self.advise_range(space, addr, len, advice),
        )
    }

    fn advise_range(
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
            Advice::HwPoison => return self.inject_failures(space, (start, end)),
            Advice::Collapse => return self.collapse_range(space, start, end),
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
    pub(super) fn advise(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        part: (VirtAddr, VirtAddr),
        advice: Advice,
    ) -> Result<(), MmapError> {
        match advice {
            Advice::Normal => self.note(space, part, |vma| vma.pattern = AccessPattern::Normal),
            Advice::Random => self.note(space, part, |vma| vma.pattern = AccessPattern::Random),
            Advice::Sequential => self.note(space, part, |vma| vma.pattern = AccessPattern::Sequential),
            Advice::WillNeed => Ok(()),
            Advice::Cold | Advice::PageOut if vma.kind.huge_size().is_some() || is_pfnmap(vma) => {
                Err(MmapError::Unadvisable(*vma))
            }
            Advice::Cold | Advice::PageOut => Ok(()),
            Advice::DontNeed if vma.kind.huge_size().is_some() => self.discard_huge(space, vma, part),
            Advice::DontNeed if is_pfnmap(vma) => Err(MmapError::Unadvisable(*vma)),
            Advice::DontNeed => self.discard(space, part),
            Advice::Free if !matches!(vma.kind, VmaKind::Anon) => Err(MmapError::Unadvisable(*vma)),
            Advice::Free => self.discard(space, part),
            Advice::Remove => self.remove(space, vma, part),
            Advice::HugePage | Advice::NoHugePage if vma.kind.device().is_some() => {
                Err(MmapError::Unadvisable(*vma))
            }
            Advice::HugePage => self.note(space, part, |vma| vma.advice = HugeAdvice::Huge),
            Advice::NoHugePage => {
                self.note(space, part, |vma| vma.advice = HugeAdvice::NoHuge)?;
                reservation::release_range(self, space, part.0, part.1);
                Ok(())
            }
            Advice::Collapse => collapse(self, space, vma, part).map_err(|error| match error {
                CollapseError::OutOfMemory => MmapError::OutOfMemory,
                CollapseError::Busy => MmapError::InUse,
                // Limits are not asked for.
                CollapseError::Unsuitable
                | CollapseError::TooManyNone
                | CollapseError::TooManyShared
                | CollapseError::Unreferenced => MmapError::Unadvisable(*vma),
            }),
            Advice::Split => self.permit_split(space, vma, part),
            // They are not taken a VMA at a time.
            Advice::PopulateRead | Advice::PopulateWrite | Advice::HwPoison => Ok(()),
        }
    }

    fn discard(&self, space: &AddressSpace, (start, end): (VirtAddr, VirtAddr)) -> Result<(), MmapError> {
        range::split_edges(self, space, start, end)?;
        reservation::release_range(self, space, start, end);
        unmap::unmap(self, space, start, end);
        again::tell_relatives(self, space, (start, end));
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
        if !matches!(vma.kind, VmaKind::Shared(_) | VmaKind::HugeShared(..))
            || !vma.prot.contains(Prot::WRITE)
        {
            return Err(MmapError::ReadOnly(*vma));
        }
        let part = vma.part(start, end);
        self.punch_object(&object, part.pgoff..part.pgoff + part.bytes() / PAGE_SIZE);
        Ok(())
    }

    /// Notes advice in the VMAs of the part, which are cut where it ends inside of one, unless they have it already.
    pub(super) fn note(
        &self,
        space: &AddressSpace,
        (start, end): (VirtAddr, VirtAddr),
        change: impl Fn(&mut Vma),
    ) -> Result<(), MmapError> {
        let changes = |vma: Vma| {
            let mut changed = vma;
            change(&mut changed);
            changed != vma
        };
        if !space.find_vma(start).is_some_and(changes) {
            return Ok(());
        }
        let room = self.prepare_cuts(space, start, end, 0);
        room.map_err(|error| if error.errno() == Errno::NoMem { MmapError::Busy } else { error })?;
        space.change_vmas(self, start, end, |vmas| vmas.change(start, end, change));
        range::release_cut_reservations(self, space, start, end);
        Ok(())
    }
}

/// Whether the VMA holds what a device has put in by numbers, which would not come back.
pub(super) fn is_pfnmap(vma: &Vma) -> bool {
    vma.kind.device().is_some_and(|map| map.entries == Entries::PfnMap)
}
