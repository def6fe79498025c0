//! Copy-on-write of hugetlb pages: after fork both sides map one folio read-only.
//!
//! A write by the only space that maps the folio gets the right back; any other write gets a folio of its own. That
//! folio is promised to nobody: what mmap had promised for the slot was used by its first touch, and the child was
//! promised nothing. So on either side the write ends with SIGBUS where the pool has no folio to spare, and the slot
//! stays as it is. (Linux prefers the parent there, `unmap_ref_private`: it takes the page from the child, which then
//! gets SIGBUS at its next access. Here nobody loses what he has.)
#![forbid(unsafe_code)]

use arch::{Desc, Level, Machine, Pfn, PhysMem, VirtAddr};

use super::hstate::SIZE_2M;
use super::pool::Claim;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::fault::{FaultDone, FaultReason, grants};
use crate::mapcount::{self, Run};
use crate::page::{FolioRef, PageKind, PageRef};
use crate::pgtable::normal_page;
use crate::space::range::{leaf_for, run_of};
use crate::space::{AddressSpace, Vma, exclusive};
use crate::stats::Counter;

/// A slot whose entry grants too little for a write, in a VMA that allows it.
#[derive(Clone, Copy)]
pub(super) struct Slot<'f> {
    pub(super) mm: &'f Mm,
    pub(super) space: &'f AddressSpace,
    pub(super) vma: &'f Vma,
    /// The slot's first address.
    pub(super) va: VirtAddr,
}

/// Lets the write happen. M is held for reading, and F of the slot.
///
/// # Errors
/// [`FaultReason::HugetlbEmpty`], [`FaultReason::TooManyReferences`]; nothing has changed.
pub(super) fn fault(slot: &Slot<'_>) -> Result<FaultDone, FaultReason> {
    let Slot { mm, .. } = *slot;
    let (source, leaf) = match judge(slot) {
        Verdict::Done(done) => return Ok(done),
        Verdict::Full(pfn) => return Err(FaultReason::TooManyReferences(pfn)),
        Verdict::Copy(source, leaf) => (source, leaf),
    };
    let Some(copy) = mm.hugetlb.take(Claim::Unreserved) else {
        mm.put_folio(source);
        // Those who shared it may have gone since, as the pool's last folio went to somebody else.
        return match judge(slot) {
            Verdict::Done(done) => Ok(done),
            Verdict::Full(pfn) => Err(FaultReason::TooManyReferences(pfn)),
            Verdict::Copy(source, _) => {
                mm.put_folio(source);
                Err(FaultReason::HugetlbEmpty)
            }
        };
    };
    Machine::copy(copy.pfn().phys(), source.pfn().phys(), SIZE_2M.bytes());
    let done = exchange(slot, (source.page(), leaf), copy);
    mm.put_folio(source);
    Ok(done)
}

/// What a write to a slot comes to.
enum Verdict {
    /// It is settled.
    Done(FaultDone),
    /// There can be no further reference to the folio, which is needed to copy it.
    Full(Pfn),
    /// The folio, with a reference, and the entry that maps it: it must be copied.
    Copy(FolioRef, Desc),
}

fn judge(slot: &Slot<'_>) -> Verdict {
    let Slot { mm, space, vma, va } = *slot;
    let level = SIZE_2M.level();
    let mut tree = space.ptl.lock();
    let Ok(entry) = tree.entry(space.flusher(mm), va, level) else {
        return Verdict::Done(FaultDone::Spurious);
    };
    let leaf = entry.desc();
    let Some(head) = normal_page(leaf, level) else { return Verdict::Done(FaultDone::Spurious) };
    let new = exclusive::leaf_again(mm, leaf, level, vma.prot);
    if grants(new.flags(level), arch::Access::Write) {
        entry.relax(leaf, new);
        return Verdict::Done(FaultDone::Made);
    }
    match head.get_unless_full() {
        Some(source) => Verdict::Copy(source, leaf),
        None => Verdict::Full(head.pfn()),
    }
}

/// The entry for the copy, by break-before-make: the output address changes, and the new entry grants writing.
fn exchange(slot: &Slot<'_>, (source, leaf): (PageRef, Desc), copy: FolioRef) -> FaultDone {
    let Slot { mm, space, vma, va } = *slot;
    let level = SIZE_2M.level();
    let new = leaf_for(mm, copy.pfn().phys(), level, vma.prot);
    let mut tree = space.ptl.lock();
    let entry = match tree.entry(space.flusher(mm), va, level) {
        Ok(entry) if entry.desc() == leaf => entry,
        _ => {
            drop(tree);
            mm.hugetlb.untake(copy, Claim::Unreserved);
            return FaultDone::Spurious;
        }
    };
    let run = run_of(space, vma, &entry, copy.page());
    copy.set_mapping(space.id, vma.index_of(va));
    copy.set_refcount(1);
    mapcount::add(mm, &run);
    let displaced = entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ());
    mapcount::remove(mm, &Run { head: source, first: source, ..run });
    mm.give_up(displaced);
    mm.stats.inc(Counter::CowCopy);
    // The reference is the entry's.
    copy.leave();
    FaultDone::Made
}

/// A copy of what `leaf` of `level` maps, for a fork that may not share it: with one reference. `None`: it maps no
/// hugetlb folio.
///
/// # Errors
/// [`OutOfMemory`]: the pool has none to spare.
pub(crate) fn copy_for_fork(mm: &Mm, leaf: Desc, level: Level) -> Result<Option<FolioRef>, OutOfMemory> {
    let Some(head) = normal_page(leaf, level).filter(|head| head.kind() == PageKind::Hugetlb) else {
        return Ok(None);
    };
    let copy = mm.hugetlb.take(Claim::Unreserved).ok_or(OutOfMemory)?;
    Machine::copy(copy.pfn().phys(), head.pfn().phys(), SIZE_2M.bytes());
    copy.set_refcount(1);
    Ok(Some(copy))
}
