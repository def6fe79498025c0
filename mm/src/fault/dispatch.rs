//! The dispatcher: which VMA, which rights, which arm.
#![forbid(unsafe_code)]

use arch::Access;
use arch::addr::PAGE_SIZE;
use arch::contract::{Depth, FaultStatus};

use super::{FaultDone, FaultError, FaultInfo, FaultReason, anon, report};
use crate::Mm;
use crate::kalloc::KArc;
use crate::locks::ReadGuard;
use crate::pgtable::flush::FlushRange;
use crate::space::{AddressSpace, Vma, VmaKind};
use crate::thp::reclaim;
use crate::trace::Point;
use crate::userfault;

/// What the point says of a fault that made an entry.
const MADE: u64 = 0;

impl Mm {
    /// Resolves a fault on a user address of `space`. May sleep; no spinlock is held.
    ///
    /// # Errors
    /// [`FaultError`]: the access cannot be made good; nothing was mapped.
    // Walk A.2: which VMA, which rights, which arm.
    pub fn handle_mm_fault(
        &self,
        space: &KArc<AddressSpace>,
        info: &FaultInfo,
    ) -> Result<FaultDone, FaultError> {
        self.resolve(space, info, info.access)
    }

    /// Sees to it that the private page of `info.va`, which the VMA lets be read, is the space's own, as by a write;
    /// but the VMA need not be writable, and then the entry is not (Linux: FAULT_FLAG_UNSHARE). `info.access` is a
    /// write. May sleep.
    ///
    /// # Errors
    /// As [`Self::handle_mm_fault`].
    pub(crate) fn unshare(
        &self,
        space: &KArc<AddressSpace>,
        info: &FaultInfo,
    ) -> Result<FaultDone, FaultError> {
        self.resolve(space, info, Access::Read)
    }

    /// Does what `info` asks for, in a VMA that lets `needs` be done.
    #[inline(always)]
    fn resolve(
        &self,
        space: &KArc<AddressSpace>,
        info: &FaultInfo,
        needs: Access,
    ) -> Result<FaultDone, FaultError> {
        self.stats.begin(Point::Fault, 1, || [info.va.raw(), info.access as u64, 0, 0]);
        let mmap = space.mmap_lock.read(self.env);
        let vmas = space.vmas();
        let Some(&vma) = vmas.holding(info.va) else {
            drop(vmas);
            drop(mmap);
            let done = self.resolve_outside(space, info, needs);
            return self.fault_ends(info, done);
        };
        drop(vmas);
        match self.dispatch(space, info, needs, &vma) {
            Ok(FaultDone::Made) => {
                drop(mmap);
                self.stats.end(Point::Fault, 0, || [info.va.raw(), MADE, 0, 0]);
                Ok(FaultDone::Made)
            }
            other => {
                let done = self.settle(space, info, needs, (&vma, mmap), other);
                self.fault_ends(info, done)
            }
        }
    }

    /// Says that the fault has ended so.
    #[cold]
    fn fault_ends(
        &self,
        info: &FaultInfo,
        done: Result<FaultDone, FaultError>,
    ) -> Result<FaultDone, FaultError> {
        let result = match done {
            Ok(FaultDone::Made) => MADE,
            Ok(FaultDone::Spurious) => 1,
            Err(_) => 2,
        };
        self.stats.end(Point::Fault, 0, || [info.va.raw(), result, 0, 0]);
        done
    }

    /// What no VMA holds, a stack may that grows.
    #[cold]
    fn resolve_outside(
        &self,
        space: &KArc<AddressSpace>,
        info: &FaultInfo,
        needs: Access,
    ) -> Result<FaultDone, FaultError> {
        let (mmap, vma) = self.find_or_grow(space, info.va);
        let Some(vma) = vma else {
            let reason = report::check_status(info).err().unwrap_or(FaultReason::NoVma);
            return Err(FaultError { reason, info: *info, vma: None });
        };
        let done = self.dispatch_again(space, info, needs, &vma);
        self.settle(space, info, needs, (&vma, mmap), done)
    }

    /// What the handler made of the fault, after one more try where memory was out and some could be had back. `mmap`
    /// is M, which is let go where the fault waits for whoever serves it.
    #[cold]
    fn settle(
        &self,
        space: &KArc<AddressSpace>,
        info: &FaultInfo,
        needs: Access,
        (vma, mmap): (&Vma, ReadGuard<'_>),
        mut done: Result<FaultDone, FaultReason>,
    ) -> Result<FaultDone, FaultError> {
        if done == Err(FaultReason::OutOfMemory) && self.reclaim(reclaim::BATCH) != 0 {
            done = self.dispatch_again(space, info, needs, vma);
        }
        if done == Ok(FaultDone::Spurious) {
            self.stats.note(Point::Spurious, 1, || [info.va.raw(), 0, 0, 0]);
        }
        drop(mmap);
        if let Err(FaultReason::Told(ticket)) = done {
            done = userfault::wait(self, space, ticket).map(|()| FaultDone::Spurious);
        }
        done.map_err(|reason| FaultError { reason, info: *info, vma: Some(*vma) })
    }

    /// As [`Self::dispatch`], where it is not the first try, or not the common one.
    #[cold]
    #[inline(never)]
    fn dispatch_again(
        &self,
        space: &KArc<AddressSpace>,
        info: &FaultInfo,
        needs: Access,
        vma: &Vma,
    ) -> Result<FaultDone, FaultReason> {
        self.dispatch(space, info, needs, vma)
    }

    /// TLBs held a table's entries and a block at once, since the one replaced the other without a break
    /// ([`crate::pgtable::resize`]). Whoever does that flushes before he lets go of the tree's lock, so nothing of the
    /// address is held when this has had it; and whatever else may be in conflict there is flushed too.
    #[cold]
    fn resolve_conflict(&self, space: &AddressSpace, info: &FaultInfo) -> FaultDone {
        let _tree = space.ptl.lock();
        let start = info.va.align_down(PAGE_SIZE);
        let range = FlushRange { start, end: start.add(PAGE_SIZE), level: None, depth: Depth::AllLevels };
        space.flusher(self).flush(range);
        self.stats.note(Point::Conflict, 1, || [info.va.raw(), 0, 0, 0]);
        FaultDone::Spurious
    }

    #[inline(always)]
    fn dispatch(
        &self,
        space: &KArc<AddressSpace>,
        info: &FaultInfo,
        needs: Access,
        vma: &Vma,
    ) -> Result<FaultDone, FaultReason> {
        match report::check_status(info) {
            Err(FaultReason::Machine(FaultStatus::TlbConflict)) => {
                return Ok(self.resolve_conflict(space, info));
            }
            checked => checked?,
        }
        if !vma.prot.allows(needs) {
            return Err(FaultReason::Rights);
        }
        match vma.kind {
            VmaKind::Anon => anon::fault(self, space, vma, info),
            VmaKind::Hugetlb(size) => crate::hugetlb::fault(self, space, vma, size, info),
            VmaKind::HugeShared(size, id) => crate::shmem::huge::fault(self, space, vma, (size, id), info),
            VmaKind::HugePrivate(size, id) => {
                crate::shmem::huge_private::fault(self, space, vma, (size, id), info)
            }
            VmaKind::Shared(_) | VmaKind::Private(_) => crate::shmem::fault::fault(self, space, vma, info),
            VmaKind::Device(map) => crate::device::map::fault(self, space, vma, map, info),
        }
    }
}
