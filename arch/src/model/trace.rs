//! The last steps of a machine, for the report of a failure.
//!
//! Steps are kept as they came and put into words only when somebody reads them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;

use super::machine::State;
use super::step::Step;
use crate::contract::CpuId;
use crate::pte::Desc;

/// Steps that are kept.
const KEPT: usize = 30;

/// A step that was made, or several like it.
#[derive(Clone, Copy)]
struct Entry {
    /// The number of the last of them.
    number: u64,
    /// How many more were made just before.
    more: u64,
    cpu: CpuId,
    step: Step,
    /// What stood where the step stores.
    over: Desc,
    at: &'static Location<'static>,
}

/// A ring of the last steps.
pub(super) struct Trace {
    ring: RefCell<[Option<Entry>; KEPT]>,
    /// Where the last entry stands.
    last: Cell<usize>,
    /// Where the code stands that takes the next step.
    here: Cell<&'static Location<'static>>,
}

impl Trace {
    pub(super) fn new() -> Self {
        let nowhere = Location::caller();
        Trace { ring: RefCell::new([None; KEPT]), last: Cell::new(0), here: Cell::new(nowhere) }
    }

    pub(super) fn stand_at(&self, here: &'static Location<'static>) {
        self.here.set(here);
    }

    pub(super) fn here(&self) -> &'static Location<'static> {
        self.here.get()
    }

    /// Keeps a step that is made now. Turns of spin loops are not kept, and a row of reads of one vCPU is one entry.
    pub(super) fn record(&self, state: &State, cpu: CpuId, step: Step, at: &'static Location<'static>) {
        if step == Step::Relax {
            return;
        }
        let number = state.sched.steps();
        let over = step.stores_to().map_or(Desc::INVALID, |to| state.ram.load(to));
        let mut ring = self.ring.borrow_mut();
        let is_read = |step| matches!(step, Step::Read(_));
        let last = ring[self.last.get()];
        let row = last.filter(|last| last.cpu == cpu && is_read(last.step) && is_read(step));
        if row.is_none() {
            self.last.set((self.last.get() + 1) % KEPT);
        }
        let more = row.map_or(0, |row| row.more + 1);
        ring[self.last.get()] = Some(Entry { number, more, cpu, step, over, at });
    }

    /// The last step of a vCPU that is still known, and where it was made.
    pub(super) fn last_of(&self, cpu: CpuId) -> Option<(Step, &'static Location<'static>)> {
        let ring = self.ring.borrow();
        let own = ring.iter().flatten().filter(|entry| entry.cpu == cpu);
        own.max_by_key(|entry| entry.number).map(|entry| (entry.step, entry.at))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { number, more, cpu, step, over, at } = self;
        let what = match step {
            Step::Store { at, new } => format!("store {new} over {over} at {at}"),
            Step::Cas { .. } => format!("{step}, which is {over}"),
            Step::Read(_) if *more != 0 => format!("{step}, and {more} more before"),
            _ => step.to_string(),
        };
        write!(f, "{number:>9}  vCPU {cpu}  {what:<64}  {}:{}", at.file(), at.line())
    }
}

/// A heading, and a line for each step, the oldest first.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.ring.borrow();
        let (newer, older) = ring.split_at(self.last.get() + 1);
        writeln!(f, "last {KEPT} steps:")?;
        older.iter().chain(newer).flatten().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}
