//! MADV_DONTNEED of hugetlb memory: the pages go, the promises stay. Those of an object stay in it, whoever mapped
//! them.
//!
//! Every slot of a VMA that was promised its pages is mapped or has one promise ([`crate::hugetlb`]). A folio that
//! leaves its slot must not be seen in the pool without that promise: whoever is faster, be it a pool that shrinks,
//! mmap, or a fault without a promise, would take it, and the slot's next touch would be SIGBUS. So the folio is kept
//! by a reference while its entry goes, and enters the pool in one step with the promise (Linux:
//! `folio_set_hugetlb_restore_reserve`).
//!
//! | the slot | its folio | its promise |
//! |---|---|---|
//! | empty | - | it has one, and keeps it |
//! | mapped by this space alone | back to the pool | comes back with the folio |
//! | maps the page of an object | stays the object's | it has one still, or never had |
//! | mapped by others too, or pinned | stays with them | a new one, where the pool has a folio to spare; else the slot has none any more |
//! | moving | waited for | |
#![forbid(unsafe_code)]

use arch::VirtAddr;

use super::unmap;
use super::{AddressSpace, Commit, MmapError, Vma, VmaKind};
use crate::Mm;
use crate::hugetlb::{self, HugeSize};
use crate::mapcount::{self, Sharing};
use crate::page::{FolioRef, PageRef};
use crate::pgtable::normal_page;
use crate::rmap;

/// Slots that are emptied under one flush.
const BATCH: usize = 16;

/// What is in a slot of a VMA that was promised its pages.
enum Slot {
    Empty,
    /// A folio that nobody else uses, with a reference.
    Sole(FolioRef),
    /// A folio that others go on using, or a marker where one has failed: no promise comes back with it.
    Used,
}

impl Mm {
    /// Huge pages go that lie wholly in the part, which begins with one (Linux:
    /// `madvise_dontneed_free_valid_vma`). M is held for writing.
    ///
    /// # Errors
    /// `Unadvisable`: the part does not begin with a page. `TooManyVmas`, `OutOfMemory`: a slot loses its promise, and
    /// its VMA cannot be cut; what lies below is done.
    pub(super) fn discard_huge(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        (start, end): (VirtAddr, VirtAddr),
    ) -> Result<(), MmapError> {
        let granule = vma.kind.granule();
        if !start.is_aligned(granule) {
            return Err(MmapError::Unadvisable(*vma));
        }
        let end = end.align_down(granule);
        let Some(size) = vma.kind.huge_size() else { return Ok(()) };
        if vma.commit == Commit::NoReserve || vma.kind.is_shared() {
            unmap::unmap(self, space, start, end);
            self.hugetlb.trim(self, size);
            return Ok(());
        }
        let mut from = start;
        while from < end {
            // A promise that comes back to a private mapping of an object is noted.
            let listed = matches!(vma.kind, VmaKind::HugePrivate(..));
            space.objects.owed.prepare(listed.then_some(size), BATCH)?;
            let mut sole = [const { None }; BATCH];
            let mut to = from;
            for place in &mut sole {
                if to == end {
                    break;
                }
                match slot(self, space, size, to) {
                    Slot::Empty => {}
                    Slot::Sole(folio) => *place = Some(folio),
                    Slot::Used => break,
                }
                to = to.add(granule);
            }
            if to == from {
                to = from.add(granule);
                match listed {
                    true => space.objects.owed.promise_again(self, size, &(from..to)),
                    false => self.promise_anew(space, size, (from, to))?,
                }
            }
            unmap::unmap(self, space, from, to);
            for (n, folio) in sole.into_iter().enumerate() {
                let Some(folio) = folio else { continue };
                hugetlb::take_back(self, folio);
                if listed {
                    let slot = from.add(n as u64 * granule);
                    space.objects.owed.add(size, &(slot..slot.add(granule)));
                }
            }
            from = to;
        }
        self.hugetlb.trim(self, size);
        Ok(())
    }

    /// A second promise for a slot, the folio of which others go on using; or the slot is one without from now on.
    fn promise_anew(
        &self,
        space: &AddressSpace,
        size: HugeSize,
        (start, end): (VirtAddr, VirtAddr),
    ) -> Result<(), MmapError> {
        if hugetlb::reserve(self, size, 1).is_err() {
            self.prepare_cuts(space, start, end, 0)?;
            let loose = |vma: &mut Vma| vma.commit = Commit::NoReserve;
            space.change_vmas(self, start, end, |vmas| vmas.change(start, end, loose));
        }
        Ok(())
    }
}

/// What is in the slot at `va`. While M is held for writing, no fault and no pin changes that; a folio that begins to
/// move does not get far against the reference.
fn slot(mm: &Mm, space: &AddressSpace, size: HugeSize, va: VirtAddr) -> Slot {
    loop {
        let tree = space.ptl.lock();
        let walk = tree.walk(va);
        if walk.migration().is_some() {
            drop(tree);
            rmap::wait(mm, space, va);
            continue;
        }
        if walk.last().desc.is_poisoned() {
            return Slot::Used;
        }
        return match walk.leaf().and_then(|leaf| normal_page(leaf.desc, leaf.level)) {
            Some(head) if !hugetlb::is_own(head) => Slot::Empty,
            Some(head) if is_used_elsewhere(mm, size, head) => Slot::Used,
            Some(head) => Slot::Sole(head.get()),
            None => Slot::Empty,
        };
    }
}

/// Whether somebody may go on using a folio for long when its entry here goes. A reference alone says nothing: walkers
/// of physical memory have one for a moment.
fn is_used_elsewhere(mm: &Mm, size: HugeSize, head: PageRef) -> bool {
    let alone = || mapcount::scheme(mm).sharing(head).value() == Some(Sharing::Exclusive);
    head.maybe_pinned() || (head.refcount() > size.entries() as u32 && !alone())
}
