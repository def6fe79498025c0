//! MADV_HWPOISON: memory of a program is declared failed, to see what happens.
//!
//! As on Linux (`madvise_inject_error`) each step lets one page of 4 KiB fail, brought in by a read where it is not
//! there, and goes on by the size of the folio that it is in: so a range of a hugetlb page loses its first page of 4
//! KiB, and a call for 4 KiB chooses which. Linux asks for CAP_SYS_ADMIN (EPERM), which everybody has here; and it has
//! nothing against anonymous memory, of which it keeps only the failed page back, while here only hugetlb may fail.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, Pfn, VirtAddr};

use super::poison::PoisonError;
use crate::Mm;
use crate::fault::{FaultInfo, FaultReason};
use crate::kalloc::KArc;
use crate::page::FolioRef;
use crate::pgtable::normal_page;
use crate::space::{AddressSpace, MmapError};

impl Mm {
    /// Lets memory of `[start, end)` fail. May sleep; no lock is held.
    ///
    /// # Errors
    /// `NoPage` (EFAULT): a page cannot be read, as it has failed before or nothing is mapped there. `NotHugetlb`
    /// (EOPNOTSUPP), `OutOfMemory`, `InUse` (EAGAIN). What lies below has failed.
    pub(crate) fn inject_failures(
        &self,
        space: &KArc<AddressSpace>,
        (start, end): (VirtAddr, VirtAddr),
    ) -> Result<(), MmapError> {
        let mut va = start;
        while va < end {
            let (folio, pfn) = self.held_at(space, va)?;
            let bytes = folio.order().bytes();
            // Whatever became of it, it has failed.
            let _ = self.memory_failure_of(folio, pfn).map_err(|error| match error {
                PoisonError::NotHugetlb(..) | PoisonError::NoRam(_) => MmapError::NotHugetlb(va),
                PoisonError::Busy(_) => MmapError::InUse,
            })?;
            va = va.checked_add(bytes).unwrap_or(end);
        }
        Ok(())
    }

    /// A reference to the folio that is mapped at `va`, and the frame there.
    fn held_at(&self, space: &KArc<AddressSpace>, va: VirtAddr) -> Result<(FolioRef, Pfn), MmapError> {
        loop {
            {
                let tree = space.ptl.lock();
                if let Some(leaf) = tree.walk(va).leaf() {
                    let page = normal_page(leaf.desc, leaf.level).ok_or(MmapError::NotHugetlb(va))?;
                    let within = va.raw() % leaf.level.entry_bytes() / PAGE_SIZE;
                    let pfn = page.pfn().add(within);
                    let folio = page.head(self.config.tails).get_unless_full().ok_or(MmapError::InUse)?;
                    return Ok((folio, pfn));
                }
            }
            self.handle_mm_fault(space, &FaultInfo::by_kernel(va, Access::Read)).map_err(
                |error| match error.reason {
                    FaultReason::OutOfMemory => MmapError::OutOfMemory,
                    _ => MmapError::NoPage(va),
                },
            )?;
        }
    }
}
