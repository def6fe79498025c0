//! The queue of partially populated reservations, in the order in which they were last populated or depopulated.
//!
//! ```text
//!   reserve    populate page i                        full, or claimed by a promotion
//!   Outside -----------------> [ least recent .. .. most recent ] -----------------> Full
//!                                  ^ memory is short: broken first       `----------- page given back, claim undone
//! ```
//! Whoever changes the population map of a reservation, under R, calls `settle`: a reservation that is populated in
//! part goes to the end, a full one leaves. So what stands in front has not changed for the longest time, and is the
//! least likely to be promoted soon (FreeBSD: `vm_reserv_populate`, `vm_reserv_depopulate`).
//!
//! **Not at each fault.** FreeBSD moves a reservation once per tick of its clock. Here a reservation stays where it is
//! while no more than one in [`SLACK`] of the queue has moved behind it, so that a fault seldom takes the lock where
//! there are many; with few of them the order is exact.
//!
//! **Locks.** U, taken under R, and under T where a promotion ends. Pressure comes from the queue to the reservation, against that order: it reads a key under
//! U, lets U go, tries R, and looks again; where R is held, the reservation is busy and the next one is tried (FreeBSD:
//! `vm_reserv_reclaim_inactive`).
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::sync::SpinLock;

use super::popmap::PAGES;
use super::record::{Key, Record};
use super::table::Unlinked;
use crate::Mm;
use crate::locks;
use crate::page::PageQueue;
use crate::stats::Counter;

/// A reservation stays in its place while fewer than one in so many have moved behind it.
pub const SLACK: u64 = 16;
/// So many are looked at in one hold of the lock.
const LOOK: usize = 64;

/// Whether a reservation is in the queue, and why not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// No page is populated; or it is not in the table.
    Outside,
    /// Some pages are populated: it is in the queue.
    Partial,
    /// All pages are populated, or taken by a promotion.
    Full,
}

impl Place {
    /// The place of a reservation of which so many pages are populated.
    pub(super) const fn of(populated: u64) -> Self {
        match populated {
            0 => Place::Outside,
            n if n < PAGES as u64 => Place::Partial,
            _ => Place::Full,
        }
    }
    const fn gauge(self) -> Option<Counter> {
        match self {
            Place::Outside => None,
            Place::Partial => Some(Counter::NrThpResPartpop),
            Place::Full => Some(Counter::NrThpResFullpop),
        }
    }
}

/// What a record says of the queue, in one word: 2 bits of place, 10 of how many pages are populated, 52 of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Where it is.
    pub place: Place,
    /// How many pages are populated: 0..=512.
    pub populated: u64,
    /// How many moves there had been in the queue when it last moved.
    pub moved: u64,
}

const POPULATED_SHIFT: u32 = 2;
const MOVED_SHIFT: u32 = 12;

impl Standing {
    pub(super) const fn word(self) -> u64 {
        self.moved << MOVED_SHIFT | self.populated << POPULATED_SHIFT | self.place as u64
    }
    pub(super) const fn from_word(word: u64) -> Self {
        let place = match word & 3 {
            1 => Place::Partial,
            2 => Place::Full,
            _ => Place::Outside,
        };
        let populated = word >> POPULATED_SHIFT & ((1 << (MOVED_SHIFT - POPULATED_SHIFT)) - 1);
        Standing { place, populated, moved: word >> MOVED_SHIFT }
    }
}

/// The queue, and how many moves there have been in it.
pub(super) struct Queue {
    /// U.
    order: SpinLock<PageQueue>,
    moves: AtomicU64,
}

impl Queue {
    pub(super) const fn new() -> Self {
        let order = SpinLock::new(locks::RESERVATION_ORDER, PageQueue::new());
        Queue { order, moves: AtomicU64::new(0) }
    }
}

/// Other pages of `record` are populated than before. The caller has changed that, under R.
#[inline]
pub(super) fn settle(mm: &Mm, record: Record) {
    let old = record.standing();
    let place = Place::of(old.populated);
    let since = mm.thp.queue.moves.load(Ordering::Relaxed).wrapping_sub(old.moved);
    let recent = since <= mm.stats.get(Counter::NrThpResPartpop) / SLACK;
    if old.place != place || place == Place::Partial && !recent {
        go(mm, record, old, place);
    }
}

/// A reservation is about to leave the table, under R.
pub(super) fn leave(mm: &Mm, record: Record) {
    let old = record.standing();
    if old.place != Place::Outside {
        go(mm, record, old, Place::Outside);
    }
}

fn go(mm: &Mm, record: Record, old: Standing, to: Place) {
    let from = old.place;
    let queue = &mm.thp.queue;
    let mut order = queue.order.lock();
    if from == Place::Partial {
        order.remove(record.link());
    }
    let moved = match to {
        Place::Partial => {
            order.push_last(record.link());
            queue.moves.fetch_add(1, Ordering::Relaxed) + 1
        }
        Place::Outside | Place::Full => 0,
    };
    record.set_standing(Standing { place: to, moved, ..old });
    drop(order);
    if from != to {
        from.gauge().into_iter().for_each(|gauge| mm.stats.sub(gauge, 1));
        to.gauge().into_iter().for_each(|gauge| mm.stats.inc(gauge));
    }
}

/// Takes the reservation out of queue and table that has not changed for the longest time, of those for which `wanted`
/// holds; one that is busy is passed over. `wanted` is asked twice, without R and under it. The caller holds no lock of
/// rank 40 or above.
pub(super) fn take_least_recent(mm: &Mm, wanted: impl Fn(Record) -> bool) -> Option<Unlinked> {
    let mut passed = 0;
    loop {
        let (record, key) = match look(mm, passed, &wanted) {
            Look::Wanted(place, record, key) => {
                passed = place + 1;
                (record, key)
            }
            Look::Further => {
                passed += LOOK;
                continue;
            }
            Look::End => return None,
        };
        let Some(mut bucket) = mm.thp.table.try_lock(key) else { continue };
        let same = bucket.find(key) == Some(record) && record.standing().place == Place::Partial;
        if same && wanted(record) {
            return Some(bucket.unlink(mm, record));
        }
    }
}

/// What a look at a part of the queue found.
enum Look {
    /// A reservation, and its place.
    Wanted(usize, Record, Key),
    /// None here, but there are more.
    Further,
    /// None here, and no more.
    End,
}

/// Looks at [`LOOK`] reservations behind the first `passed`. What is in the queue has its record whole, since it leaves
/// the queue before that is erased.
fn look(mm: &Mm, passed: usize, wanted: &impl Fn(Record) -> bool) -> Look {
    let order = mm.thp.queue.order.lock();
    if passed as u64 >= order.len() {
        return Look::End;
    }
    let records = order.iter().map(Record::of_link).enumerate().skip(passed).take(LOOK);
    let found = records.into_iter().find(|&(_, record)| wanted(record));
    found.map_or(Look::Further, |(place, record)| Look::Wanted(place, record, record.key()))
}

/// Runs `f` on the queue, locked.
pub(super) fn with_queue<R>(mm: &Mm, f: impl FnOnce(&PageQueue) -> R) -> R {
    f(&mm.thp.queue.order.lock())
}
