//! Copy-on-write of hugetlb pages: after fork both sides map one folio read-only, and a private mapping of an object
//! maps the object's so.
//!
//! A write by the only space that maps the folio gets the right back; any other write gets a folio of its own. In place
//! of an object's page that is the one which the slot was promised ([`super::owed`]). After fork it is promised to
//! nobody: what mmap had promised for the slot was used by its first touch, and the child was promised nothing. So on
//! either side the write ends with SIGBUS where the pool has no folio to spare, and the slot stays as it is. (Linux
//! prefers the parent there, `unmap_ref_private`: it takes the page from the child, which then gets SIGBUS at its next
//! access. Here nobody loses what he has.)
#![forbid(unsafe_code)]

use arch::{Desc, Level, Machine, Pfn, PhysMem, VirtAddr};

use super::hstate::HugeSize;
use super::poison;
use super::pool::{Claim, size_of};
use super::slot::{Mapped, Slot};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::fault::{FaultDone, FaultReason, grants};
use crate::page::{FolioRef, PageKind};
use crate::pgtable::{TableStock, normal_folio};
use crate::space::{AddressSpace, Vma, exclusive};
use crate::trace::Point;

/// Lets a write happen at `at`, an address of a slot whose entries grant too little, in a VMA that allows it. M is held
/// for reading, and F of the slot.
///
/// # Errors
/// [`FaultReason::HugetlbEmpty`], [`FaultReason::TooManyReferences`], [`FaultReason::MemoryFailure`],
/// [`FaultReason::OutOfMemory`]; nothing has changed.
pub(crate) fn copy_on_write(slot: &Slot<'_>, at: VirtAddr) -> Result<FaultDone, FaultReason> {
    let Slot { mm, size, .. } = *slot;
    let (source, leaf) = match judge(slot, at) {
        Verdict::Done(done) => return Ok(done),
        Verdict::Full(pfn) => return Err(FaultReason::TooManyReferences(pfn)),
        Verdict::Failed => return Err(size.failure()),
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
        slot.unclaim(claim);
        mm.put_folio(source);
        // Those who shared it may have gone since, as the pool's last folio went to somebody else.
        return match judge(slot, at) {
            Verdict::Done(done) => Ok(done),
            Verdict::Full(pfn) => Err(FaultReason::TooManyReferences(pfn)),
            Verdict::Failed => Err(size.failure()),
            Verdict::Copy(source, _) => {
                mm.put_folio(source);
                Err(FaultReason::HugetlbEmpty)
            }
        };
    };
    Machine::copy(copy.pfn().phys(), source.pfn().phys(), size.bytes());
    let done = match slot.exchange(leaf, copy.page()) {
        Some(()) => {
            mm.stats.note(Point::Cow, 1, || {
                [slot.va.raw(), source.pfn().raw(), copy.pfn().raw(), size.order().raw().into()]
            });
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
    /// The folio has failed: what it held must not be copied. Its entries are about to go.
    Failed,
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
    if poison::any_in(head) {
        return Verdict::Failed;
    }
    match head.get_unless_full() {
        Some(source) => Verdict::Copy(source, first.desc),
        None => Verdict::Full(head.pfn()),
    }
}

/// What a fork that may not share a hugetlb folio gives the child instead.
pub(crate) enum Instead {
    /// A copy, count 0.
    Copy(FolioRef),
    /// A marker: the folio has failed meanwhile.
    Marker(HugeSize),
}

/// What the child gets in place of what `leaf` of `level` maps, which the caller holds. `None`: that is no hugetlb
/// folio.
///
/// # Errors
/// [`OutOfMemory`]: the pool has none to spare.
pub(crate) fn copy_for_fork(mm: &Mm, leaf: Desc, level: Level) -> Result<Option<Instead>, OutOfMemory> {
    let Some(head) = normal_folio(mm, leaf, level).filter(|head| head.kind() == PageKind::Hugetlb) else {
        return Ok(None);
    };
    let size = size_of(head);
    let copy = mm.hugetlb.take_or_make(mm, size, Claim::Unreserved).ok_or(OutOfMemory)?;
    Machine::copy(copy.pfn().phys(), head.pfn().phys(), size.bytes());
    if poison::any_in(head) {
        mm.hugetlb.untake(copy, Claim::Unreserved);
        return Ok(Some(Instead::Marker(size)));
    }
    Ok(Some(Instead::Copy(copy)))
}

/// Maps what [`copy_for_fork`] gave in the child's slot of `va`, where nothing is mapped. `vma` is the child's.
///
/// # Errors
/// [`OutOfMemory`]: the child has not the tables; the copy is given back.
pub(crate) fn map_copy(
    mm: &Mm,
    child: &AddressSpace,
    vma: &Vma,
    va: VirtAddr,
    instead: Instead,
) -> Result<(), OutOfMemory> {
    let (size, copy) = match instead {
        Instead::Copy(copy) => (size_of(copy.page()), Some(copy)),
        Instead::Marker(size) => (size, None),
    };
    let slot = Slot::of(mm, child, vma, size, va);
    let missing = (size.level() as usize).saturating_sub(child.ptl.lock().last(slot.va).level as usize);
    let stock = TableStock::new(mm, missing);
    let Some(copy) = copy else {
        return slot.mark_failed(&mut stock?).map_err(|_| OutOfMemory);
    };
    let mapped = stock.and_then(|mut stock| slot.map(copy.page(), &mut stock).map_err(|_| OutOfMemory));
    match mapped {
        Ok(Mapped::Yes) => copy.leave(),
        Ok(Mapped::Taken) | Err(_) => slot.untake(copy, Claim::Unreserved),
    }
    mapped.map(drop)
}
