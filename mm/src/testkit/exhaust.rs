//! Running out of memory at every possible moment.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt::Debug;

use super::builder::{Builder, check};
use crate::Mm;
use crate::kalloc::inject::{self, Failing};

/// More allocations than any operation under test makes.
const MOST: u64 = 100_000;

/// What is left when a run is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Left {
    /// Free pages before `setup`.
    before: u64,
    /// Free pages after all was given back.
    after: u64,
    /// Blocks of the heap in use then, of more than before.
    blocks: u64,
    failed: bool,
}

/// Runs `op` again and again, each time on a freshly booted machine on which another of its allocations fails, pages
/// and heap alike: first none, then the first, the second, until all had their turn. `setup` runs before, and `undo`
/// after, without failures; `undo` gives back whatever `setup` and `op` have taken, as far as they have succeeded.
///
/// After `op` and after `undo` everything must be consistent, and in the end no page and no block of the heap
/// missing: as many are free as before `setup`, or as after the run without failures if that is fewer (tables of the
/// kernel that stay). Returns how many allocations were failed.
///
/// # Panics
/// Something is missing or inconsistent; says after which failure. Also where `op` fails although no allocation did.
pub fn exhaust<S, T, E: Debug>(
    machine: &Builder,
    failing: Failing,
    setup: impl Fn(&Mm) -> S,
    op: impl Fn(&Mm, &S) -> Result<T, E>,
    undo: impl Fn(&Mm, S),
) -> u64 {
    let run = |k: u64| run_once(machine, (k, failing), &setup, &op, &undo);
    let Left { before, after: settled, blocks: kept, .. } = run(0);
    let fewest = settled.min(before);
    for k in 1..=MOST {
        let Left { before, after, blocks, failed } = run(k);
        assert!(after >= fewest, "after allocation {k} failed, {} pages are missing", fewest - after);
        assert!(after <= before, "after allocation {k} failed, {} pages are free twice", after - before);
        assert!(
            blocks <= kept,
            "after allocation {k} failed, {} blocks of the heap are missing",
            blocks - kept
        );
        if !failed {
            return k - 1;
        }
    }
    panic!("the operation makes more than {MOST} allocations");
}

fn run_once<S, T, E: Debug>(
    machine: &Builder,
    (k, failing): (u64, Failing),
    setup: &impl Fn(&Mm) -> S,
    op: &impl Fn(&Mm, &S) -> Result<T, E>,
    undo: &impl Fn(&Mm, S),
) -> Left {
    let left = machine.clone().try_boot(|mm, _| {
        let (before, blocks) = (mm.free_page_count(), inject::blocks());
        let state = setup(mm);
        inject::fail(k, failing);
        let result = op(mm, &state);
        let failed = inject::disarm();
        if let (Err(error), false) = (&result, failed) {
            panic!("the operation failed with {error:?}, although no allocation did");
        }
        drop(result);
        check(mm);
        undo(mm, state);
        check(mm);
        let blocks = inject::blocks().wrapping_sub(blocks);
        Left { before, after: mm.free_page_count(), blocks, failed }
    });
    left.unwrap_or_else(|error| panic!("mm does not boot: {error}"))
}

/// As [`exhaust`], one failure at a time, for an operation that itself gives back whatever `setup` and it have taken.
///
/// # Panics
/// As [`exhaust`].
pub fn fail_every_allocation<S, T, E: Debug>(
    machine: &Builder,
    setup: impl Fn(&Mm) -> S,
    op: impl Fn(&Mm, S) -> Result<T, E>,
) -> u64 {
    let once = |mm: &Mm, state: &Cell<Option<S>>| match state.take() {
        Some(state) => op(mm, state),
        None => panic!("an operation runs once a machine"),
    };
    exhaust(machine, Failing::Once, |mm| Cell::new(Some(setup(mm))), once, |_, _| ())
}
