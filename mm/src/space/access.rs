//! Reading and writing a space that need not be active on any CPU: for loading programs and their arguments.
//!
//! The copy goes through the linear map, under the page-table lock, so that the frame cannot be unmapped
//! meanwhile. What the user may not do, this may not either: a loader maps writable, fills, and then takes
//! the right away by mprotect, which also readies frames for execution.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, Machine, PhysAddr, PhysMem, VirtAddr};

use super::AddressSpace;
use crate::Mm;
use crate::fault::{self, FaultError, FaultInfo, FaultReason};
use crate::kalloc::KArc;

impl Mm {
    /// Copies `bytes` to `va` with the user's rights, faulting pages in. May sleep.
    ///
    /// # Errors
    /// The fault that the first bad address took; what is below it has been written.
    pub fn write_user(
        &self,
        space: &KArc<AddressSpace>,
        va: VirtAddr,
        bytes: &[u8],
    ) -> Result<(), FaultError> {
        let mut done = 0;
        while done < bytes.len() {
            let at = address(va, done, Access::Write)?;
            let len = piece(at, bytes.len() - done);
            let from = &bytes[done..done + len];
            self.with_frame(space, at, Access::Write, |pa| Machine::write_bytes(pa, from))?;
            done += len;
        }
        Ok(())
    }

    /// Copies from `va` with the user's rights, faulting pages in. May sleep.
    ///
    /// # Errors
    /// The fault that the first bad address took; what is below it has been read.
    pub fn read_user(
        &self,
        space: &KArc<AddressSpace>,
        va: VirtAddr,
        into: &mut [u8],
    ) -> Result<(), FaultError> {
        let mut done = 0;
        while done < into.len() {
            let at = address(va, done, Access::Read)?;
            let len = piece(at, into.len() - done);
            let to = &mut into[done..done + len];
            self.with_frame(space, at, Access::Read, |pa| Machine::read_bytes(pa, to))?;
            done += len;
        }
        Ok(())
    }

    /// Runs `f` on the physical address of `va` while it is mapped with the right for `access`.
    fn with_frame(
        &self,
        space: &KArc<AddressSpace>,
        va: VirtAddr,
        access: Access,
        f: impl FnOnce(PhysAddr),
    ) -> Result<(), FaultError> {
        loop {
            let tree = space.ptl.lock();
            if let Some(leaf) = tree.walk(va).leaf()
                && fault::grants(leaf.desc.flags(leaf.level), access)
            {
                let offset = va.raw() & (leaf.level.entry_bytes() - 1);
                f(leaf.desc.output(leaf.level).add(offset));
                return Ok(());
            }
            drop(tree);
            self.handle_mm_fault(space, &FaultInfo::by_kernel(va, access))?;
        }
    }
}

/// Bytes from `va` to the end of its page, at most `left`.
fn piece(va: VirtAddr, left: usize) -> usize {
    let page = (PAGE_SIZE - va.raw() % PAGE_SIZE) as usize;
    page.min(left)
}

/// The address `done` bytes above `va`.
fn address(va: VirtAddr, done: usize, access: Access) -> Result<VirtAddr, FaultError> {
    va.checked_add(done as u64).filter(|at| at.is_user()).ok_or(FaultError {
        reason: FaultReason::NotUserAddress,
        info: FaultInfo::by_kernel(va, access),
        vma: None,
    })
}
