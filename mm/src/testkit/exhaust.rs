//! Running out of memory at every possible moment.
#![forbid(unsafe_code)]

use super::builder::Builder;
use crate::Mm;
use crate::kalloc::inject;

/// More allocations than any operation under test makes.
const MOST: u64 = 100_000;

/// Runs `op` again and again, each time on a freshly booted machine on which another of its allocations
/// fails, pages and heap alike: first none, then the first, the second, until all had their turn. `setup` runs
/// before, without failures. `op` must give back whatever `setup` and it itself have taken, and reports by its
/// result whether it succeeded.
///
/// After each run everything must be consistent and no page missing: as many are free as before
/// `setup`, or as after the run without failures if that is fewer (tables of the kernel that stay). Returns
/// how many allocations were failed.
///
/// # Panics
/// A page is missing or something is inconsistent; says after which failure. Also where `op` fails although
/// no allocation did.
pub fn fail_every_allocation<S, T, E: core::fmt::Debug>(
    machine: &Builder,
    setup: impl Fn(&Mm) -> S,
    op: impl Fn(&Mm, S) -> Result<T, E>,
) -> u64 {
    let run = |k: u64| {
        machine.clone().boot(|mm, _| {
            let before = mm.free_page_count();
            let state = setup(mm);
            inject::fail_nth(k);
            let result = op(mm, state);
            let failed = inject::disarm() && k != 0;
            if let (Err(error), false) = (&result, failed) {
                panic!("the operation failed with {error:?}, although no allocation did");
            }
            drop(result);
            if let Err(wrong) = mm.check_all() {
                panic!("after allocation {k} failed: {wrong}");
            }
            (before, mm.free_page_count(), failed)
        })
    };
    let (before, settled, _) = run(0);
    let fewest = settled.min(before);
    for k in 1..=MOST {
        let (before, after, failed) = run(k);
        assert!(after >= fewest, "after allocation {k} failed, {} pages are missing", fewest - after);
        assert!(after <= before, "after allocation {k} failed, {} pages are free twice", after - before);
        if !failed {
            return k - 1;
        }
    }
    panic!("the operation makes more than {MOST} allocations");
}
