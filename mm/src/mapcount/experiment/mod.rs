//! The experiment `mapcount`: what each way of counting costs, and what it can answer.
//!
//! It needs no process and no boot choice: each scheme is tried on folios and tables of its own ([`super::lab`]). On
//! the machine a meter reads the clock, which counts guest instructions under `make bench`; on the host one counts
//! atomic operations and struct pages written, of which each is a cache line.
//!
//! | rows | what |
//! |---|---|
//! | [`costs`] | map, unmap, fork, copy-on-write, split, collapse of 2 MiB; the questions of smaps and of migration |
//! | [`giant_costs`] | collapse of 1 GiB that is mapped by pages: in one step, and by way of 2 MiB; how many such mappings fit |
//! | [`overflow`] | how many mappings fit before a count would overflow, of as many as make leaf entries overflow |
//! | [`answers`] | of thousands of random states: how many answers are exact, over, under, in basis points |
#![forbid(unsafe_code)]

mod answers;
mod costs;
mod giant;
mod overflow;

use core::fmt;

use crate::Mm;
use crate::config::Mapcount;

pub use answers::answers;
pub use costs::costs;
pub use giant::giant_costs;
pub(crate) use overflow::Counts;
pub use overflow::overflow;

/// One figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// What was done, or asked.
    pub what: &'static str,
    /// Whose figure it is.
    pub scheme: Mapcount,
    /// A word more, where there are several figures of one kind.
    pub part: &'static str,
    /// The figure.
    pub value: u64,
    /// Its unit.
    pub unit: &'static str,
}

impl fmt::Display for Row {
    /// Three words: name, value, unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { what, scheme, part, value, unit } = self;
        let dot = if part.is_empty() { "" } else { "." };
        write!(f, "{scheme}.{what}{dot}{part} {value} {unit}")
    }
}

/// Measures an operation: `say` is given each figure's part, value and unit.
pub trait Meter {
    /// Runs `operation` once and says what it cost.
    fn measure(&mut self, operation: &mut dyn FnMut(), say: &mut dyn FnMut(&'static str, u64, &'static str));
}

/// A meter that reads the clock of the kernel above.
pub struct Clock<'m> {
    mm: &'m Mm,
    /// What an operation that does nothing takes.
    nothing: u64,
}

/// How often the clock is read to learn what that takes.
const READINGS: u64 = 256;

impl<'m> Clock<'m> {
    /// A clock that takes off what reading it takes.
    #[must_use]
    pub fn new(mm: &'m Mm) -> Self {
        let mut clock = Clock { mm, nothing: 0 };
        let all: u64 = (0..READINGS).map(|_| clock.time(&mut || ())).sum();
        clock.nothing = all / READINGS;
        clock
    }
    fn time(&mut self, operation: &mut dyn FnMut()) -> u64 {
        let began = self.mm.env.now_ns();
        operation();
        self.mm.env.now_ns() - began
    }
}

impl Meter for Clock<'_> {
    fn measure(&mut self, operation: &mut dyn FnMut(), say: &mut dyn FnMut(&'static str, u64, &'static str)) {
        let took = self.time(operation);
        // A clock of 16 ns reads too little as often as too much: means of many rounds need both.
        say("", took.wrapping_sub(self.nothing), "ns");
    }
}

/// An operation and its name.
type Named<'o> = (&'static str, &'o mut dyn FnMut());

/// Runs operations in turn, each as often, and gives `say` the mean of each figure of each.
fn in_turn(
    meter: &mut dyn Meter,
    rounds: u64,
    operations: &mut [Named<'_>],
    say: &mut dyn FnMut(&'static str, &'static str, u64, &'static str),
) {
    /// Most figures of one operation, and most operations.
    const FIGURES: usize = 2;
    let mut sums = [[("", 0u64, ""); FIGURES]; FIGURES];
    for _ in 0..rounds {
        for ((_, operation), sums) in operations.iter_mut().zip(&mut sums) {
            let mut sums = sums.iter_mut();
            meter.measure(operation, &mut |part, value, unit| {
                if let Some(sum) = sums.next() {
                    *sum = (part, sum.1.wrapping_add(value), unit);
                }
            });
        }
    }
    for ((what, _), sums) in operations.iter().zip(&sums) {
        for &(part, sum, unit) in sums.iter().filter(|sum| !sum.2.is_empty()) {
            let mean = (sum as i64).max(0) as u64 / rounds;
            say(what, part, mean, unit);
        }
    }
}
