//! Reservations are measured anew when a setting has changed by which they are ripe.
//!
//! ```text
//!   promotion_threshold=200   --> noted --> kpromoted: each reservation with 200 pages or more is submitted
//! ```
//! Otherwise a range is measured when a fault populates a page of it, so one that sees no more faults would never be
//! promoted by a threshold that was lowered, or by a mode that allows it again. The change itself costs one store; the
//! thread looks at all reservations when it runs next, R of one bucket at a time.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use super::promoter;
use super::record::{Key, Queued, Record};
use super::table::BUCKETS;
use super::{Thp, khugepaged};
use crate::Mm;

/// Whether a setting has changed since the reservations were measured last.
pub(super) struct Measure(AtomicBool);

impl Measure {
    pub(super) const fn new() -> Self {
        Measure(AtomicBool::new(false))
    }
}

impl Thp {
    /// Threshold or mode have changed.
    pub(super) fn measure_anew(&self) {
        self.measure.0.store(true, Ordering::Release);
    }
}

/// A setting was changed: wakes the threads that go by it. The caller holds no spinlock above rank 80.
pub fn changed(mm: &Mm) {
    khugepaged::wake(mm);
    promoter::wake(mm);
}

/// Submits every reservation that is ripe and not queued, if a setting has changed. The caller holds no lock.
pub(super) fn again(mm: &Mm) {
    if !mm.thp.measure.0.swap(false, Ordering::AcqRel) {
        return;
    }
    for n in 0..BUCKETS {
        let (mut refused, mut most) = (0, mm.thp.table.lock_nth(n).iter().count());
        while most > 0
            && let Some(key) = ripe(mm, n, refused)
        {
            match mm.spaces.find(key.space) {
                Some(space) => promoter::submit(mm, &space, key.range),
                // It ends.
                None => refused += 1,
            }
            most -= 1;
        }
    }
}

/// A reservation of the bucket that is ripe and not queued, behind so many others.
fn ripe(mm: &Mm, bucket: usize, others: usize) -> Option<Key> {
    let threshold = u64::from(mm.thp.threshold());
    let bucket = mm.thp.table.lock_nth(bucket);
    let ripe = |record: &Record| record.queued() == Queued::No && record.populated() >= threshold;
    bucket.iter().filter(ripe).nth(others).map(Record::key)
}
