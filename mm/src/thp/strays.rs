//! Strays: pages of a range that stand elsewhere than in its block, since a fork.
//!
//! ```text
//!   fork     parent [ r- A3 ]   child [ r- A3 ]     page 3 of the block is shared
//!   write    parent [ rw X  ]   child [ r- A3 ]     the parent's copy is a stray; its slot of the block is the child's
//!   exit     parent [ rw X  ]                       A3 has the reservation's reference alone
//!   promote  parent [ block ]                       X is copied to A3, and freed
//! ```
//! So a reservation outlives a fork: what is promoted in place later is copied as far as the parent has written while
//! the child lived, and no further. (The reservations of 2018 were given up at the parent's first copy.)
//!
//! The copy is made while the range's entry is broken and flushed: nobody can write to the stray then. Under R and T,
//! so there are not many of them.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Desc, Level, Machine, PhysAddr, PhysMem};

use super::popmap::Popmap;
use super::record::Key;
use crate::Mm;
use crate::mapcount::{self, Run};
use crate::page::{FolioList, FolioRef, PageKind, PageRef};
use crate::pgtable::normal_page;

/// Most strays that one promotion brings back.
pub(super) const MOST: u64 = 64;

/// References to a page of the block that has a stray, and to the stray: the reservation's; the entry's.
pub(super) const SOLE: u32 = 1;

/// The stray that an entry maps, where it can be brought back to `own`, its page of the block. Under T.
pub(super) fn stray(entry: Desc, own: PageRef) -> Option<PageRef> {
    let page = normal_page(entry, Level::L3)?;
    (page.is_single(PageKind::Anon) && page.refcount() == SOLE && own.refcount() == SOLE).then_some(page)
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

/// The strays' mappings end; their entries' references are returned. `block` is the run that the range has now. Under
/// T; the table is not freed yet.
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
    released
}
