//! The page fault in a hugetlb VMA.
//!
//! One fault at a time handles a slot (lock F): two that raced for one slot would take two folios, and the second of
//! them may be what another slot was promised.
#![forbid(unsafe_code)]

use arch::{Access, Machine, PhysMem};

use super::cow::copy_on_write;
use super::hstate::HugeSize;
use super::pool::Claim;
use super::slot::{Mapped, Slot};
use crate::Mm;
use crate::fault::{FaultDone, FaultInfo, FaultReason, grants};
use crate::kalloc::KArc;
use crate::pgtable::TableStock;
use crate::rmap;
use crate::space::{AddressSpace, Commit, Vma};
use crate::trace::Point;

/// By what right the slots of this VMA get their folios.
const fn claim(vma: &Vma) -> Claim {
    match vma.commit {
        Commit::Account => Claim::Reserved,
        Commit::NoReserve => Claim::Unreserved,
    }
}

/// Maps the slot of the address, in a hugetlb VMA of pages of this size whose rights allow the access. The caller holds
/// the mmap lock for reading.
///
/// # Errors
/// [`FaultReason::HugetlbEmpty`] (SIGBUS): the pool has no folio that the slot may have.
/// [`FaultReason::MemoryFailure`] (SIGBUS): a marker stands there, or the folio that a write would copy has failed.
/// [`FaultReason::OutOfMemory`]: no memory for page tables. Nothing was mapped, and the slot's promise
/// stands.
// Walk B.2: a hugetlb page is touched for the first time.
pub fn fault(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    size: HugeSize,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let va = info.va.raw();
    let begin = || [va, size.bytes(), 0, 0];
    mm.stats.slice(
        Point::HugetlbFault,
        (0, begin),
        |_| (0, [va, 0, 0, 0]),
        || map(mm, space, vma, size, info),
    )
}

fn map(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    size: HugeSize,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let slot = Slot::of(mm, space, vma, size, info.va);
    let _one = mm.hugetlb.fault_lock(size, space.id, slot.va).write(mm.env);
    let last = space.ptl.lock().last(info.va);
    if last.migration().is_some() {
        rmap::wait(mm, space, info.va);
        return Ok(FaultDone::Spurious);
    }
    if last.desc.is_poisoned() {
        return Err(size.failure());
    }
    if last.desc.is_leaf(last.level) {
        let shared = info.access == Access::Write && !grants(last.desc.flags(last.level), Access::Write);
        return if shared { copy_on_write(&slot, info.va) } else { Ok(FaultDone::Spurious) };
    }
    // The root is there; every table below it may be missing.
    let mut stock = TableStock::new(mm, size.level() as usize)?;
    let claim = claim(vma);
    let folio = mm.hugetlb.take_or_make(mm, size, claim).ok_or(FaultReason::HugetlbEmpty)?;
    Machine::zero(folio.pfn().phys(), size.bytes());
    match slot.map(folio.page(), &mut stock) {
        Ok(Mapped::Yes) => {
            folio.leave();
            Ok(FaultDone::Made)
        }
        Ok(Mapped::Taken) => {
            slot.untake(folio, claim);
            Ok(FaultDone::Spurious)
        }
        Err(_) => {
            slot.untake(folio, claim);
            Err(FaultReason::OutOfMemory)
        }
    }
}
