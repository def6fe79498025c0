//! The kernel maps a page and uses it at once.
//!
//! ```text
//!     store  KVA -> A
//!     ISB                         (no DSB)
//!     read   KVA                  may fault: the walker has not seen the store
//! ```
//! From invalid to valid no TLBI is needed, but a DSB and an ISB are (I_WZCBG, D8.2.3).

use tests::lab::*;

/// What is missing.
pub(crate) const SENTENCE: &str = concat!(
    "model: kernel read from 0xffff900000200000 on vCPU 0: ",
    "translation fault, level 3 (entry 0x0060000041000703 may not be seen yet: ",
    "no DSB has followed vCPU 0's store)",
);

/// An ISB alone.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L3);
        Machine::write_desc(slot, page(A, RW));
        Machine::isb();
        Machine::kernel_access(KVA, Access::Read);
    });
}
