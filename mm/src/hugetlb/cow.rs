//! Copy-on-write of hugetlb pages: after fork both sides map one folio read-only, and a private mapping of an object maps
//! the object's so.
//!
//! A write by the only space that maps the folio gets the right back; any other write gets a folio of its own. In place of
//! an object's page that is the one which the slot was promised ([`super::owed`]). After fork it is promised to nobody:
//! what mmap had promised for the slot was used by its first touch, and the child was promised nothing. So on either side the write ends with SIGBUS where the pool has no folio to spare, and the slot
//! stays as it is. (Linux prefers the parent there, `unmap_ref_private`: it takes the page from the child, which then
//! gets SIGBUS at its next access. Here nobody loses what he has.)
#![forbid(unsafe_code)]

use arch::{Desc, Level, Machine, Pfn, PhysMem, VirtAddr};

use super::pool::{Claim, size_of};
use super::slot::{Mapped, Slot};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::fault::{FaultDone, FaultReason, grants};
use crate::page::{FolioRef, PageKind};
use crate::pgtable::{TableStock, normal_folio};
use crate::space::{AddressSpace, Vma, exclusive};
use crate::stats::Counter;

/// Lets a write happen at `at`, an address of a slot whose entries grant too little, in a VMA that allows it. M is held
/// for reading, and F of the slot.
///
/// # Errors
/// [`FaultReason::HugetlbEmpty`], [`FaultReason::TooManyReferences`], [`FaultReason::OutOfMemory`]; nothing has changed.
pub(crate) fn copy_on_write(slot: &Slot<'_>, at: VirtAddr) -> Result<FaultDone, FaultReason> {
    let Slot { mm, size, .. } = *slot;
    let (source, leaf) = match judge(slot, at) {
        Verdict::Done(done) => return Ok(done),
        Verdict::Full(pfn) => return Err(FaultReason::TooManyReferences(pfn)),
        Verdict::Copy(source, leaf) => (source, leaf),
    };
    let claim = match slot.claim_copy() {
        Ok(claim) => claim,
        Err(error) => {
            mm.put_folio(source);
            return Err(error.into());
        }
    };
    let Some(copy) = mm.hugetlb.take_or_make(mm, size, claim) else {
        mm.put_folio(source);
        // Those who shared it may have gone since, as the pool's last folio went to somebody else.
        return match judge(slot, at) {
            Verdict::Done(done) => Ok(done),
            Verdict::Full(pfn) => Err(FaultReason::TooManyReferences(pfn)),
            Verdict::Copy(source, _) => {
                mm.put_folio(source);
                Err(FaultReason::HugetlbEmpty)
            }
        };
    };
    Machine::copy(copy.pfn().phys(), source.pfn().phys(), size.bytes());
    let done = match slot.exchange(leaf, copy.page()) {
        Some(()) => {
            mm.stats.inc(Counter::CowCopy);
            // The references are the entries'.
            copy.leave();
            FaultDone::Made
        }
        None => {
            slot.untake(copy, claim);
            FaultDone::Spurious
        }
    };
    mm.put_folio(source);
    Ok(done)
}

/// What a write to a slot comes to.
enum Verdict {
    /// It is settled.
    Done(FaultDone),
    /// There can be no further reference to the folio, which is needed to copy it.
    Full(Pfn),
    /// The folio, with a reference, and the slot's first entry: it must be copied.
    Copy(FolioRef, Desc),
}

fn judge(slot: &Slot<'_>, at: VirtAddr) -> Verdict {
    let Slot { mm, space, size, va, .. } = *slot;
    let level = size.level();
    let mut tree = space.ptl.lock();
    let (first, last) = (tree.last(va), tree.last(at));
    let head = normal_folio(mm, first.desc, level).filter(|_| first.level == level && last.level == level);
    let Some(head) = head else { return Verdict::Done(FaultDone::Spurious) };
    if grants(last.desc.flags(level), arch::Access::Write) {
        return Verdict::Done(FaultDone::Spurious);
    }
    if exclusive::is_exclusive(mm, head) {
        slot.grant(&mut tree, at, last.desc);
        return Verdict::Done(FaultDone::Made);
    }
    match head.get_unless_full() {
        Some(source) => Verdict::Copy(source, first.desc),
        None => Verdict::Full(head.pfn()),
    }
}

/// A copy of what `leaf` of `level` maps, for a fork that may not share it: count 0. `None`: it maps no hugetlb folio.
///
/// # Errors
/// [`OutOfMemory`]: the pool has none to spare.
pub(crate) fn copy_for_fork(mm: &Mm, leaf: Desc, level: Level) -> Result<Option<FolioRef>, OutOfMemory> {
    let Some(head) = normal_folio(mm, leaf, level).filter(|head| head.kind() == PageKind::Hugetlb) else {
        return Ok(None);
    };
    let size = size_of(head);
    let copy = mm.hugetlb.take_or_make(mm, size, Claim::Unreserved).ok_or(OutOfMemory)?;
    Machine::copy(copy.pfn().phys(), head.pfn().phys(), size.bytes());
    Ok(Some(copy))
}

/// Maps a copy that [`copy_for_fork`] gave in the child's slot of `va`, where nothing is mapped. `vma` is the child's.
///
/// # Errors
/// [`OutOfMemory`]: the child has not the tables; the copy is given back.
pub(crate) fn map_copy(
    mm: &Mm,
    child: &AddressSpace,
    vma: &Vma,
    va: VirtAddr,
    copy: FolioRef,
) -> Result<(), OutOfMemory> {
    let size = size_of(copy.page());
    let slot = Slot::of(mm, child, vma, size, va);
    let missing = (size.level() as usize).saturating_sub(child.ptl.lock().last(slot.va).level as usize);
    let mapped = TableStock::new(mm, missing)
        .and_then(|mut stock| slot.map(copy.page(), &mut stock).map_err(|_| OutOfMemory));
    match mapped {
        Ok(Mapped::Yes) => copy.leave(),
        Ok(Mapped::Taken) | Err(_) => slot.untake(copy, Claim::Unreserved),
    }
    mapped.map(drop)
}
