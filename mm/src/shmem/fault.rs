//! Page faults in VMAs of objects.
//!
//! | entry | shared VMA | private VMA, read or fetch | private VMA, write |
//! |---|---|---|---|
//! | absent | the object's page | the object's page, never writable | a copy of the object's page |
//! | the object's page | raised to the rights of the VMA | raised to them, but for writing | a copy in its place |
//! | a private copy | - | raised | raised, or copied once more where fork shared it |
//! | migration entry | waits until the frame has moved | the same | the same |
//!
//! The object's page is made where there is none: also by a read, since who reads shared memory will meet who writes
//! it.
//!
//! **Protocol.** Tables and the page are there before any spinlock is taken. Then, under O, the size and the page are
//! looked at again, and under T the entry is made: so whoever has changed the size or taken pages out under O finds
//! either no entry, or one that is made and can be taken away. The entry of a private copy is made so too, while the
//! object has the page that was copied.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, Desc, Level, Machine, Order, PhysMem, VirtAddr};

use super::object::Object;
use crate::Mm;
use crate::fault::{self, FaultDone, FaultInfo, FaultReason, grants};
use crate::kalloc::KArc;
use crate::mapcount;
use crate::page::{FolioRef, PageKind, PageRef};
use crate::pgtable::TableStock;
use crate::rmap;
use crate::space::exclusive::read_only;
use crate::space::{AddressSpace, Vma, VmaKind, range};
use crate::stats::Counter;

/// Resolves a fault in a VMA of an object whose rights allow the access. M is held for reading.
///
/// # Errors
/// [`FaultReason::BeyondObject`] (SIGBUS): the object has no page with this index. [`FaultReason::TooManyReferences`]
/// (SIGBUS): it is mapped, or held, as often as can be counted. [`FaultReason::OutOfMemory`].
pub fn fault(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let object = vma.kind.object().and_then(|id| space.objects.find(id)).ok_or(FaultReason::NoVma)?;
    let va = info.va.align_down(PAGE_SIZE);
    let site = Site { mm, space, vma, va, index: vma.index_of(va), object: &object };
    let walk = space.ptl.lock().walk(va);
    if walk.migration().is_some() {
        rmap::wait(mm, space, va);
        return Ok(FaultDone::Spurious);
    }
    let Some(leaf) = walk.leaf() else { return site.absent(info.access) };
    if grants(leaf.desc.flags(leaf.level), info.access) {
        Ok(FaultDone::Spurious)
    } else if site.is_private() {
        fault::copy_on_write(mm, space, vma, info)
    } else {
        Ok(site.raise(leaf.desc))
    }
}

struct Site<'f> {
    mm: &'f Mm,
    space: &'f KArc<AddressSpace>,
    vma: &'f Vma,
    /// The page's first address.
    va: VirtAddr,
    /// Its index in the object.
    index: u64,
    object: &'f Object,
}

impl Site<'_> {
    fn is_private(&self) -> bool {
        matches!(self.vma.kind, VmaKind::Private(_))
    }

    fn absent(&self, access: Access) -> Result<FaultDone, FaultReason> {
        if access == Access::Write && self.is_private() { self.copy() } else { self.map() }
    }

    /// Sees to it that the object has the page.
    fn provide(&self) -> Result<(), FaultReason> {
        let Site { mm, object, index, .. } = *self;
        if self.look()?.is_some() {
            return Ok(());
        }
        let page = mm.alloc_zeroed_page(PageKind::Shmem)?;
        page.set_mapping(object.id.mapping(), index);
        let mut contents = object.contents.lock();
        let refused = if index >= contents.end() {
            (page, Err(FaultReason::BeyondObject))
        } else if contents.pages.get(index).is_some() {
            (page, Ok(()))
        } else {
            match contents.pages.insert(index, page) {
                Ok(()) => {
                    mm.stats.inc(Counter::NrShmem);
                    return Ok(());
                }
                Err(page) => (page, Err(FaultReason::OutOfMemory)),
            }
        };
        drop(contents);
        let (page, verdict) = refused;
        mm.put_folio(page);
        verdict
    }

    /// The object's page, where it has one.
    fn look(&self) -> Result<Option<PageRef>, FaultReason> {
        let contents = self.object.contents.lock();
        if self.index >= contents.end() {
            return Err(FaultReason::BeyondObject);
        }
        Ok(contents.pages.get(self.index))
    }

    fn stock(&self) -> Result<TableStock<'_>, FaultReason> {
        let steps = self.space.ptl.lock().walk(self.va).steps().len();
        Ok(TableStock::new(self.mm, Level::ALL.len() - steps)?)
    }

    /// The leaf for the object's page.
    fn leaf(&self, page: PageRef) -> Desc {
        let leaf = range::leaf_for(self.mm, page.pfn().phys(), Level::L3, self.vma.prot);
        if self.is_private() { read_only(leaf, Level::L3) } else { leaf }
    }

    /// Maps the object's page.
    fn map(&self) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, vma, va, object, index } = *self;
        loop {
            let mut stock = self.stock()?;
            self.provide()?;
            let contents = object.contents.lock();
            // Somebody may have taken it out again.
            let Some(page) = contents.pages.get(index).filter(|_| index < contents.end()) else { continue };
            let mut tree = space.ptl.lock();
            if !tree.walk(va).last().desc.is_empty() && tree.walk(va).last().level == Level::L3 {
                return Ok(FaultDone::Spurious);
            }
            // Tables that were there when the stock was made may have left since: once more.
            let Ok(entry) = tree.entry_or_table(space.flusher(mm), va, Level::L3, &mut stock) else {
                continue;
            };
            let run = range::run_of(space, vma, &entry, page);
            if mapcount::may_add(mm, &run).is_err() || !page.try_get_many(1) {
                return Err(FaultReason::TooManyReferences(page.pfn()));
            }
            mapcount::add(mm, &run);
            entry.make(self.leaf(page));
            return Ok(FaultDone::Made);
        }
    }

    /// Gives a leaf of a shared VMA all rights of the VMA.
    fn raise(&self, seen: Desc) -> FaultDone {
        let Site { mm, space, vma, va, .. } = *self;
        let mut tree = space.ptl.lock();
        match tree.entry(space.flusher(mm), va, Level::L3) {
            Ok(entry) if entry.desc() == seen => {
                let new = range::leaf_for(mm, seen.output(Level::L3), Level::L3, vma.prot);
                entry.relax(seen, new);
                FaultDone::Made
            }
            _ => FaultDone::Spurious,
        }
    }

    /// Maps a private copy of the object's page, where nothing is mapped yet.
    fn copy(&self) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, index, .. } = *self;
        let mut stock = self.stock()?;
        let source = self.source()?;
        let copied = mm.alloc_pages(Order::PAGE, PageKind::Anon).inspect(|page| {
            Machine::copy(page.pfn().phys(), source.pfn().phys(), PAGE_SIZE);
            page.set_mapping(space.id, index);
        });
        let done = copied.map(|page| match self.map_copy(source.page(), page, &mut stock) {
            Ok(()) => FaultDone::Made,
            Err(page) => {
                mm.put_folio(page);
                FaultDone::Spurious
            }
        });
        mm.put_folio(source);
        Ok(done?)
    }

    /// Maps `page`, a copy of `source`: not, where the object has lost that meanwhile, or somebody else has mapped
    /// something.
    fn map_copy(&self, source: PageRef, page: FolioRef, stock: &mut TableStock<'_>) -> Result<(), FolioRef> {
        let Site { mm, space, vma, va, object, index } = *self;
        let contents = object.contents.lock();
        if contents.pages.get(index) != Some(source) || index >= contents.end() {
            return Err(page);
        }
        let mut tree = space.ptl.lock();
        match tree.entry_or_table(space.flusher(mm), va, Level::L3, stock) {
            Ok(entry) if entry.desc().is_empty() => {
                mapcount::add(mm, &range::run_of(space, vma, &entry, page.page()));
                space.add_anon(mm, 1);
                entry.make(range::leaf_for(mm, page.pfn().phys(), Level::L3, vma.prot));
                // The reference is the entry's.
                page.leave();
                Ok(())
            }
            _ => Err(page),
        }
    }

    /// The object's page, made where there is none.
    fn source(&self) -> Result<FolioRef, FaultReason> {
        loop {
            self.provide()?;
            let contents = self.object.contents.lock();
            let Some(page) = contents.pages.get(self.index) else { continue };
            return page.get_unless_full().ok_or(FaultReason::TooManyReferences(page.pfn()));
        }
    }
}
