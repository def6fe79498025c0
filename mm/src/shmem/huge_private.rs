//! Page faults in private mappings of objects of hugetlb pages.
//!
//! | entry | read or fetch | write |
//! |---|---|---|
//! | absent, the object has the page | the object's page, never writable | a copy of it |
//! | absent, the object has no page | a private page of zeros | the same |
//! | the object's page | - | a copy in its place |
//! | a private copy | - | raised, or copied once more where fork shared it |
//! | the object's page, a part of which has failed; a marker | SIGBUS | the same |
//! | migration entry | waits until the folio has moved | the same |
//!
//! Where the object has no page none is made for it: what a reader would be the first to touch is his own (Linux:
//! `hugetlb_no_page` adds to the page cache for mappings that share only). So a private mapping never uses what the
//! pool has promised to the object. What it was promised itself, a page for each slot, is used by the slot's first
//! private page ([`crate::hugetlb::owed`]).
//!
//! **Protocol.** One fault at a time handles a slot (lock F, by space and slot). A private page is ready before any
//! spinlock is taken; its entries are made under O and T, while the object is as it was when the page was made: as it
//! has, or lacks, the same page, and its end lies beyond. So whoever truncates finds the entries.
#![forbid(unsafe_code)]

use arch::{Access, Machine, PhysMem};

use super::object::{Contents, Object, ObjectId};
use crate::Mm;
use crate::fault::{FaultDone, FaultInfo, FaultReason, grants};
use crate::hugetlb::poison;
use crate::hugetlb::{Grant, HugeSize, Mapped, Share, Slot, copy_on_write};
use crate::kalloc::KArc;
use crate::page::{FolioRef, PageRef};
use crate::pgtable::TableStock;
use crate::rmap;
use crate::space::{AddressSpace, Vma};

/// Resolves a fault in a private VMA of a hugetlb object whose rights allow the access. M is held for reading.
///
/// # Errors
/// [`FaultReason::BeyondObject`], [`FaultReason::HugetlbEmpty`], [`FaultReason::TooManyReferences`],
/// [`FaultReason::MemoryFailure`] (SIGBUS); [`FaultReason::OutOfMemory`]. Nothing has changed.
pub fn fault(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    (size, id): (HugeSize, ObjectId),
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let object = space.objects.find(id).ok_or(FaultReason::NoVma)?;
    let slot = Slot::of(mm, space, vma, size, info.va);
    let site = Site { slot, number: object.number_of(vma.index_of(slot.va)), object: &object };
    let _one = mm.hugetlb.fault_lock(size, space.id, slot.va).write(mm.env);
    let last = space.ptl.lock().last(info.va);
    if last.migration().is_some() {
        rmap::wait(mm, space, info.va);
        return Ok(FaultDone::Spurious);
    }
    if last.desc.is_poisoned() {
        return Err(size.failure());
    }
    if !last.desc.is_leaf(last.level) {
        return site.absent(info.access);
    }
    let lacks = info.access == Access::Write && !grants(last.desc.flags(last.level), Access::Write);
    if lacks { copy_on_write(&slot, info.va) } else { Ok(FaultDone::Spurious) }
}

/// A place in a private VMA of a hugetlb object.
struct Site<'f> {
    slot: Slot<'f>,
    /// The page's number in the object.
    number: u64,
    object: &'f Object,
}

impl Site<'_> {
    /// Maps the object's page, or one of the space's own.
    fn absent(&self, access: Access) -> Result<FaultDone, FaultReason> {
        let Slot { mm, size, .. } = self.slot;
        loop {
            let mut stock = TableStock::new(mm, size.level() as usize)?;
            self.slot.clear_tables();
            let source = {
                let contents = self.object.contents.lock();
                let page = self.page(&contents)?;
                if let Some(head) = page.filter(|_| access != Access::Write) {
                    return match self.slot.share(head, (self.slot.piece(), Grant::NoWrite), &mut stock) {
                        Ok(Share::Slot(Mapped::Yes)) => Ok(FaultDone::Made),
                        Ok(Share::Slot(Mapped::Taken)) => Ok(FaultDone::Spurious),
                        Ok(Share::Failed) => Err(size.failure()),
                        Ok(Share::Full) => Err(FaultReason::TooManyReferences(head.pfn())),
                        // The stock is for all tables below the root.
                        Err(_) => Err(FaultReason::OutOfMemory),
                    };
                }
                if page.is_some_and(poison::any_in) {
                    return Err(size.failure());
                }
                let full = |head: PageRef| FaultReason::TooManyReferences(head.pfn());
                page.map(|head| head.get_unless_full().ok_or_else(|| full(head))).transpose()?
            };
            let made = self.make_private(source.as_ref(), &mut stock);
            if let Some(source) = source {
                mm.put_folio(source);
            }
            if let Some(done) = made? {
                return Ok(done);
            }
        }
    }

    /// The object's page, where it has one. O is held.
    fn page(&self, contents: &Contents) -> Result<Option<PageRef>, FaultReason> {
        if self.number >= contents.end() {
            return Err(FaultReason::BeyondObject);
        }
        Ok(contents.pages.get(self.number))
    }

    /// Maps a page of the space's own: a copy of `source`, or zeros. `None`: the object has another page there by now.
    fn make_private(
        &self,
        source: Option<&FolioRef>,
        stock: &mut TableStock<'_>,
    ) -> Result<Option<FaultDone>, FaultReason> {
        let Slot { mm, size, .. } = self.slot;
        let claim = self.slot.claim_copy()?;
        let Some(folio) = mm.hugetlb.take_or_make(mm, size, claim) else {
            self.slot.unclaim(claim);
            return Err(FaultReason::HugetlbEmpty);
        };
        match source {
            Some(source) => Machine::copy(folio.pfn().phys(), source.pfn().phys(), size.bytes()),
            None => Machine::zero(folio.pfn().phys(), size.bytes()),
        }
        let mapped = {
            let contents = self.object.contents.lock();
            match self.page(&contents) {
                // A page that has failed since was copied in vain.
                Ok(page) if page == source.map(FolioRef::page) && !page.is_some_and(poison::any_in) => {
                    let mapped = self.slot.map_clear(folio.page(), stock);
                    mapped.map(Some).map_err(|_| FaultReason::OutOfMemory)
                }
                Ok(_) => Ok(None),
                Err(beyond) => Err(beyond),
            }
        };
        if mapped == Ok(Some(Mapped::Yes)) {
            // The references are the entries'.
            folio.leave();
            return Ok(Some(FaultDone::Made));
        }
        self.slot.untake(folio, claim);
        mapped.map(|taken| taken.map(|_| FaultDone::Spurious))
    }
}
