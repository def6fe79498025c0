//! Strays: pages of a range that stand elsewhere than in its block, since a fork.
//!
//! ```text
//!   fork     parent [ r- A3 ]   child [ r- A3 ]     page 3 of the block is shared
//!   write    parent [ rw X  ]   child [ r- A3 ]     the parent's copy is a stray; its slot of the block is the child's
//!   exit     parent [ rw X  ]                       nobody but the reservation, or the folio, has A3 any more
//!   promote  parent [ block ]                       X is copied to A3, and freed
//! ```
//! So a reservation, or a huge page, outlives a fork: what is promoted in place later is copied as far as the parent
//! has written while the child lived, and no further. (The reservations of 2018 were given up at the parent's first
//! copy.)
//!
//! The copy is made while the range's entry is broken and flushed: nobody can write to the stray then. That is under T,
//! so one break brings back [`MOST`] pages at most. Where there are more the same table is linked again, with fewer
//! strays, and T is let go before the next ones follow. T is one lock a space, and nearly all of a round is under it: a
//! fault of any range of the space waits for the round that is under way, and may come between two of them.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Desc, Level, Machine, PhysAddr, PhysMem};

use super::PromoteError;
use super::exchange::{exchange, has_rights, table_of};
use super::held::Held;
use super::popmap::Popmap;
use super::record::{Key, Record};
use crate::Mm;
use crate::mapcount::{self, Run};
use crate::page::{FolioList, FolioRef, PageKind, PageRef};
use crate::pgtable::{Clean, normal_page};
use crate::space::{AddressSpace, Vma, range};
use crate::stats::Counter;
use crate::trace::Point;

/// Most pages that are brought back, or filled, while the range's entry is broken once.
pub(super) const MOST: u64 = 64;

/// References to a page of the block that has a stray, and to the stray: the reservation's; the entry's.
pub(super) const SOLE: u32 = 1;

/// The stray that an entry maps, where it can be brought back to `own`, its page of the block. Under T.
pub(super) fn stray(entry: Desc, own: PageRef) -> Option<PageRef> {
    sole(entry).filter(|_| own.refcount() == SOLE)
}

/// The single page of anonymous memory that an entry maps, and that nobody else has.
pub(super) fn sole(entry: Desc) -> Option<PageRef> {
    let page = normal_page(entry, Level::L3)?;
    (page.is_single(PageKind::Anon) && page.refcount() == SOLE).then_some(page)
}

fn stray_at(table: PhysAddr, i: usize) -> Option<PageRef> {
    normal_page(Machine::read_desc(table.add(8 * i as u64)), Level::L3)
}

/// Copies all `strays`, which the entries of `table` map, to their pages of the block. The table is broken and flushed,
/// and those pages are frozen.
pub(super) fn bring_back(strays: &Popmap, table: PhysAddr, block: PageRef) {
    for i in strays.iter() {
        if let Some(page) = stray_at(table, i) {
            Machine::copy(block.nth(i as u64).pfn().phys(), page.pfn().phys(), PAGE_SIZE);
        }
    }
}

/// The pages of the block to which `strays` were copied will be executed: no CPU's instruction cache may hold what they
/// held before.
pub(super) fn may_be_executed(strays: &Popmap, block: PageRef) {
    for i in strays.iter() {
        Machine::sync_icache(block.nth(i as u64).pfn().phys(), PAGE_SIZE);
    }
}

/// The strays' mappings end; their entries' references are returned. `block` is the run that the range has now. Under
/// T, so that who sees the range huge sees them counted; the table is not freed yet.
pub(super) fn release(mm: &Mm, strays: &Popmap, table: PhysAddr, (key, block): (Key, &Run)) -> FolioList {
    let mut released = FolioList::new();
    for i in strays.iter() {
        if let Some(page) = stray_at(table, i) {
            let run =
                Run { head: page, first: page, level: Level::L3, table, top: table, va: key.va(i), ..*block };
            mapcount::remove(mm, &run);
            released.push(FolioRef::from_raw(page));
        }
    }
    mm.stats.add(Counter::ResPagesBroughtBack, released.len());
    released
}

/// Gives up what [`release`] returned. No spinlock is held.
pub(super) fn put(mm: &Mm, mut released: FolioList) {
    while let Some(stray) = released.pop() {
        mm.put_folio(stray);
    }
}

/// A range whose pages come home, and the block they come to.
pub(super) struct Home<'h> {
    pub(super) mm: &'h Mm,
    pub(super) vma: &'h Vma,
    pub(super) key: Key,
    /// The first page of the block.
    pub(super) block: PageRef,
}

impl Home<'_> {
    /// The entry for page `i`, its page of the block, with all rights.
    fn leaf(&self, i: usize) -> Desc {
        range::leaf_for(self.mm, self.block.nth(i as u64).pfn().phys(), Level::L3, self.vma.prot)
    }

    /// Copies `strays` to their pages of the block and zeroes the pages of `holes`, where nothing is mapped but zeros;
    /// then the entries of both map those pages. Nobody else has any of them: the caller has frozen their references,
    /// and gives them one for each entry. `block` is the run that the range would be as a block. Under T. Returns the
    /// strays.
    pub(super) fn refill(
        &self,
        clean: &mut Clean<'_, 1>,
        (strays, holes): (&Popmap, &Popmap),
        block: &Run,
    ) -> FolioList {
        let Some(mut entries) = clean.below() else { return FolioList::new() };
        let table = entries.table();
        bring_back(strays, table, self.block);
        let released = release(self.mm, strays, table, (self.key, block));
        for i in holes.iter() {
            Machine::zero(self.block.nth(i as u64).pfn().phys(), PAGE_SIZE);
        }
        for i in strays.with(holes).iter() {
            let first = self.block.nth(i as u64);
            let head = first.head(self.mm.config.tails);
            let (level, top, va) = (Level::L3, table, self.key.va(i));
            mapcount::add(self.mm, &Run { head, first, level, table, top, va, ..*block });
            entries.write(i, self.leaf(i));
        }
        released
    }
}

/// Brings back the first [`MOST`] strays of a range that has a reservation and more of them than one promotion takes.
/// The caller holds M for reading and no spinlock.
///
/// # Errors
/// [`PromoteError`]; nothing has changed, but that the failure is counted.
pub(super) fn bring_back_some(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    key: Key,
) -> Result<(), PromoteError> {
    round(mm, space, vma, key)
        .inspect_err(|_| mm.stats.note(Point::PromoteFail, 1, || [key.range.raw(), 0, 0, 0]))
}

fn round(mm: &Mm, space: &AddressSpace, vma: &Vma, key: Key) -> Result<(), PromoteError> {
    let bucket = mm.thp.table.lock(key);
    let record = bucket.find(key).ok_or(PromoteError::NoReservation)?;
    let mut tree = space.ptl.lock();
    let _held = Held::begin(mm);
    let entry = tree.entry(space.flusher(mm), key.range, Level::L2).map_err(|_| PromoteError::NoTable)?;
    let table = table_of(&entry)?;
    let home = Home { mm, vma, key, block: record.block() };
    let strays = find(&home, record, table).lowest(MOST as usize);
    let own = |i: usize| record.page(i);
    // None of those that were counted can be brought back any more.
    let Some(first) = strays.iter().next() else { return Err(PromoteError::Shared(key.range)) };
    if let Some(stuck) = strays.iter().find(|&i| !own(i).freeze(SOLE)) {
        strays.iter().take_while(|&i| i != stuck).for_each(|i| own(i).set_refcount(SOLE));
        return Err(PromoteError::Referenced(own(stuck).pfn()));
    }
    let run = range::run_of(space, vma, &entry, own(first));
    let link = entry.desc();
    let mut released = FolioList::new();
    exchange(mm, entry, link, |clean| released = home.refill(clean, (&strays, &Popmap::EMPTY), &run)).keep();
    strays.iter().for_each(|i| own(i).set_refcount(SOLE + 1));
    drop((tree, bucket));
    put(mm, released);
    Ok(())
}

/// Where populated pages of the reservation have strays that can be brought back. Under R and T.
fn find(home: &Home<'_>, record: Record, table: PhysAddr) -> Popmap {
    let populated = record.popmap();
    let mut strays = Popmap::EMPTY;
    for i in populated.iter() {
        let desc = Machine::read_desc(table.add(8 * i as u64));
        let flags = home.vma.prot.leaf_flags();
        if stray(desc, record.page(i)).is_some() && has_rights(desc, flags) {
            strays.insert(i);
        }
    }
    strays
}
