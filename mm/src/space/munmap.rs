//! munmap, and what every call does that takes mappings away.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;

use super::VmaKind;
use super::{AddressSpace, MmapError};
use super::{range, unmap};
use crate::Mm;
use crate::hugetlb::Promised;
use crate::thp::again;
use crate::trace::Point;

/// `len` rounded up to whole pages; `None` where that wraps.
pub(super) fn page_align(len: u64) -> Option<u64> {
    Some(len.checked_add(PAGE_SIZE - 1)? & !(PAGE_SIZE - 1))
}

/// A range of whole pages of the user half, as munmap checks it.
fn user_range(addr: u64, len: u64) -> Result<(VirtAddr, VirtAddr), MmapError> {
    let start = VirtAddr::new(addr);
    if !start.is_aligned(PAGE_SIZE) {
        return Err(MmapError::Unaligned(start));
    }
    if addr > USER_END.raw() || len > USER_END.raw() - addr {
        return Err(MmapError::OutOfRange(start));
    }
    match page_align(len) {
        Some(0) | None => Err(MmapError::Length(len)),
        Some(bytes) => Ok((start, start.add(bytes))),
    }
}

impl Mm {
    /// Unmaps `[addr, addr + len)`; parts of it may be free already. The reservations of huge pages there go,
    /// blocks that reach beyond are split. May sleep.
    ///
    /// # Errors
    /// `Unaligned`, `OutOfRange`, `Length`: the range. `InsideHugePage`: it cuts a hugetlb page.
    /// `TooManyVmas`,
    /// `OutOfMemory`: a VMA or block that must be cut cannot be. Nothing has changed.
    pub fn munmap(&self, space: &AddressSpace, addr: u64, len: u64) -> Result<(), MmapError> {
        let begin = || [addr, len, 0, 0];
        self.stats.slice(
            Point::Munmap,
            (0, begin),
            |_| (0, [addr, 0, 0, 0]),
            || {
                let (start, end) = user_range(addr, len)?;
                let _mmap = space.mmap_lock.write(self.env);
                self.prepare_cuts(space, start, end, 0)?;
                self.unmap_prepared(space, start, end);
                Ok(())
            },
        )
    }

    /// All of a change of `[start, end)` that can fail: room for the VMAs that its ends cut and for `more`,
    /// and no block across an end. M is held for writing.
    ///
    /// # Errors
    /// `InsideHugePage`, `TooManyVmas`, `OutOfMemory`; nothing has changed that anybody can see.
    pub(crate) fn prepare_cuts(
        &self,
        space: &AddressSpace,
        start: VirtAddr,
        end: VirtAddr,
        more: usize,
    ) -> Result<(), MmapError> {
        let mut vmas = space.vmas.lock();
        let cuts = vmas.cuts(start, end)?;
        vmas.prepare(cuts + more)?;
        drop(vmas);
        space.objects.owed.prepare(None, 1)?;
        Ok(range::split_edges(self, space, start, end)?)
    }

    /// Unmaps `[start, end)`, which cannot fail after [`Self::prepare_cuts`].
    pub(super) fn unmap_prepared(&self, space: &AddressSpace, start: VirtAddr, end: VirtAddr) {
        crate::thp::reservation::release_range(self, space, start, end);
        let promised = Promised::to(self, space, start, end);
        unmap::unmap(self, space, start, end);
        promised.give_back(self);
        self.detach_objects(space, start, end);
        space.change_vmas(self, start, end, |vmas| vmas.remove(start, end));
        space.userfaults.wake(self, start..end);
        again::tell_relatives(self, space, (start, end));
    }

    /// The VMAs of objects in `[start, end)`, which nothing maps any more, are about to go.
    fn detach_objects(&self, space: &AddressSpace, start: VirtAddr, end: VirtAddr) {
        if space.objects.is_empty() {
            return;
        }
        let mut from = start;
        while let Some(vma) = space.first_vma_in(from, end) {
            if let Some(id) = vma.kind.object() {
                let part = vma.part(start, end);
                if let VmaKind::HugePrivate(size, _) = vma.kind {
                    space.objects.owed.give_back(self, size, &(part.start..part.end));
                }
                self.detach_object(space, id, part.bytes() / PAGE_SIZE);
            }
            from = vma.end;
        }
    }
}
