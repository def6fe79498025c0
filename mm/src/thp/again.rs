//! Ranges that could not be promoted are asked for again: the notes of each space ([`super::holes`]), and who asks.
//!
//! One request stands in the queue for all ranges that a space wants. An attempt takes them one after the other; each
//! has its note until it is known what came of it.
//!
//! | why it failed | what follows |
//! |---|---|
//! | `Referenced`, and another space maps the page; `Shared` | it rests: the relative's next call or end makes it wanted |
//! | `Referenced` else, `InProgress` | tried again soon, [`MOST_ATTEMPTS`] times; then it rests |
//! | `BelowThreshold` | it sleeps: the fault that reaches the threshold asks, and so does a relative |
//! | anything else | forgotten |
#![forbid(unsafe_code)]

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::{Pfn, VirtAddr};

use super::holes::{Ask, Noted, Outcome, REST_NS};
use super::promote::{self, PromoteError};
use super::promoter::{MOST_ATTEMPTS, Pushed, Request, What, push_where, wake};
use super::record::Queued;
use super::reunite;
use crate::Mm;
use crate::kalloc::KArc;
use crate::rmap;
use crate::space::AddressSpace;

/// When the next rest of any space is over, in nanoseconds since boot.
pub(super) struct Rests(AtomicU64);

impl Rests {
    const NEVER: u64 = u64::MAX;

    pub(super) const fn new() -> Self {
        Rests(AtomicU64::new(Self::NEVER))
    }
    /// `None`: nothing rests.
    pub(super) fn next(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&next| next != Self::NEVER)
    }
}

/// Takes note that the range of `va` has lost a page of its block to a fork. Whoever shared that page may have given it
/// up just now, so the range is looked at after a rest in any case. The caller holds no lock of rank 34 or above.
pub fn note_hole(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    rest(mm, space, va);
}

/// The range of `va` is to be tried after a rest.
pub(super) fn rest(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    if space.holes.note(&space.lineage, va, Ask::Rested) == Noted::New {
        begin_rest(mm, space);
    }
}

/// Asks for the promotion of a range that has lost pages of its block to a fork, and has one of them again. The caller
/// holds no lock of rank 30 or above.
pub fn submit_hole(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) {
    space.holes.note(&space.lineage, va, Ask::News);
    if offer_holes(mm, space, 0) {
        wake(mm);
    }
}

/// The range of `va` could not be promoted, since pages are shared or in use: takes note, and asks for it once more, as
/// they may have been given up before there was a note. Whether something is queued that was not before.
pub(super) fn keep(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr, attempts: u8) -> bool {
    space.holes.note(&space.lineage, va, Ask::Now);
    offer_holes(mm, space, attempts)
}

/// `space` has given up pages of `[start, end)`: asks for the noted ranges there of all who may have shared them, which
/// are all of its family tree. Where pages may have moved since they were shared, for all noted ranges. The caller
/// holds no lock of rank 30 or above.
#[inline]
pub fn tell_relatives(mm: &Mm, space: &AddressSpace, range: (VirtAddr, VirtAddr)) {
    if space.lineage.notes() != 0 {
        tell(mm, space, range);
    }
}

#[cold]
fn tell(mm: &Mm, space: &AddressSpace, range: (VirtAddr, VirtAddr)) {
    let everywhere = (VirtAddr::new(0), VirtAddr::new(u64::MAX));
    let range = if space.lineage.may_have_moved() { everywhere } else { range };
    let mut offered = false;
    space.lineage.hold().for_each_relative(|relative| {
        offered |= relative.holes.want(range) && offer_holes(mm, relative, 0);
    });
    if offered {
        wake(mm);
    }
}

/// Queues a request for all that the space wants, unless that is nothing or is queued. The notes are marked, under their
/// lock; once they are closed nothing is queued for them any more. Whether something is queued that was not before.
pub(super) fn offer_holes(mm: &Mm, space: &KArc<AddressSpace>, attempts: u8) -> bool {
    if !space.holes.lock().waits() {
        return false;
    }
    let request = Request { space: space.clone(), what: What::Holes, attempts };
    let pushed = push_where(mm, request, |push| {
        let mut notes = space.holes.lock();
        if !notes.waits() {
            return None;
        }
        Some(push().map(|()| notes.set_queued(Queued::Yes)))
    });
    if pushed == Pushed::NoMemory {
        space.holes.put_off();
        begin_rest(mm, space);
    }
    pushed == Pushed::Yes
}

/// Tries every range that the space wants. How many were promoted.
pub(super) fn attempt(mm: &Mm, request: Request) -> u64 {
    let Request { space, attempts, .. } = request;
    space.holes.lock().set_queued(Queued::No);
    let (mut promoted, mut from) = (0, VirtAddr::new(0));
    while let Some(range) = space.holes.try_next(from) {
        from = range.add(1);
        let result = match promote::promote_range(mm, &space, range) {
            Err(PromoteError::NoReservation) => reunite::anew(mm, &space, range),
            result => result,
        };
        promoted += u64::from(result.is_ok());
        let outcome = match outcome(mm, &space, result) {
            Outcome::Again if attempts + 1 >= MOST_ATTEMPTS => Outcome::Rest,
            outcome => outcome,
        };
        space.holes.settle(&space.lineage, range, outcome);
    }
    begin_rest(mm, &space);
    offer_holes(mm, &space, attempts + 1);
    promoted
}

fn outcome(mm: &Mm, space: &AddressSpace, result: Result<(), PromoteError>) -> Outcome {
    match result {
        Err(PromoteError::BelowThreshold(_)) => Outcome::Sleep,
        Err(PromoteError::Shared(_)) => Outcome::Rest,
        Err(PromoteError::Referenced(pfn)) if is_mapped_elsewhere(mm, space, pfn) => Outcome::Rest,
        Err(error) if error.may_pass() => Outcome::Again,
        Ok(()) | Err(_) => Outcome::Over,
    }
}

/// Whether another space maps the folio of a frame: asked of the tables, which know under every way of counting.
fn is_mapped_elsewhere(mm: &Mm, space: &AddressSpace, pfn: Pfn) -> bool {
    let Some(folio) = mm.try_get_folio(pfn) else { return false };
    let found = rmap::rmap_walk(mm, folio.page(), |place, _| {
        if place.space.id == space.id { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    mm.put_folio(folio);
    found.is_break()
}

/// What rests in the space does so from now on, unless it has begun to. Without a thread that waits for an earlier one,
/// kpromoted is told.
fn begin_rest(mm: &Mm, space: &AddressSpace) {
    let Some(until) = space.holes.rest(mm.env.now_ns()) else { return };
    if mm.thp.promoter.rests.0.fetch_min(until, Ordering::Relaxed) > until {
        wake(mm);
    }
}

/// Asks for all whose rest is over at `now`. The caller holds no spinlock.
pub(super) fn end_rests(mm: &Mm, now: u64) {
    let rests = &mm.thp.promoter.rests.0;
    if now < rests.load(Ordering::Relaxed) {
        return;
    }
    rests.store(Rests::NEVER, Ordering::Relaxed);
    let mut at = mm.spaces.first();
    while let Some(space) = at {
        match space.holes.end_rest(now) {
            Some(until) => {
                rests.fetch_min(until, Ordering::Relaxed);
            }
            None => {
                offer_holes(mm, &space, MOST_ATTEMPTS - 1);
            }
        }
        at = mm.spaces.after(&space);
        if at.is_none() && space.holes.is_closed() {
            // It ends, and so the walk may have ended early.
            rests.fetch_min(now.saturating_add(REST_NS), Ordering::Relaxed);
        }
    }
}
