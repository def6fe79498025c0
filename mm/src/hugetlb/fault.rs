//! The page fault in a hugetlb VMA.
//!
//! A slot is an aligned 2 MiB of the VMA. One fault at a time handles it (lock F): two that raced for one
//! slot would take two folios, and the second of them may be what another slot was promised.
#![forbid(unsafe_code)]

use arch::pte::Kind;
use arch::{Access, Desc, Machine, PhysMem, VirtAddr};

use super::cow::{self, Slot};
use super::hstate::SIZE_2M;
use super::pool::Claim;
use crate::Mm;
use crate::fault::{FaultDone, FaultInfo, FaultReason, grants};
use crate::kalloc::KArc;
use crate::mapcount;
use crate::page::PageRef;
use crate::pgtable::walk::is_empty;
use crate::pgtable::{Entry, Missing, TableStock};
use crate::rmap;
use crate::space::range::{leaf_for, run_of};
use crate::space::{AddressSpace, Commit, Vma};

/// Tables that a level-2 entry may lack.
const TABLES: usize = 2;

/// By what right the slots of this VMA get their folios.
const fn claim(vma: &Vma) -> Claim {
    match vma.commit {
        Commit::Account => Claim::Reserved,
        Commit::NoReserve => Claim::Unreserved,
    }
}

/// Maps the slot of `va`, in a hugetlb VMA whose rights allow the access. The caller holds the mmap lock for
/// reading.
///
/// # Errors
/// [`FaultReason::HugetlbEmpty`] (SIGBUS): the pool has no folio that the slot may have.
/// [`FaultReason::OutOfMemory`]: no memory for page tables. Nothing was mapped, and the slot's promise
/// stands.
// Walk B.2: a hugetlb page is touched for the first time.
pub fn fault(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let va = info.va.align_down(SIZE_2M.bytes());
    let _one = mm.hugetlb.fault_lock(space.id, va).write(mm.env);
    let last = space.ptl.lock().last(va);
    if last.migration().is_some() {
        rmap::wait(mm, space, va);
        return Ok(FaultDone::Spurious);
    }
    if last.level == SIZE_2M.level() && last.kind() == Kind::Block {
        let shared = info.access == Access::Write && !grants(last.desc.flags(last.level), Access::Write);
        return if shared { cow::fault(&Slot { mm, space, vma, va }) } else { Ok(FaultDone::Spurious) };
    }
    let mut stock = TableStock::new(mm, TABLES)?;
    let claim = claim(vma);
    let folio = mm.hugetlb.take(claim).ok_or(FaultReason::HugetlbEmpty)?;
    Machine::zero(folio.pfn().phys(), SIZE_2M.bytes());
    folio.set_mapping(space.id, vma.index_of(va));
    let leaf = leaf_for(mm, folio.pfn().phys(), SIZE_2M.level(), vma.prot);
    let mapped = map(mm, space, vma, va, (folio.page(), leaf), &mut stock);
    match mapped {
        // The reference is the entry's.
        Ok(FaultDone::Made) => folio.leave(),
        Ok(FaultDone::Spurious) | Err(_) => {
            folio.set_mapping(0, 0);
            mm.hugetlb.untake(folio, claim);
        }
    }
    mapped
}

/// Makes the entry, unless one was made meanwhile. The mapping's reference is the folio's first.
fn map(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    va: VirtAddr,
    (folio, leaf): (PageRef, Desc),
    stock: &mut TableStock<'_>,
) -> Result<FaultDone, FaultReason> {
    let flusher = space.flusher(mm);
    let mut tree = space.ptl.lock();
    let level = SIZE_2M.level();
    let lacking = |_: Missing| FaultReason::OutOfMemory;
    let entry = tree.entry_or_table(flusher, va, level, stock).map_err(lacking)?;
    match entry.desc().kind(level) {
        Kind::Block => return Ok(FaultDone::Spurious),
        Kind::Table => remove_empty_table(mm, space, entry),
        Kind::Page | Kind::Invalid => {}
    }
    let entry = tree.entry(flusher, va, level).map_err(lacking)?;
    folio.set_refcount(1);
    mapcount::add(mm, &run_of(space, vma, &entry, folio));
    entry.make(leaf);
    Ok(FaultDone::Made)
}

/// Removes a table without entries, which a fault left behind that ran out of memory half-way: until it is
/// flushed, a walk cache may lead to it, and no block may be made.
fn remove_empty_table(mm: &Mm, space: &AddressSpace, entry: Entry<'_>) {
    mm.gather(space.tag(), |gather| {
        let table = entry.clear(gather);
        let empty = is_empty(table.desc().output(table.level()));
        debug_assert!(empty, "a table in use where a hugetlb page belongs");
        gather.hold(table);
    });
}
