//! Memory pressure: what is given back, in which order, before anybody is killed for memory.
//!
//! | | what | what is lost | who has it |
//! |--:|---|---|---|
//! | 1 | reservations of huge pages | speed: their ranges go on with small pages | [`super::queue`] |
//! | 2 | parts of huge pages that nobody maps | nothing: the rest is mapped by pages | [`rmap::deferred`] |
//! | 3 | what promotions have filled with zeros, and nobody has used | a huge page each; where most was filled first | [`rmap::underused`] |
//! | 4 | other pages of huge pages that hold zeros, if so chosen | a huge page each | [`rmap::underused`] |
//! | 5 | a process: the largest | the process | the kernel, where a fault found nothing of the above |
//!
//! Each step is taken only where the one before it had nothing to give. Nothing sleeps and nothing is allocated on the
//! way but, in steps 3 and 4, tables, from what is kept for them.
//!
//! **Which reservations** (`reserve_reclaim=`). `all` is the first generation: every reservation goes at once. `lru` breaks
//! the one that was not populated or depopulated for the longest time, whole, and then the next, until there is what
//! was asked for: for single pages [`BATCH`] of them, so that the next faults need not come back at once; for a
//! contiguous request of fewer than 512 pages one reservation that has an aligned run of them, and the rest of its
//! pages with it. A reservation that is busy, its lock held or its promotion under way, is passed over, unless there is
//! no other (FreeBSD: `vm_reserv_reclaim_inactive`, `vm_reserv_reclaim_contig`). Populated pages stay where they are,
//! as single pages.
//!
//! | allocation | looks here |
//! |---|---|
//! | pages of processes, pages of objects, page tables, struct pages, hugetlb folios | yes |
//! | huge pages, also of MADV_COLLAPSE, and reservations | no: they are had where a block is free, or not at all |
//! | kernel memory | no: the heap may be asked with locks held that stand above R; a *fault* that fails for it looks here, and so do some system calls ([`Mm::reclaim`]); others fail with ENOMEM |
#![forbid(unsafe_code)]

use arch::Order;

use super::queue::{self, Place};
use super::reservation::{self, Cause};
use super::table::BUCKETS;
use crate::Mm;
use crate::config::ReserveReclaim;
use crate::page::PageKind;
use crate::rmap;
use crate::trace::Point;

/// Pages that are made free where one is asked for, if there are so many (4 KiB units).
pub const BATCH: u64 = 32;

/// An allocation of 2^`order` pages of `kind` found no memory: makes some free, where that is for such an
/// allocation to do. Returns how many pages became free (4 KiB units); 0: do not try again. The caller holds no lock of
/// rank 30 or above.
pub(crate) fn make_room(mm: &Mm, order: Order, kind: PageKind) -> u64 {
    let entitled = match kind {
        PageKind::Anon | PageKind::Shmem => order < Order::PMD,
        PageKind::Table | PageKind::Vmemmap | PageKind::Hugetlb => true,
        _ => false,
    };
    match order {
        _ if !entitled => 0,
        Order::PAGE => give_back(mm, Need::Pages(BATCH)),
        order if order < Order::PMD => give_back(mm, Need::Run(order)),
        order => give_back(mm, Need::Pages(order.pages())),
    }
}

/// What is to become free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// So many pages, anywhere.
    Pages(u64),
    /// A naturally aligned run, of fewer than 512 pages.
    Run(Order),
}

/// The first step that has something to give. Returns how many pages that was.
fn give_back(mm: &Mm, need: Need) -> u64 {
    let pages = match need {
        Need::Pages(pages) => pages,
        Need::Run(order) => order.pages(),
    };
    let steps: [&dyn Fn() -> u64; 4] = [
        &|| give_back_reservations(mm, need),
        &|| rmap::deferred::split_deferred(mm),
        &|| rmap::underused::split_filled(mm, pages),
        &|| rmap::underused::split_underused(mm, pages),
    ];
    let freed = || steps.iter().map(|step| step()).find(|&freed| freed != 0).unwrap_or(0);
    mm.stats.slice(Point::Reclaim, (0, || [pages, 0, 0, 0]), |&freed: &u64| (0, [freed, 0, 0, 0]), freed)
}

fn give_back_reservations(mm: &Mm, need: Need) -> u64 {
    match (mm.thp.reserve_reclaim(), need) {
        (ReserveReclaim::All, _) => drop_reservations(mm),
        (ReserveReclaim::Lru, Need::Pages(pages)) => break_least_recent(mm, pages),
        (ReserveReclaim::Lru, Need::Run(order)) => break_for_run(mm, order),
    }
}

/// Releases every reservation of every space, and returns how many unused pages that freed (4 KiB units). Takes R of
/// one bucket at a time and no sleeping lock, so a fault that holds M may call it; the caller holds no lock of rank 40
/// or above. A promotion under way notices, and gives up.
pub fn drop_reservations(mm: &Mm) -> u64 {
    reservation::release_where(mm, Cause::Pressure, |_| true)
}

/// Breaks the least recently populated reservations, one at a time, until so many pages are free or no reservation has
/// any. Returns how many that were (4 KiB units), 0 only where there was nothing to break. As [`drop_reservations`]
/// otherwise; a promotion under way is left alone.
pub fn break_least_recent(mm: &Mm, pages: u64) -> u64 {
    let mut freed = 0;
    while freed < pages {
        let Some(unlinked) = queue::take_least_recent(mm, |_| true) else { break };
        freed += reservation::release(mm, unlinked, Cause::Pressure);
    }
    if freed == 0 { break_busy(mm) } else { freed }
}

/// Breaks one reservation though it is busy: there is no other. One that is new and has no page yet may be among them.
fn break_busy(mm: &Mm) -> u64 {
    (0..BUCKETS)
        .find_map(|n| {
            let mut bucket = mm.thp.table.lock_nth(n);
            let record = bucket.iter().find(|record| record.standing().place != Place::Full)?;
            let unlinked = bucket.unlink(mm, record);
            drop(bucket);
            Some(reservation::release(mm, unlinked, Cause::Pressure))
        })
        .unwrap_or(0)
}

/// Breaks the least recently populated reservation with a naturally aligned run of 2^`order` pages that nobody has
/// populated, fewer than 512. Returns how many pages that freed (4 KiB units), the run among them; 0: there is none. As
/// [`break_least_recent`] otherwise.
pub fn break_for_run(mm: &Mm, order: Order) -> u64 {
    let serves = |popmap: super::popmap::Popmap| popmap.free_run(order).is_some();
    let found = queue::take_least_recent(mm, |record| serves(record.popmap()));
    found.map_or(0, |unlinked| reservation::release(mm, unlinked, Cause::Pressure))
}

impl Mm {
    /// Gives back so many pages (4 KiB units), or all that memory management keeps though nobody needs it, in the order
    /// of the steps above. Returns how many that were. The caller holds no lock of rank 30 or above.
    pub fn reclaim(&self, pages: u64) -> u64 {
        let mut freed = 0;
        while freed < pages {
            match give_back(self, Need::Pages(pages - freed)) {
                0 => break,
                more => freed += more,
            }
        }
        freed
    }
}
