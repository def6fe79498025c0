//! A folio is split because its count was 1 before its pages were unmapped.
//!
//! ```text
//!     vCPU 0  references == 1?  yes          nobody but the entries holds the folio
//!     vCPU 1  references 1 -> 2              a device takes the folio, by whatever way it has to it
//!     vCPU 0  UVA -> moving(TAIL); flush     its pages are single pages now, and nobody has the tail
//!     vCPU 1  KVA -> TAIL
//!     vCPU 0  free TAIL                      refused
//! ```
//! The reference is the head's, and does not keep what is no tail any more. It must be impossible to take one from the
//! last look on: the count is frozen at 0.

use std::sync::atomic::{AtomicU32, Ordering};
use tests::lab::*;

/// The second page of a folio of two.
const TAIL: PhysAddr = A.add(PAGE_SIZE);

/// What the device has got.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 gives back 4096 bytes at 0x0000000041001000 ",
    "while vCPUs 0 and 1 can walk to 0x0060000041001703 of level 3 for 0xffff900000200000 (R_GPPYH)",
);

/// Looks, and then unmaps.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let (of_tail, of_device) = (lab.map(UVA, TAIL, USER_RW), lab.slot(KVA, Level::L3));
        let references = AtomicU32::new(1);
        let split = || {
            let alone = references.load(Ordering::Acquire) == 1;
            make(of_tail, Desc::migration(TAIL, Level::L3, USER_RW));
            flush(UVA);
            if alone {
                make(of_tail, Desc::INVALID);
                Machine::released(TAIL, PAGE_SIZE);
            }
        };
        let device = || {
            let get = |n| (n != 0).then_some(n + 1);
            if references.fetch_update(Ordering::AcqRel, Ordering::Acquire, get).is_ok() {
                make(of_device, page(TAIL, RW));
            }
        };
        run_on_cpus(vec![Box::new(split), Box::new(device)]);
    });
}
