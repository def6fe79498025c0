//! A page is held by a reference to the folio that it was a tail of when somebody looked.
//!
//! ```text
//!     vCPU 1  head of TAIL?        A         a walk of physical memory, which holds nothing yet
//!     vCPU 0  split                          frozen and unmapped as it should be; A and TAIL have one reference each
//!     vCPU 1  A: references 1 -> 2; KVA -> TAIL
//!     vCPU 0  TAIL: references 1 -> 0; free  refused
//! ```
//! Only a head that is still the page's when the reference is there makes it the page's reference.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use tests::lab::*;

/// The second page of a folio of two.
const TAIL: PhysAddr = A.add(PAGE_SIZE);

/// What the walk has got.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041001000 ",
    "while vCPUs 0 and 1 can walk to 0x0060000041001703 of level 3 for 0xffff900000200000 (R_GPPYH)",
);

/// Looks the head up once.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let of_walk = lab.slot(KVA, Level::L3);
        // References of A and of TAIL, and which of both counts is the tail's.
        let (counts, head) = ([AtomicU32::new(1), AtomicU32::new(0)], AtomicUsize::new(0));
        let split = || {
            if counts[0].compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire).is_err() {
                return;
            }
            head.store(1, Ordering::Release);
            counts.iter().for_each(|count| count.store(1, Ordering::Release));
            Machine::relax();
            if counts[1].fetch_sub(1, Ordering::AcqRel) == 1 {
                Machine::released(TAIL, PAGE_SIZE);
            }
        };
        let walk = || {
            let seen = head.load(Ordering::Acquire);
            Machine::relax();
            let get = |n| (n != 0).then_some(n + 1);
            if counts[seen].fetch_update(Ordering::AcqRel, Ordering::Acquire, get).is_ok() {
                make(of_walk, page(TAIL, RW));
            }
        };
        run_on_cpus(vec![Box::new(split), Box::new(walk)]);
    });
}
