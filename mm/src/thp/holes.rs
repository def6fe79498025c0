//! Notes of ranges of a space that are to be promoted as soon as what stands in the way has gone: mostly another space
//! that has shared pages of them since a fork.
//!
//! ```text
//!   a page of the range's reservation, or of its huge page, is copied for a write --> [ rests ]
//!   a promotion fails, since pages are shared or in use                           --> [ wanted ]
//!
//!   [ rests ]    the rest is over                                  --> [ wanted ]
//!   any          a relative gives up pages of the range, or ends;
//!                a write to a page that is the space's own again   --> [ wanted ]
//!   [ wanted ]   kpromoted begins an attempt                       --> [ tried ]
//!   [ tried ]    promoted, or nothing to be had                    --> forgotten
//!                in use                                            --> [ wanted ], so many times; then [ rests ]
//!                shared                                            --> [ rests ]
//!                too few pages are populated                       --> [ asleep ], until there is news
//! ```
//! A *relative* is any other space of the same family tree. All of them hear of every call that takes pages away:
//! munmap and what else unmaps, MADV_DONTNEED and its like, a collapse, and the end. A copy for a write tells nobody:
//! that would be news with each page. The rests make good what is lost by that.
//!
//! **No news is missed.** A note stands from before an attempt until its outcome is known. News that come meanwhile
//! make it wanted again, and then the outcome forgets nothing. Who has to tell looks, after he has given pages up,
//! whether there are notes ([`crate::space::lineage`]); who takes a note looks at the pages after that.
//!
//! **Rests.** What is shared, or was in use time and again, is tried again after a rest, the first time after
//! [`REST_NS`], then after twice as long each time, up to [`LONGEST_REST_NS`], and all resting ranges of a space at once. So
//! what holds a page for long only delays, and a child that lives for long costs little.
//!
//! A note is a hint. There are [`MOST`] of them at most, and where there is no memory for one it is not taken: then the
//! next write of the range to a page that has become the space's own again asks for the range ([`super::promoter`]),
//! or a collapse repairs it. A range that is unmapped or moved keeps its note until the next request finds nothing
//! there.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::sync::{SpinGuard, SpinLock};
use arch::{PageSize, VirtAddr};

use super::record::Queued;
use crate::kalloc::KAlloc;
use crate::locks;
use crate::space::lineage::Lineage;

/// Most ranges of one space that are remembered: 8 GiB.
pub const MOST: usize = 4096;
/// After so many nanoseconds what rests for the first time is tried again.
pub const REST_NS: u64 = 160_000_000;
/// What rests is tried again after so many nanoseconds at most.
pub const LONGEST_REST_NS: u64 = REST_NS << MOST_DOUBLINGS;
const MOST_DOUBLINGS: u32 = 6;

/// The notes of one space.
pub struct Holes(SpinLock<Notes>);

/// The notes, locked.
pub(crate) struct Notes {
    /// By address, ascending.
    ranges: Vec<Note, KAlloc>,
    queued: Queued,
    /// The space has ended: no more are taken.
    closed: Closed,
    rests: Rests,
}

/// A range, by its first address.
#[derive(Clone, Copy)]
struct Note {
    range: VirtAddr,
    state: State,
}

/// What is to be done about a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing, before there is news.
    Asleep,
    /// An attempt.
    Wanted,
    /// An attempt is under way, and there was no news since it began.
    Tried,
    /// An attempt, when the space's rest is over.
    Rests,
}

/// When those that rest are wanted again.
#[derive(Clone, Copy)]
struct Rests {
    /// How many there have been since there was news.
    count: u32,
    /// In nanoseconds since boot.
    until: u64,
}

/// Whether notes are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    Yes,
    No,
}

/// When a range is to be tried of which a note is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// At once. A range that is noted and rests goes on resting.
    Now,
    /// At once, for there is news.
    News,
    /// After a rest.
    Rested,
}

/// What became of a note that was to be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Noted {
    /// It was taken.
    New,
    /// It stood already.
    Before,
    /// It was not taken: there are too many, or there is no memory, or the space has ended.
    No,
}

/// What came of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The range is huge, or never will be for what is known of it.
    Over,
    /// It is to wait for news.
    Sleep,
    /// It is to be tried again soon.
    Again,
    /// It is to be tried again after a rest.
    Rest,
}

impl Holes {
    /// Of a new space.
    #[must_use]
    pub const fn new() -> Self {
        let notes = Notes {
            ranges: Vec::new_in(KAlloc),
            queued: Queued::No,
            closed: Closed::No,
            rests: Rests { count: 0, until: 0 },
        };
        Holes(SpinLock::new(locks::HOLES, notes))
    }

    pub(crate) fn lock(&self) -> SpinGuard<'_, Notes> {
        self.0.lock()
    }

    /// Takes note of the range of `va`. `lineage` is the space's. The caller holds no lock of rank 34 or above.
    pub(super) fn note(&self, lineage: &Lineage, va: VirtAddr, ask: Ask) -> Noted {
        let range = range_of(va);
        let mut notes = self.lock();
        match notes.find(range) {
            Ok(place) => {
                let state = &mut notes.ranges[place].state;
                if ask == Ask::News || ask == Ask::Now && *state == State::Asleep {
                    *state = State::Wanted;
                }
                Noted::Before
            }
            Err(place) => {
                let full = notes.closed == Closed::Yes || notes.ranges.len() >= MOST;
                if full || notes.ranges.try_reserve(1).is_err() {
                    return Noted::No;
                }
                let state = if ask == Ask::Rested { State::Rests } else { State::Wanted };
                notes.ranges.insert(place, Note { range, state });
                lineage.count_notes(1);
                Noted::New
            }
        }
    }

    /// How many ranges are noted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().ranges.len()
    }

    /// There is news of `[start, end)`. Whether that was noted: then it is wanted now.
    pub(super) fn want(&self, (start, end): (VirtAddr, VirtAddr)) -> bool {
        let mut notes = self.lock();
        let first = range_of(start);
        let from = notes.ranges.partition_point(|note| note.range < first);
        let mut wanted = false;
        for note in notes.ranges[from..].iter_mut().take_while(|note| note.range < end) {
            note.state = State::Wanted;
            wanted = true;
        }
        if wanted {
            notes.rests = Rests { count: 0, until: 0 };
        }
        wanted
    }

    /// The first range at `from` or above that is wanted, for an attempt.
    pub(super) fn try_next(&self, from: VirtAddr) -> Option<VirtAddr> {
        let mut notes = self.lock();
        let from = notes.ranges.partition_point(|note| note.range < from);
        let note = notes.ranges[from..].iter_mut().find(|note| note.state == State::Wanted)?;
        note.state = State::Tried;
        Some(note.range)
    }

    /// What came of the attempt, if there was no news since it began.
    pub(super) fn settle(&self, lineage: &Lineage, range: VirtAddr, outcome: Outcome) {
        let mut notes = self.lock();
        let Ok(place) = notes.find(range) else { return };
        if notes.ranges[place].state != State::Tried {
            return;
        }
        notes.ranges[place].state = match outcome {
            Outcome::Over => {
                notes.ranges.remove(place);
                return lineage.discount_notes(1);
            }
            Outcome::Sleep => State::Asleep,
            Outcome::Again => State::Wanted,
            Outcome::Rest => State::Rests,
        };
    }

    /// The rest of those that rest begins at `now`, unless it has begun. When it is over.
    pub(super) fn rest(&self, now: u64) -> Option<u64> {
        let mut notes = self.lock();
        if !notes.has(State::Rests) {
            return None;
        }
        if notes.rests.until <= now {
            let doublings = notes.rests.count.min(MOST_DOUBLINGS);
            notes.rests = Rests { count: doublings + 1, until: now + (REST_NS << doublings) };
        }
        Some(notes.rests.until)
    }

    /// Nobody can be asked for what is wanted: it rests.
    pub(super) fn put_off(&self) {
        let mut notes = self.lock();
        let wanted = notes.ranges.iter_mut().filter(|note| note.state == State::Wanted);
        wanted.for_each(|note| note.state = State::Rests);
    }

    /// What rests is wanted, if its rest is over at `now`; else when it will be.
    pub(super) fn end_rest(&self, now: u64) -> Option<u64> {
        let mut notes = self.lock();
        if !notes.has(State::Rests) {
            return None;
        }
        if notes.rests.until > now {
            return Some(notes.rests.until);
        }
        let resting = notes.ranges.iter_mut().filter(|note| note.state == State::Rests);
        resting.for_each(|note| note.state = State::Wanted);
        None
    }

    /// Whether the space has ended, or is about to.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed == Closed::Yes
    }

    /// The space ends: forgets all, and takes no more. The caller holds no lock of rank 34 or above.
    pub(super) fn close(&self, lineage: &Lineage) {
        let mut notes = self.lock();
        notes.closed = Closed::Yes;
        let ranges = core::mem::replace(&mut notes.ranges, Vec::new_in(KAlloc));
        lineage.discount_notes(ranges.len());
        drop(notes);
        drop(ranges);
    }
}

fn range_of(va: VirtAddr) -> VirtAddr {
    va.align_down(PageSize::Size2M.bytes())
}

#[cfg(test)]
impl Holes {
    /// Notes what is no range: damage for the checks to find.
    pub(crate) fn spoil(&self) {
        self.lock().ranges.push(Note { range: VirtAddr::new(1), state: State::Asleep });
    }

    /// Loses the note of a range. Whether there was one.
    pub(super) fn lose(&self, lineage: &Lineage, range: VirtAddr) -> bool {
        let mut notes = self.lock();
        let Ok(place) = notes.find(range) else { return false };
        notes.ranges.remove(place);
        lineage.discount_notes(1);
        true
    }
}

impl Default for Holes {
    fn default() -> Self {
        Self::new()
    }
}

impl Notes {
    fn find(&self, range: VirtAddr) -> Result<usize, usize> {
        self.ranges.binary_search_by_key(&range, |note| note.range)
    }
    fn has(&self, state: State) -> bool {
        self.ranges.iter().any(|note| note.state == state)
    }
    /// Whether there is something to ask for that was not asked for.
    pub(super) fn waits(&self) -> bool {
        self.queued == Queued::No && self.has(State::Wanted)
    }
    pub(crate) fn set_queued(&mut self, queued: Queued) {
        self.queued = queued;
    }
    /// Whether each range is aligned, and above the one before.
    pub(super) fn is_sound(&self) -> bool {
        let aligned = self.ranges.iter().all(|note| note.range.is_aligned(PageSize::Size2M.bytes()));
        aligned && self.ranges.is_sorted_by(|a, b| a.range < b.range) && self.ranges.len() <= MOST
    }
    pub(super) fn queued(&self) -> Queued {
        self.queued
    }
}
