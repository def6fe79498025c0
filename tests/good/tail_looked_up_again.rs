//! A page is held by a reference to the folio that it is a tail of, before the reference was taken and after.
//!
//! ```text
//!     vCPU 1  head of TAIL?        A
//!     vCPU 0  split                          A and TAIL have one reference each
//!     vCPU 1  A: references 1 -> 2; head of TAIL?  TAIL, not A: the reference goes back, and nothing was had
//!     vCPU 0  TAIL: references 1 -> 0; free
//! ```
//! `counts` are the references of A and of TAIL, `head` says which of both is the tail's.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use tests::lab::*;

/// The second page of a folio of two.
const TAIL: PhysAddr = A.add(PAGE_SIZE);

/// Looks twice.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let of_walk = lab.slot(KVA, Level::L3);
        let (counts, head) = ([AtomicU32::new(1), AtomicU32::new(0)], AtomicUsize::new(0));
        let put = |n: usize| {
            if counts[n].fetch_sub(1, Ordering::AcqRel) == 1 && n == 1 {
                Machine::released(TAIL, PAGE_SIZE);
            }
        };
        let split = || {
            if counts[0].compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                head.store(1, Ordering::Release);
                counts.iter().for_each(|count| count.store(1, Ordering::Release));
                Machine::relax();
                put(1);
            }
        };
        let walk = || {
            let seen = head.load(Ordering::Acquire);
            Machine::relax();
            let get = |n| (n != 0).then_some(n + 1);
            if counts[seen].fetch_update(Ordering::AcqRel, Ordering::Acquire, get).is_ok() {
                if head.load(Ordering::Acquire) == seen {
                    make(of_walk, page(TAIL, RW));
                    make(of_walk, Desc::INVALID);
                    flush(KVA);
                }
                put(seen);
            }
        };
        run_on_cpus(vec![Box::new(split), Box::new(walk)]);
    });
}
