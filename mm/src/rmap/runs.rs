//! Counting the entries that a walk takes away or makes: entries of one table, next to one another, that map
//! consecutive pages of one folio are counted at once.
#![forbid(unsafe_code)]

use arch::Level;
use arch::addr::PAGE_SIZE;

use crate::Mm;
use crate::mapcount::{self, Run};
use crate::page::PageKind;
use crate::space::AddressSpace;
use crate::stats::Counter;

/// What happens to the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// They were cleared, by somebody who leaves the tables where they are. Their references go otherwise.
    Zapped,
    /// They were made. A reference is taken for each.
    Made,
}

/// Entries of one place, in the order of their addresses. All of it is done under one T; [`Self::finish`] comes last.
#[must_use = "the last run is counted by `finish`"]
pub(super) struct Runs<'m> {
    mm: &'m Mm,
    space: &'m AddressSpace,
    change: Change,
    run: Option<Run>,
}

impl<'m> Runs<'m> {
    pub(super) fn new(mm: &'m Mm, space: &'m AddressSpace, change: Change) -> Self {
        Runs { mm, space, change, run: None }
    }

    /// One entry more, a run of one or of a folded group, which is about to change: when the run before it is counted,
    /// whoever looks at the table must find that run changed and this entry not.
    pub(super) fn push(&mut self, entry: Run) {
        if let Some(run) = &mut self.run
            && continues(run, &entry)
        {
            run.entries += entry.entries;
            return;
        }
        self.count();
        self.run = Some(entry);
    }

    pub(super) fn finish(mut self) {
        self.count();
    }

    fn count(&mut self) {
        let Some(run) = self.run.take() else { return };
        let anon = run.head.kind() == PageKind::Anon;
        let (stats, blocks) = (&self.mm.stats, u64::from(run.level == Level::L2));
        match self.change {
            Change::Zapped => {
                mapcount::zap(self.mm, &run);
                if anon {
                    self.space.sub_anon(self.mm, run.pages());
                    stats.sub(Counter::NrAnonThp, blocks);
                }
            }
            Change::Made => {
                run.head.get_many(run.entries);
                mapcount::add(self.mm, &run);
                if anon {
                    self.space.add_anon(self.mm, run.pages());
                    stats.add(Counter::NrAnonThp, blocks);
                }
            }
        }
    }
}

/// Whether `next` maps the page after those of `run`, in the next entry of the same table.
fn continues(run: &Run, next: &Run) -> bool {
    run.head == next.head
        && run.level == next.level
        && run.table == next.table
        && next.va == run.va.add(run.pages() * PAGE_SIZE)
        && next.first == run.first.nth(run.pages())
}
