//! MADV_COLLAPSE: smaller entries become one of the largest size that fits.
//!
//! ```text
//!   under M, O and T     a mapping and a reference for the new leaf; break, flush, make; where a table that stays counts
//!                        what is below it, 512 entries come off its count
//!   under nothing        the old tables are cleared away: up to 513 of them, with the references of 262,144 entries
//! ```
//! The frames stay where they are, so nothing is copied, and what stood in the old entries need not be read before they
//! are exchanged: in a VMA of an object an entry maps the object's page or nothing. What was blank is mapped afterwards
//! too, and the permission of MADV_SPLIT stays. T is held for one exchange, whatever the size, and M for one or for a
//! group of 16.
//!
//! The range need not be whole pages: a page of 1 GiB goes from 4 KiB to 2 MiB, from there to 32 MiB (16 blocks that
//! are folded) or to 1 GiB, or in one step, as the caller likes. What is too small or not aligned for a larger entry
//! stays. Pages that the object does not have are passed over. No entry covers a page that has failed: what is around
//! it is mapped by the next smaller size, and the 64 KiB that it is in stay as they are. (With `contpte=off` there is
//! no size between 4 KiB and 2 MiB, and the 2 MiB that it is in stay as they are.)
#![forbid(unsafe_code)]

use arch::contiguous::CONT_ENTRIES;
use arch::pte::Kind;
use arch::{Level, Pfn, VirtAddr};

use super::super::hstate::HugeSize;
use super::super::slot::{Grant, Share, Slot};
use super::{Debris, HugetlbPte, MapSize, Piece};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::KArc;
use crate::mapcount::{self, Run};
use crate::page::PageRef;
use crate::pgtable::{Missing, TableStock};
use crate::rmap;
use crate::shmem::Object;
use crate::space::range::{leaf_for, run_of};
use crate::space::{AddressSpace, Grain, Vma};
use crate::thp::held::Held;
use crate::trace::Point;

/// Why a range, or what is left of it, was not collapsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotCollapsed {
    /// It is no shared hugetlb memory for which smaller entries were permitted.
    Unsuitable,
    /// The folio has as many mappings or references as can be counted.
    Full(Pfn),
    /// No memory for page tables.
    OutOfMemory,
}

impl From<OutOfMemory> for NotCollapsed {
    fn from(_: OutOfMemory) -> Self {
        NotCollapsed::OutOfMemory
    }
}

/// Collapses the first piece of `[va, end)`, a part of `vma`. Returns where the next one begins, and what is to be
/// cleared away when M is not held any more. M is held for writing; may sleep.
///
/// # Errors
/// [`NotCollapsed`]; nothing of the piece has changed, but that some of 16 pages or blocks may be mapped.
pub(crate) fn collapse_next(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    (va, end): (VirtAddr, VirtAddr),
) -> Result<(VirtAddr, Option<Debris>), NotCollapsed> {
    let (Some(size), Some(id)) = (vma.kind.huge_size(), vma.kind.object()) else {
        return Err(NotCollapsed::Unsuitable);
    };
    let object = space.objects.find(id).ok_or(NotCollapsed::Unsuitable)?;
    let slot = Slot::of(mm, space, vma, size, va);
    let number = object.number_of(vma.index_of(slot.va));
    let job = Job { slot, number, object: &object };
    if vma.grain == Grain::Whole {
        return job.whole();
    }
    let most = MapSize::Huge(size);
    let bytes = end.offset_from(va);
    let map = job.object.with_page(number, |head| match head {
        Some(head) => slot.largest(head, (va, bytes), most),
        None => MapSize::largest(va, bytes, most, size, mm.config.contpte),
    });
    match map {
        MapSize::Huge(HugeSize::G1) => job.exchange(va, Level::L1),
        MapSize::Huge(HugeSize::M32 | HugeSize::M2) => {
            let (next, debris) = job.exchange(va, Level::L2)?;
            // The last of a group of blocks that the range has from its first on.
            if next.is_aligned(HugeSize::M32.bytes()) {
                job.fold(Level::L2, next);
            }
            Ok((next, debris))
        }
        MapSize::Huge(HugeSize::K64) => job.pages(va),
        MapSize::Page => Ok((va.add(1).align_up(HugeSize::K64.bytes()).min(end), None)),
    }
}

/// A place in a VMA of an object.
struct Job<'j> {
    slot: Slot<'j>,
    /// The page's number in the object.
    number: u64,
    object: &'j KArc<Object>,
}

/// What one try has come to.
enum Tried {
    /// The leaf stands there.
    Done(Option<Debris>),
    /// The page is moving.
    Moving,
}

impl Job<'_> {
    /// All of a page that nothing maps, as one. One of which a part has failed stays unmapped.
    fn whole(&self) -> Result<(VirtAddr, Option<Debris>), NotCollapsed> {
        let Slot { mm, size, va, .. } = self.slot;
        let mut stock = TableStock::new(mm, size.level() as usize)?;
        self.slot.clear_tables();
        self.object.with_page(self.number, |head| {
            let Some(head) = head else { return Ok(()) };
            match self.slot.share(head, (self.slot.piece(), Grant::All), &mut stock) {
                Ok(Share::Full) => Err(NotCollapsed::Full(head.pfn())),
                Ok(Share::Slot(_) | Share::Failed) => Ok(()),
                Err(_) => Err(NotCollapsed::OutOfMemory),
            }
        })?;
        Ok((va.add(size.bytes()), None))
    }

    /// A block of `level` in place of what maps its part of the page from `va` on.
    fn exchange(&self, va: VirtAddr, level: Level) -> Result<(VirtAddr, Option<Debris>), NotCollapsed> {
        let Slot { mm, space, .. } = self.slot;
        let next = va.add(level.entry_bytes());
        loop {
            let above = space.ptl.lock().last(va).level;
            let mut stock = TableStock::new(mm, (level as usize).saturating_sub(above as usize))?;
            let tried = self.object.with_page(self.number, |head| match head {
                Some(head) => {
                    let _held = Held::of_hugetlb(mm);
                    self.try_exchange(head, (va, level), &mut stock)
                }
                None => Ok(Tried::Done(None)),
            })?;
            match tried {
                Tried::Done(debris) => return Ok((next, debris)),
                Tried::Moving => rmap::wait(mm, space, va),
            }
        }
    }

    fn try_exchange(
        &self,
        head: PageRef,
        (va, level): (VirtAddr, Level),
        stock: &mut TableStock<'_>,
    ) -> Result<Tried, NotCollapsed> {
        let Slot { mm, space, vma, .. } = self.slot;
        let page = head.nth(va.offset_from(self.slot.va) / arch::addr::PAGE_SIZE);
        let mut tree = space.ptl.lock();
        let size = if level == Level::L1 { HugeSize::G1 } else { HugeSize::M2 };
        if self.slot.has_failed(head, Piece { va, size: MapSize::Huge(size) }) {
            // Since it was looked at.
            return Ok(Tried::Done(None));
        }
        let entry = match tree.entry_or_table(space.flusher(mm), va, level, stock) {
            Ok(entry) => entry,
            // A larger one maps it.
            Err(Missing::Leaf(_, desc)) if !desc.is_migration() => return Ok(Tried::Done(None)),
            Err(Missing::Leaf(..)) => return Ok(Tried::Moving),
            Err(Missing::Stock | Missing::Table(_)) => return Err(NotCollapsed::OutOfMemory),
        };
        let old = entry.desc();
        match old.kind(level) {
            Kind::Block | Kind::Page => return Ok(Tried::Done(None)),
            Kind::Invalid if old.is_migration() => return Ok(Tried::Moving),
            Kind::Invalid | Kind::Table => {}
        }
        let run = Run { head, ..run_of(space, vma, &entry, page) };
        if mapcount::may_add(mm, &run).is_err() || !head.try_get_many(1) {
            return Err(NotCollapsed::Full(head.pfn()));
        }
        mapcount::add(mm, &run);
        let leaf = leaf_for(mm, page.pfn().phys(), level, vma.prot);
        if old.is_empty() {
            entry.make(leaf);
            return Ok(Tried::Done(None));
        }
        let displaced = entry.break_live::<1>(|_, _| ()).flush().make(|_| leaf, |_, _| ());
        mm.stats.note(Point::HgmCollapse, 1, || [va.raw(), level as u64, 0, 0]);
        Ok(Tried::Done(displaced.uproot().map(|table| Debris::new(mm, table, run))))
    }

    /// The 16 pages from `va` on, all of them mapped, as one folded group.
    fn pages(&self, va: VirtAddr) -> Result<(VirtAddr, Option<Debris>), NotCollapsed> {
        let Slot { mm, space, size, .. } = self.slot;
        let mut at = va;
        let end = va.add(HugeSize::K64.bytes());
        while at < end {
            let pte = HugetlbPte::at(&space.ptl.lock(), at, size, mm.config.contpte);
            if pte.is_migrating() {
                rmap::wait(mm, space, at);
                continue;
            }
            let map = MapSize::largest(at, end.offset_from(at), pte.size, size, mm.config.contpte);
            if pte.is_blank() {
                let missing = (map.level() as usize).saturating_sub(pte.level as usize);
                let (mut stock, blank) = (TableStock::new(mm, missing)?, Piece { va: at, size: map });
                let shared = self.object.with_page(self.number, |head| {
                    let Some(head) = head else { return Ok(None) };
                    match self.slot.share(head, (blank, Grant::All), &mut stock) {
                        Ok(Share::Full) => Err(NotCollapsed::Full(head.pfn())),
                        Ok(Share::Slot(mapped)) => Ok(Some(mapped)),
                        Ok(Share::Failed) => Ok(None),
                        Err(_) => Err(NotCollapsed::OutOfMemory),
                    }
                })?;
                if shared.is_none() {
                    return Ok((end, None));
                }
            }
            at = if pte.is_blank() { at.add(map.bytes()) } else { pte.va.add(pte.size.bytes()) };
        }
        self.fold(Level::L3, end);
        Ok((end, None))
    }

    /// Folds the group of entries of `level` that ends at `end`, if they can be one.
    fn fold(&self, level: Level, end: VirtAddr) {
        let Slot { mm, space, .. } = self.slot;
        let start = VirtAddr::new(end.raw() - CONT_ENTRIES as u64 * level.entry_bytes());
        let mut tree = space.ptl.lock();
        let _held = Held::of_hugetlb(mm);
        let mut stretch = tree.stretch(space.flusher(mm), start, end);
        if stretch.level() == level && stretch.len() == CONT_ENTRIES {
            stretch.fold(mm);
        }
    }
}
