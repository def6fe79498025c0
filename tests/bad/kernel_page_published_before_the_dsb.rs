//! One vCPU maps a page and tells another before the store is visible.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store KVA -> A
//!     publish KVA                 sees KVA published
//!                                 read KVA: may fault
//!     DSB ISHST
//! ```
//! vCPU 1's walker is not ordered by vCPU 1's loads: the DSB comes before the publication (D8.2.3).

use std::sync::atomic::AtomicBool;
use tests::lab::*;

/// Whose barrier is missing.
pub(crate) const SENTENCE: &str = concat!(
    "model: kernel read from 0xffff900000200000 on vCPU 1: ",
    "translation fault, level 3 (entry 0x0060000041000703 may not be seen yet: ",
    "no DSB has followed vCPU 0's store)",
);

/// Publishes, then waits for the store.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L3);
        let (published, used) = (AtomicBool::new(false), AtomicBool::new(false));
        let maps = || {
            Machine::write_desc(slot, page(A, RW));
            raise(&published);
            wait_for(&used);
        };
        let uses = || {
            wait_for(&published);
            Machine::kernel_access(KVA, Access::Read);
            raise(&used);
        };
        run_on_cpus(vec![Box::new(maps), Box::new(uses)]);
    });
}
