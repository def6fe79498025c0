//! mprotect.
//!
//! A mapping without rights (PROT_NONE) keeps its frames: the leaves stay valid and lose the user bit, so no
//! content is lost and nothing else in the kernel has to know another kind of entry
//! ([`super::Prot::leaf_flags`]).
//!
//! The VMAs of the range are changed one after the other. Where one cannot be, or a part is not mapped, the call fails
//! and what lies before stays changed, as on Linux (`do_mprotect_pkey`). Memory that is both writable and executable is
//! refused (EACCES), before anything else is done. All entries that change have one flush, at the end.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::munmap::page_align;
use super::range;
use super::{AddressSpace, Growth, MapProt, MmapError, Prot, Vma};
use crate::Mm;
use crate::pgtable::Gather;
use crate::trace::Point;

impl Mm {
    /// Changes the rights of `[addr, addr + len)`. May sleep.
    ///
    /// # Errors
    /// `Unaligned`, `ProtBits`, `NoStack`: EINVAL. `WriteAndExecute`: EACCES. Nothing has changed. `InsideHugePage`:
    /// EINVAL. `Hole`: a part is not mapped; `Overcommit`, `TooManyVmas`, `OutOfMemory`: ENOMEM. What lies before the
    /// place has changed.
    pub fn mprotect(
        &self,
        space: &AddressSpace,
        addr: u64,
        len: u64,
        prot: MapProt,
    ) -> Result<(), MmapError> {
        let begin = || [addr, len, 0, 0];
        self.stats.slice(
            Point::Mprotect,
            (0, begin),
            |_| (0, [addr, 0, 0, 0]),
            || self.protect(space, addr, len, prot),
        )
    }

    fn protect(&self, space: &AddressSpace, addr: u64, len: u64, prot: MapProt) -> Result<(), MmapError> {
        let grows = prot & (MapProt::GROWSDOWN | MapProt::GROWSUP);
        let prot = prot - grows;
        let start = VirtAddr::new(addr);
        if grows == MapProt::GROWSDOWN | MapProt::GROWSUP {
            return Err(MmapError::ProtBits(grows.bits()));
        }
        if !start.is_aligned(PAGE_SIZE) {
            return Err(MmapError::Unaligned(start));
        }
        if len == 0 {
            return Ok(());
        }
        let end = page_align(len).and_then(|bytes| start.checked_add(bytes));
        let end = end.filter(|&end| end > start).ok_or(MmapError::Hole(start))?;
        let known = MapProt::READ | MapProt::WRITE | MapProt::EXEC | MapProt::SEM;
        if !known.contains(prot) {
            return Err(MmapError::ProtBits((prot - known).bits()));
        }
        let rights = prot.rights()?;
        let _mmap = space.mmap_lock.write(self.env);
        let start = stack_start(space, start, grows)?;
        self.protect_range(space, start, end, rights)
    }

    /// M is held for writing.
    fn protect_range(
        &self,
        space: &AddressSpace,
        start: VirtAddr,
        end: VirtAddr,
        prot: Prot,
    ) -> Result<(), MmapError> {
        self.gather(space.tag(), |gather| {
            let mut from = start;
            while from < end {
                let vma = space.vma_at(from).ok_or(MmapError::Hole(from))?;
                let to = vma.end.min(end);
                self.protect_part(space, &vma, (from, to), prot, gather)?;
                from = to;
            }
            Ok(())
        })
    }

    /// A part of one VMA.
    fn protect_part(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        (start, end): (VirtAddr, VirtAddr),
        prot: Prot,
        gather: &mut Gather<'_>,
    ) -> Result<(), MmapError> {
        if vma.prot == prot {
            return Ok(());
        }
        if vma.kind.device().is_some() && prot.contains(Prot::EXEC) {
            return Err(MmapError::DeviceExec);
        }
        if !vma.prot.contains(Prot::WRITE) {
            self.check_commit(&Vma { prot, ..vma.part(start, end) })?;
        }
        self.prepare_cuts(space, start, end, 0)?;
        range::release_cut_reservations(self, space, start, end);
        space.change_vmas(self, start, end, |vmas| vmas.change(start, end, |vma| vma.prot = prot));
        range::protect(self, space, start, end, prot, gather);
        Ok(())
    }
}

/// Where the range begins: with PROT_GROWSDOWN at the start of the stack's VMA.
fn stack_start(space: &AddressSpace, start: VirtAddr, grows: MapProt) -> Result<VirtAddr, MmapError> {
    if grows.is_empty() {
        return Ok(start);
    }
    let vma = space.find_vma(start).ok_or(MmapError::Hole(start))?;
    if grows == MapProt::GROWSDOWN && vma.growth == Growth::Down {
        Ok(vma.start)
    } else {
        Err(MmapError::NoStack(start))
    }
}
