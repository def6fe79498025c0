//! Which counters have moved since a moment.
#![forbid(unsafe_code)]

use mm::Mm;
use mm::stats::Counter;

use crate::{print, println};

/// All counters at one moment.
#[derive(Clone, Copy)]
pub(super) struct Counters([u64; Counter::ALL.len()]);

impl Counters {
    pub(super) const ZERO: Counters = Counters([0; Counter::ALL.len()]);

    pub(super) fn now(mm: &Mm) -> Counters {
        Counters(core::array::from_fn(|n| mm.stats.get(Counter::ALL[n])))
    }

    /// By how much a counter has moved since.
    pub(super) fn moved(&self, mm: &Mm, counter: Counter) -> i64 {
        mm.stats.get(counter).wrapping_sub(self.0[counter as usize]).cast_signed()
    }

    /// Prints those of `counters` that have moved since, in one line.
    pub(super) fn print_moved(&self, mm: &Mm, counters: &[Counter]) {
        print!("    counters:");
        for &counter in counters {
            let moved = self.moved(mm, counter);
            if moved != 0 {
                print!(" {} {moved:+}", counter.name());
            }
        }
        println!();
    }
}
