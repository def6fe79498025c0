//! brk: the heap, one anonymous mapping that grows and shrinks at its end.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;

use super::{
    AccessPattern, AddressSpace, Commit, Grain, Growth, HugeAdvice, MmapError, Prot, Vma, VmaKind, gap,
};
use crate::Mm;

impl Mm {
    /// Where the heap of a new program begins, an address of the user half: set once, after its image is
    /// mapped.
    pub fn set_brk_start(&self, space: &AddressSpace, start: VirtAddr) {
        let _mmap = space.mmap_lock.write(self.env);
        space.brk_start.store(start.raw(), Ordering::Relaxed);
        space.brk_end.store(start.raw(), Ordering::Relaxed);
    }

    /// Moves the end of the heap to `addr`, and returns where it is then: where it was, if that cannot be
    /// done (Linux's brk has no errors). 0 for a space without a heap. May sleep.
    pub fn brk(&self, space: &AddressSpace, addr: u64) -> VirtAddr {
        let _mmap = space.mmap_lock.write(self.env);
        let (start, end) = (space.brk_start.load(Ordering::Relaxed), space.brk_end.load(Ordering::Relaxed));
        let possible = start != 0 && (start..=USER_END.raw()).contains(&addr);
        if possible && self.move_brk(space, end, addr).is_ok() {
            space.brk_end.store(addr, Ordering::Relaxed);
            return VirtAddr::new(addr);
        }
        VirtAddr::new(end)
    }

    fn move_brk(&self, space: &AddressSpace, old: u64, new: u64) -> Result<(), MmapError> {
        let page_end = |end| VirtAddr::new(end).align_up(PAGE_SIZE);
        let (old, new) = (page_end(old), page_end(new));
        if new < old {
            self.prepare_cuts(space, new, old, 0)?;
            self.unmap_prepared(space, new, old);
        } else if new > old {
            self.extend_heap(space, old, new)?;
        }
        Ok(())
    }

    fn extend_heap(&self, space: &AddressSpace, start: VirtAddr, end: VirtAddr) -> Result<(), MmapError> {
        let vma = Vma {
            start,
            end,
            prot: Prot::READ | Prot::WRITE,
            kind: VmaKind::Anon,
            advice: HugeAdvice::None,
            pattern: AccessPattern::Normal,
            commit: Commit::Account,
            userfault: None,
            grain: Grain::Whole,
            growth: Growth::Fixed,
            pgoff: start.raw() / PAGE_SIZE,
        };
        self.check_commit(&vma)?;
        let mut vmas = space.vmas.lock();
        if !gap::is_free(&vmas, start, end) {
            return Err(MmapError::NoGap(vma.bytes()));
        }
        vmas.prepare(1)?;
        drop(vmas);
        space.change_vmas(self, start, end, |vmas| vmas.insert(vma));
        Ok(())
    }
}

impl AddressSpace {
    /// The heap: its first address and the present break, in bytes; both 0 for a space without one.
    #[must_use]
    pub fn heap(&self) -> (VirtAddr, VirtAddr) {
        let end = |at: &AtomicU64| VirtAddr::new(at.load(Ordering::Relaxed));
        (end(&self.brk_start), end(&self.brk_end))
    }
}
