//! Populating: every page of a range is faulted in ahead of its first access.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, VirtAddr};

use super::madvise::is_pfnmap;
use super::{AddressSpace, MmapError, Prot};
use crate::Mm;
use crate::fault::{FaultError, FaultInfo, FaultReason, grants};
use crate::kalloc::KArc;

impl Mm {
    /// Makes every page of `[start, end)` as it is after an access of this kind. Pages that are so already cost a look
    /// each, or one for a block. May sleep (Linux: `mm_populate`, `madvise_populate`).
    ///
    /// # Errors
    /// The first page that cannot be had; what lies below is there. `Hole`, `OutOfMemory`: ENOMEM. `Unadvisable`:
    /// EINVAL, the VMA was not given this very right, whatever an access may do, or holds frames by number (Linux:
    /// `check_vma_flags`). `NoPage`: EFAULT, the access would be SIGBUS.
    pub fn populate(
        &self,
        space: &KArc<AddressSpace>,
        start: VirtAddr,
        end: VirtAddr,
        access: Access,
    ) -> Result<(), MmapError> {
        let (mut va, mut suits_to) = (start, start);
        while va < end {
            if va >= suits_to {
                suits_to = suits(space, va, access)?;
            }
            let leaf = space.ptl.lock().walk(va).leaf();
            if let Some(leaf) = leaf.filter(|leaf| grants(leaf.desc.flags(leaf.level), access)) {
                let bytes = leaf.level.entry_bytes();
                va = va.align_down(bytes).add(bytes);
                continue;
            }
            self.handle_mm_fault(space, &FaultInfo::by_kernel(va, access)).map_err(|error| why(&error))?;
        }
        Ok(())
    }
}

/// Looks whether the VMA at `va` may be populated, and returns where it ends. Where there is none the fault says what
/// is wrong, or makes one that grows.
fn suits(space: &AddressSpace, va: VirtAddr, access: Access) -> Result<VirtAddr, MmapError> {
    let Some(vma) = space.vma_at(va) else { return Ok(va.add(PAGE_SIZE)) };
    let right = if access == Access::Write { Prot::WRITE } else { Prot::READ };
    if vma.prot.contains(right) && !is_pfnmap(&vma) { Ok(vma.end) } else { Err(MmapError::Unadvisable(vma)) }
}

fn why(error: &FaultError) -> MmapError {
    match (error.reason, error.vma) {
        (FaultReason::OutOfMemory, _) => MmapError::OutOfMemory,
        (FaultReason::Rights, Some(vma)) => MmapError::Unadvisable(vma),
        (FaultReason::NotUserAddress | FaultReason::NoVma | FaultReason::Rights, _) => {
            MmapError::Hole(error.info.va)
        }
        _ => MmapError::NoPage(error.info.va),
    }
}
