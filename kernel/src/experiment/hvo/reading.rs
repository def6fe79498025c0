//! What is counted while something is done, and the difference of two readings.
#![forbid(unsafe_code)]

use core::fmt::Display;

use mm::Mm;
use mm::stats::Counter;

use super::sheet::Sheet;
use crate::stop::{self, Pauses};
use crate::time;

/// Counters whose sum is one figure, and its column.
const COUNTED: [(&[Counter], &str); 8] = [
    (&[Counter::PteStore], "stores"),
    (&[Counter::PteBreak], "breaks"),
    (&[Counter::TlbiVa, Counter::TlbiAll], "tlbi"),
    (&[Counter::DsbIsh], "dsb"),
    (&[Counter::HvoGracePeriod], "grace"),
    (&[Counter::HvoFaultWait], "faults"),
    (&[Counter::HvoConflict], "conflicts"),
    (&[Counter::HvoSplitPmd], "splits"),
];

/// Of [`Pauses`], and interrupts between CPUs: a pause of three CPUs is three pauses here, and six interrupts.
const OF_CPUS: [&str; 4] = ["ipis", "pauses", "paused", "longest"];

/// What was counted while something was done.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// Of the clock.
    pub(super) ns: u64,
    counted: [u64; COUNTED.len()],
    ipis: u64,
    /// How the other CPUs were held.
    pub(super) pauses: Pauses,
}

impl Reading {
    /// Of doing nothing.
    pub(super) const NOTHING: Reading = Reading {
        ns: 0,
        counted: [0; COUNTED.len()],
        ipis: 0,
        pauses: Pauses { count: 0, total_ns: 0, longest_ns: 0 },
    };

    /// What `work` takes. Nobody else asks anything of all CPUs meanwhile.
    pub(super) fn of(mm: &Mm, work: impl FnOnce()) -> Reading {
        let sum = |counters: &[Counter]| counters.iter().map(|&counter| mm.stats.get(counter)).sum::<u64>();
        let count = || COUNTED.map(|(counters, _)| sum(counters));
        let (before, ipis) = (count(), stop::ipis().total());
        stop::take_pauses();
        let began = time::now_ns();
        work();
        let ns = time::now_ns() - began;
        let after = count();
        Reading {
            ns,
            counted: core::array::from_fn(|n| after[n] - before[n]),
            ipis: stop::ipis().total() - ipis,
            pauses: stop::take_pauses(),
        }
    }

    /// The one that took less time.
    pub(super) fn less(self, other: Option<Reading>) -> Reading {
        other.filter(|other| other.ns < self.ns).unwrap_or(self)
    }

    /// Both, one after the other.
    pub(super) fn and(self, other: Reading) -> Reading {
        let (ours, theirs) = (self.pauses, other.pauses);
        Reading {
            ns: self.ns + other.ns,
            counted: core::array::from_fn(|n| self.counted[n] + other.counted[n]),
            ipis: self.ipis + other.ipis,
            pauses: Pauses {
                count: ours.count + theirs.count,
                total_ns: ours.total_ns + theirs.total_ns,
                longest_ns: ours.longest_ns.max(theirs.longest_ns),
            },
        }
    }

    /// Writes all of it down.
    pub(super) fn note(&self, table: impl Display + Copy, sheet: &mut Sheet<'_, '_>) {
        sheet.add(table, "ns", self.ns, "ns");
        for ((_, column), value) in COUNTED.iter().zip(self.counted) {
            sheet.add(table, column, value, "count");
        }
        let Pauses { count, total_ns, longest_ns } = self.pauses;
        let of_cpus = [(self.ipis, "count"), (count, "count"), (total_ns, "ns"), (longest_ns, "ns")];
        for (column, (value, unit)) in OF_CPUS.iter().zip(of_cpus) {
            sheet.add(table, column, value, unit);
        }
    }
}
