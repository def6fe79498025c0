//! Keeping other CPUs away, and how often that was done.
#![forbid(unsafe_code)]

use crate::Mm;
use crate::trace::Point;

/// Runs `f` while the scheduler's stopper holds every other CPU.
// Walk B.7: others are kept away, or need not be.
pub(super) fn stop_machine(mm: &Mm, mut f: impl FnMut()) {
    mm.stats.slice(Point::Hold, (1, || [0; 4]), |()| (0, [0; 4]), || mm.env.stop_machine(&mut f));
}

/// Runs `f` while an interrupt holds every other CPU.
pub(super) fn pause(mm: &Mm, mut f: impl FnMut()) {
    mm.stats.slice(Point::Hold, (1, || [0; 4]), |()| (0, [0; 4]), || mm.env.pause_others(&mut f));
}

/// Waits until whoever had read the count of a page, before it became a tail, has taken his reference or not.
pub(super) fn grace_period(mm: &Mm) {
    mm.stats.slice(Point::Grace, (1, || [0; 4]), |()| (0, [0; 4]), || mm.env.grace_period());
}
