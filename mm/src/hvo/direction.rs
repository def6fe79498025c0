//! A list of folios, there or back: each is planned, and [`MOST_ENTRIES`] entries at a time are carried out.
#![forbid(unsafe_code)]

use super::batch::{Batch, Plan};
use super::{BatchOutcome, HvoError, MOST_ENTRIES};
use crate::Mm;
use crate::page::PageRef;
use crate::trace::Point;

/// Optimising, or restoring.
pub(super) struct Direction {
    /// The slice of one batch.
    pub(super) point: Point,
    /// Checks a folio, and allocates what its remap needs.
    pub(super) plan: fn(&Mm, PageRef, &mut Batch) -> Result<Plan, HvoError>,
    /// Remaps a batch, and settles each of its folios.
    pub(super) remap: fn(&Mm, Batch, &mut BatchOutcome),
}

impl Direction {
    /// What has become of each folio.
    pub(super) fn carry_out(&self, mm: &Mm, heads: impl Iterator<Item = PageRef>) -> BatchOutcome {
        let mut outcome = BatchOutcome::NOTHING;
        let mut batch = Batch::new();
        for head in heads {
            match (self.plan)(mm, head, &mut batch) {
                Ok(plan) => batch.push(plan),
                Err(error) => outcome.record(head.pfn(), Err(error)),
            }
            if batch.entries() >= MOST_ENTRIES {
                self.remap(mm, core::mem::replace(&mut batch, Batch::new()), &mut outcome);
            }
        }
        self.remap(mm, batch, &mut outcome);
        outcome
    }

    fn remap(&self, mm: &Mm, batch: Batch, outcome: &mut BatchOutcome) {
        if batch.is_empty() {
            return;
        }
        let (folios, entries) = (batch.plans().len() as u64, batch.entries());
        let begin = || [folios, entries, 0, 0];
        let end = |(): &()| (folios, [folios, 0, 0, 0]);
        mm.stats.slice(self.point, (0, begin), end, || (self.remap)(mm, batch, outcome));
    }
}
