//! Entries that go together with the tables in which they stand: their counts.
//!
//! ```text
//!   a page by 512 tables of 512 entries, replaced by one block
//!     leaf entries, wherever they stand       added up: one removal for all of a level
//!     pages, tables, pairs                    one removal a run
//! ```
#![forbid(unsafe_code)]

use arch::Level;

use super::{Claim, Place, Question, Run, scheme};
use crate::Mm;
use crate::config::Mapcount;

/// Counts what goes. [`Self::finish`] comes last.
#[must_use = "what was added up is counted by `finish`"]
pub(crate) struct Leaving {
    scheme: Mapcount,
    /// A run of each level that was added up so far, with all entries of that level.
    sums: [Option<Run>; 2],
}

impl Mapcount {
    /// Whether mappings of one level count the same wherever they stand and whichever pages of the folio they map, so
    /// that many may be taken away as if they were one run.
    const fn adds_up(self) -> bool {
        matches!(self.place(), Place::Anywhere)
            && !matches!(self.contract()[Question::PageEntries as usize], Claim::Exact)
    }
}

impl Leaving {
    pub(crate) fn new(mm: &Mm) -> Self {
        Leaving::of(scheme(mm))
    }
    pub(super) fn of(scheme: Mapcount) -> Self {
        Leaving { scheme, sums: [None; 2] }
    }

    /// A run goes, all of one folio. Its entries are cleared already, or all of its table goes.
    pub(crate) fn push(&mut self, run: &Run) {
        if !self.scheme.adds_up() {
            self.scheme.remove(run);
            return;
        }
        match &mut self.sums[usize::from(run.level == Level::L3)] {
            Some(sum) => sum.entries += run.entries,
            none => *none = Some(*run),
        }
    }

    /// What was added up is counted.
    pub(crate) fn finish(self) {
        for sum in self.sums.iter().flatten() {
            self.scheme.remove(sum);
        }
    }
}
