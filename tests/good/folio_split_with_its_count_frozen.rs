//! A folio is split after its pages were unmapped and its count went from 1 to 0 in one step.
//!
//! ```text
//!     vCPU 0  UVA -> moving(TAIL); flush
//!     vCPU 0  references 1 -> 0?   yes       nobody has the folio, and nobody can take it; else UVA -> TAIL again
//!     vCPU 0  free TAIL                      nobody maps it
//!     vCPU 1  references 0                   a device that comes too late gets nothing
//! ```

use std::sync::atomic::{AtomicU32, Ordering};
use tests::lab::*;

/// The second page of a folio of two.
const TAIL: PhysAddr = A.add(PAGE_SIZE);

/// Freezes, or gives up.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (of_tail, of_device) = (lab.map(UVA, TAIL, USER_RW), lab.slot(KVA, Level::L3));
        let references = AtomicU32::new(1);
        let split = || {
            make(of_tail, Desc::migration(TAIL, Level::L3, USER_RW));
            flush(UVA);
            match references.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    make(of_tail, Desc::INVALID);
                    Machine::released(TAIL, PAGE_SIZE);
                }
                Err(_) => make(of_tail, page(TAIL, USER_RW)),
            }
        };
        let device = || {
            let get = |n| (n != 0).then_some(n + 1);
            if references.fetch_update(Ordering::AcqRel, Ordering::Acquire, get).is_ok() {
                make(of_device, page(TAIL, RW));
                make(of_device, Desc::INVALID);
                flush(KVA);
                references.fetch_sub(1, Ordering::Release);
            }
        };
        run_on_cpus(vec![Box::new(split), Box::new(device)]);
    });
}
