//! Populating: every page of a range is faulted in ahead of its first access.
#![forbid(unsafe_code)]

use arch::{Access, VirtAddr};

use super::{AddressSpace, MmapError};
use crate::Mm;
use crate::fault::{FaultError, FaultInfo, FaultReason, grants};
use crate::kalloc::KArc;

impl Mm {
    /// Makes every page of `[start, end)` as it is after an access of this kind. Pages that are so already cost a look
    /// each, or one for a block. May sleep (Linux: `mm_populate`, `madvise_populate`).
    ///
    /// # Errors
    /// The first page that cannot be had; what lies below is there. `Hole`, `OutOfMemory`: ENOMEM. `Unadvisable`:
    /// EINVAL, the mapping does not allow the access. `NoPage`: EFAULT, the access would be SIGBUS.
    pub fn populate(
        &self,
        space: &KArc<AddressSpace>,
        start: VirtAddr,
        end: VirtAddr,
        access: Access,
    ) -> Result<(), MmapError> {
        let mut va = start;
        while va < end {
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
