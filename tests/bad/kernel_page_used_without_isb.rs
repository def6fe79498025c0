//! The kernel maps a page, makes the store visible, and uses it.
//!
//! ```text
//!     store  KVA -> A
//!     DSB ISHST                   (no ISB)
//!     read   KVA                  may fault: it may have been translated before the DSB
//! ```
//! A context synchronisation event makes later instructions use what went before (I_WZCBG, B2.3.12).

use tests::lab::*;

/// What is missing.
pub(crate) const SENTENCE: &str = concat!(
    "model: kernel read from 0xffff900000200000 on vCPU 0: ",
    "translation fault, level 3 (entry 0x0060000041000703 may not be seen yet: ",
    "no ISB has followed the DSB after its store)",
);

/// A DSB alone.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L3);
        Machine::write_desc(slot, page(A, RW));
        Machine::dsb(Dsb::IshSt);
        Machine::kernel_access(KVA, Access::Read);
    });
}
