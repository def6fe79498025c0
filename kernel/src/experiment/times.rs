//! Series of times.
#![forbid(unsafe_code)]

use super::Run;

/// Of a series: how many, their sum, the shortest, all in ns.
pub(super) struct Times {
    count: u64,
    sum: u64,
    min: u64,
}

impl Default for Times {
    fn default() -> Self {
        Times { count: 0, sum: 0, min: u64::MAX }
    }
}

impl Times {
    pub(super) fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum += ns;
        self.min = self.min.min(ns);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn say(&self, name: &str, run: &mut Run<'_>) {
        if let Some(mean) = self.sum.checked_div(self.count) {
            run.line(format_args!("{name} {mean} ns"));
            run.line(format_args!("{name}.min {} ns", self.min));
        }
    }
}
