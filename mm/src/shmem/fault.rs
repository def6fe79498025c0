//! Page faults in VMAs of objects.
//!
//! | entry | shared VMA | private VMA, read or fetch | private VMA, write |
//! |---|---|---|---|
//! | absent | the object's page | the object's page, never writable | a copy of the object's page |
//! | the object's page | raised to the rights of the VMA | raised to them, but for writing | a copy in its place |
//! | a private copy | - | raised | raised, or copied once more where fork shared it |
//!
//! The object's page is made where there is none: also by a read, since who reads shared memory will meet who writes it.
//!
//! **Protocol.** Tables and the page are there before any spinlock is taken. Then, under O, the size and the page are
//! looked at again, and under T the entry is made: so whoever has changed the size or taken pages out under O finds
//! either no entry, or one that is made and can be taken away.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, Desc, Level, Machine, Order, PhysMem, VirtAddr};

use super::object::Object;
use crate::Mm;
use crate::fault::{FaultDone, FaultInfo, FaultReason, grants};
use crate::kalloc::KArc;
use crate::mapcount::{self, Run};
use crate::page::{FolioRef, PageKind, PageRef};
use crate::pgtable::{Entry, TableStock, normal_page};
use crate::space::{AddressSpace, Vma, VmaKind, range};
use crate::stats::Counter;

/// Resolves a fault in a VMA of an object whose rights allow the access. M is held for reading.
///
/// # Errors
/// [`FaultReason::BeyondObject`] (SIGBUS): the object has no page with this index. [`FaultReason::OutOfMemory`].
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
    let Some(leaf) = walk.leaf() else { return site.absent(info.access) };
    if grants(leaf.desc.flags(leaf.level), info.access) {
        return Ok(FaultDone::Spurious);
    }
    if info.access == Access::Write && site.is_objects(leaf.desc) && site.is_private() {
        return site.copy(Some(leaf.desc));
    }
    Ok(site.raise(leaf.desc))
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

    /// Whether the leaf maps a page of the object, and no private copy.
    fn is_objects(&self, leaf: Desc) -> bool {
        normal_page(leaf, Level::L3).is_some_and(|page| page.kind() == PageKind::Shmem)
    }

    fn absent(&self, access: Access) -> Result<FaultDone, FaultReason> {
        if access == Access::Write && self.is_private() { self.copy(None) } else { self.map() }
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
        if self.is_private() { range::read_only(leaf, Level::L3) } else { leaf }
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
            if tree.walk(va).leaf().is_some() {
                return Ok(FaultDone::Spurious);
            }
            // Tables that were there when the stock was made may have left since: once more.
            let Ok(entry) = tree.entry_or_table(space.flusher(mm), va, Level::L3, &mut stock) else {
                continue;
            };
            page.get().leave();
            mapcount::add(mm, &range::run_of(space, vma, &entry, page));
            entry.make(self.leaf(page));
            return Ok(FaultDone::Made);
        }
    }

    /// Gives a leaf the rights that it may have.
    fn raise(&self, seen: Desc) -> FaultDone {
        let Site { mm, space, vma, va, .. } = *self;
        let mut tree = space.ptl.lock();
        match tree.entry(space.flusher(mm), va, Level::L3) {
            Ok(entry) if entry.desc() == seen => {
                let leaf = range::leaf_for(mm, seen.output(Level::L3), Level::L3, vma.prot);
                let reads_only = self.is_private() && self.is_objects(seen);
                entry.relax(if reads_only { range::read_only(leaf, Level::L3) } else { leaf });
                FaultDone::Made
            }
            _ => FaultDone::Spurious,
        }
    }

    /// Puts a private copy of the object's page in the place of `seen`.
    fn copy(&self, seen: Option<Desc>) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, va, index, .. } = *self;
        let mut stock = self.stock()?;
        let source = self.source(seen)?;
        let copied = mm.alloc_pages(Order::PAGE, PageKind::Anon).map(|page| {
            Machine::copy(page.pfn().phys(), source.pfn().phys(), PAGE_SIZE);
            page.set_mapping(space.id, index);
            page
        });
        let done = copied.map(|page| {
            let mut tree = space.ptl.lock();
            let walk = tree.walk(va);
            let entry = tree.entry_or_table(space.flusher(mm), va, Level::L3, &mut stock);
            match entry {
                Ok(entry) if walk.leaf().map(|leaf| leaf.desc) == seen => {
                    self.exchange(entry, &source, page, seen);
                    FaultDone::Made
                }
                _ => {
                    drop(tree);
                    mm.put_folio(page);
                    FaultDone::Spurious
                }
            }
        });
        mm.put_folio(source);
        Ok(done?)
    }

    /// The page to copy: the one that `seen` maps, or the object's.
    fn source(&self, seen: Option<Desc>) -> Result<FolioRef, FaultReason> {
        if let Some(page) = seen.and_then(|leaf| normal_page(leaf, Level::L3))
            && let Some(folio) = page.try_get()
        {
            return Ok(folio);
        }
        loop {
            self.provide()?;
            let contents = self.object.contents.lock();
            if let Some(page) = contents.pages.get(self.index) {
                return Ok(page.get());
            }
        }
    }

    /// The entry for the copy, under T.
    fn exchange(&self, entry: Entry<'_>, source: &FolioRef, page: FolioRef, seen: Option<Desc>) {
        let Site { mm, space, vma, .. } = *self;
        let new = range::leaf_for(mm, page.pfn().phys(), Level::L3, vma.prot);
        let run = range::run_of(space, vma, &entry, page.page());
        mapcount::add(mm, &run);
        mm.stats.inc(Counter::NrAnon);
        page.leave();
        if seen.is_none() {
            entry.make(new);
            return;
        }
        let displaced = entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ());
        mapcount::remove(mm, &Run { head: source.page(), first: source.page(), ..run });
        mm.gather(space.tag(), |gather| gather.hold_displaced(displaced));
    }
}
