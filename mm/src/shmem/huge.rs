//! Objects of hugetlb pages: what the pool promises them, and page faults in their VMAs.
//!
//! | entry | what a fault does |
//! |---|---|
//! | absent, the object has the page, the VMA is registered | tells whoever serves it: [`crate::userfault`] |
//! | absent, the object has the page | maps it: all of it, or as much as a blank entry could ([`crate::hugetlb::hgm`]) |
//! | absent, the object has the page, and a part of it has failed | SIGBUS; where smaller entries are permitted, maps as much around the address as is good, and SIGBUS for the failed 4 KiB alone |
//! | absent, the object has no page | takes one from the pool, by the object's promise where it has one; then maps it |
//! | a leaf with fewer rights than the VMA | gives it them |
//! | migration entry | waits until the folio has moved |
//!
//! **Protocol.** One fault at a time makes a page (lock F, by object and page). Who makes one holds the right to resize for
//! reading, and who promises, truncates or takes pages out holds it for writing: so a promise is used once, and is not
//! given back while it is being used. The entries are made under O and T, as those of small pages.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::{Access, Machine, PhysMem, VirtAddr};

use super::object::{Contents, Object, ObjectId};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::fault::{FaultDone, FaultInfo, FaultReason, grants};
use crate::hugetlb::hgm::{HugetlbPte, MapSize, Piece};
use crate::hugetlb::{self, Claim, Grant, HugeSize, Mapped, Share, Slot};
use crate::kalloc::KArc;
use crate::page::PageRef;
use crate::pgtable::TableStock;
use crate::rmap;
use crate::space::{AddressSpace, Grain, MmapError, Vma};
use crate::userfault;

impl Mm {
    /// Sees to it that each of these pages of a hugetlb object, by their numbers, is there or promised. Its time
    /// follows the pages that are there, however many are asked for. May sleep; the caller holds no lock of rank 12 or
    /// above.
    ///
    /// # Errors
    /// [`MmapError::HugetlbPool`], [`MmapError::OutOfMemory`]; nothing has changed.
    pub(crate) fn promise_pages(
        &self,
        object: &Object,
        size: HugeSize,
        pages: Range<u64>,
    ) -> Result<(), MmapError> {
        let _resize = object.resize.write(self.env);
        let missing = {
            let mut contents = object.contents.lock();
            // Each page that is there may leave a range on either side of it.
            let there = contents.pages.numbers_in(pages.clone()).count();
            contents.promised.prepare(there + 1)?;
            pages.end - pages.start - there as u64 - contents.promised.count_in(pages.clone())
        };
        hugetlb::reserve(self, size, missing).map_err(|_| MmapError::HugetlbPool(missing))?;
        let mut contents = object.contents.lock();
        let Contents { pages: there, promised, .. } = &mut *contents;
        promised.add(pages.clone());
        for number in there.numbers_in(pages) {
            promised.take(number..number + 1);
        }
        Ok(())
    }

    /// The promises for these pages, by their numbers, end. The right to resize is held.
    pub(super) fn unpromise_pages(&self, object: &Object, pages: Range<u64>) {
        let Some(size) = object.huge else { return };
        let mut contents = object.contents.lock();
        // Where there is no memory for what is left of a range in two, the promises of a hole stay.
        let whole = pages.end == u64::MAX || contents.promised.prepare(1).is_ok();
        let promised = if whole { contents.promised.take(pages) } else { 0 };
        drop(contents);
        hugetlb::unreserve(self, size, promised);
        self.hugetlb.trim(self, size);
    }
}

impl Object {
    /// Tells `f` the page with this number, if there is one below the end: under O, so it stays the object's meanwhile.
    pub(crate) fn with_page<R>(&self, number: u64, f: impl FnOnce(Option<PageRef>) -> R) -> R {
        let contents = self.contents.lock();
        let there = |_: &PageRef| number < contents.end();
        f(contents.pages.get(number).filter(there))
    }
}

/// Resolves a fault in a VMA of a hugetlb object whose rights allow the access. M is held for reading.
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
    let number = object.number_of(vma.index_of(slot.va));
    let site = Site { slot, number, object: &object };
    let place = VirtAddr::new(number.wrapping_mul(size.bytes()));
    let _one = mm.hugetlb.fault_lock(size, id.raw(), place).write(mm.env);
    let pte = HugetlbPte::at(&space.ptl.lock(), info.va, size, mm.config.contpte);
    if pte.is_migrating() {
        rmap::wait(mm, space, info.va);
        return Ok(FaultDone::Spurious);
    }
    if pte.is_blank() {
        if vma.userfault.is_some() {
            // Nobody can serve what has failed (Linux looks for that first, too: `hugetlb_no_page`).
            let page = object.with_page(number, |head| head.map(|head| slot.failure_at(head, info.va)));
            match page {
                Some(Some(failure)) => return Err(failure),
                Some(None) => return userfault::tell(mm, space, vma, info),
                None => {}
            }
        }
        return site.absent(&pte, info.va);
    }
    let lacks = info.access == Access::Write && !grants(pte.desc.flags(pte.level), Access::Write);
    Ok(if lacks { slot.raise(info.va, pte.desc) } else { FaultDone::Spurious })
}

/// A place in a VMA of a hugetlb object.
struct Site<'f> {
    slot: Slot<'f>,
    /// The page's number in the object.
    number: u64,
    object: &'f Object,
}

impl Site<'_> {
    /// Maps the object's page, made where there is none, where `pte`, the blank entry for `va`, stands.
    fn absent(&self, pte: &HugetlbPte, va: VirtAddr) -> Result<FaultDone, FaultReason> {
        let Slot { mm, vma, size, .. } = self.slot;
        let mut piece = match vma.grain {
            Grain::Whole => self.slot.piece(),
            Grain::Any => Piece { va: pte.va, size: pte.size },
            Grain::Page => Piece { va: va.align_down(PAGE_SIZE), size: MapSize::Page },
        };
        loop {
            let mut stock = TableStock::new(mm, piece.size.level() as usize)?;
            make(mm, (self.object, size), self.number)?;
            if vma.grain == Grain::Whole {
                self.slot.clear_tables();
            }
            let shared = self.object.with_page(self.number, |head| {
                let head = head?;
                Some(match self.slot.share(head, (piece, Grant::All), &mut stock) {
                    Ok(Share::Slot(Mapped::Yes)) => Ok(FaultDone::Made),
                    Ok(Share::Slot(Mapped::Taken)) => Ok(FaultDone::Spurious),
                    Ok(Share::Failed) => match self.slot.failure_at(head, va) {
                        Some(failure) => Err(failure),
                        None => {
                            piece = piece.around(va, mm.config.contpte);
                            return None;
                        }
                    },
                    Ok(Share::Full) => Err(FaultReason::TooManyReferences(head.pfn())),
                    // The stock is for all tables below the root.
                    Err(_) => Err(FaultReason::OutOfMemory),
                })
            });
            // Somebody may have taken it out again.
            if let Some(done) = shared {
                return done;
            }
        }
    }
}

/// Sees to it that the object has the page with this number, for whoever does not come by a fault. May sleep.
///
/// # Errors
/// [`FaultReason::BeyondObject`], [`FaultReason::HugetlbEmpty`], [`FaultReason::OutOfMemory`].
pub(super) fn provide(mm: &Mm, object: &Object, size: HugeSize, number: u64) -> Result<(), FaultReason> {
    let place = VirtAddr::new(number.wrapping_mul(size.bytes()));
    let _one = mm.hugetlb.fault_lock(size, object.id.raw(), place).write(mm.env);
    make(mm, (object, size), number)
}

/// Sees to it that the object has the page. F is held.
fn make(mm: &Mm, (object, size): (&Object, HugeSize), number: u64) -> Result<(), FaultReason> {
    let _resize = object.resize.read(mm.env);
    let claim = {
        let mut contents = object.contents.lock();
        if number >= contents.end() {
            return Err(FaultReason::BeyondObject);
        }
        if contents.pages.get(number).is_some() {
            return Ok(());
        }
        contents.promised.prepare(1)?;
        match contents.promised.take(number..number + 1) {
            0 => Claim::Unreserved,
            _ => Claim::Reserved,
        }
    };
    let Some(folio) = mm.hugetlb.take_or_make(mm, size, claim) else {
        // What was promised has failed, and there is no memory for another one yet.
        promise_again(mm, (object, size), number, claim);
        return Err(FaultReason::HugetlbEmpty);
    };
    Machine::zero(folio.pfn().phys(), size.bytes());
    folio.set_mapping(object.id.mapping(), number * (size.bytes() / PAGE_SIZE));
    // The object's reference.
    folio.set_refcount(1);
    let inserted = object.contents.lock().pages.insert(number, folio);
    inserted.map_err(|folio| {
        match claim {
            Claim::Unreserved => mm.put_folio(folio),
            Claim::Reserved => hugetlb::take_back(mm, folio),
        }
        promise_again(mm, (object, size), number, claim);
        FaultReason::OutOfMemory
    })
}

/// The promise by which a page was to be taken, which the object has not got, stands in its list again; where there is
/// no memory for that, it ends.
fn promise_again(mm: &Mm, (object, size): (&Object, HugeSize), number: u64, claim: Claim) {
    if claim == Claim::Unreserved {
        return;
    }
    let mut contents = object.contents.lock();
    match contents.promised.prepare(1) {
        Ok(()) => contents.promised.add(number..number + 1),
        Err(OutOfMemory) => {
            drop(contents);
            hugetlb::unreserve(mm, size, 1);
        }
    }
}
