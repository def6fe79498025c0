//! One vCPU maps a page, and another uses it when it is told.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store KVA -> A; DSB ISHST; ISB
//!     publish KVA                 sees KVA published
//!     write KVA                   write KVA
//! ```
//! From invalid to valid no TLBI is needed (I_WZCBG), and no ISB by who learns of it after the DSB (D8.2.3).

use std::sync::atomic::AtomicBool;
use tests::lab::*;

/// Used on both.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L3);
        let published = AtomicBool::new(false);
        let maps = || {
            Machine::write_desc(slot, page(A, RW));
            Machine::dsb(Dsb::IshSt);
            Machine::isb();
            raise(&published);
            Machine::kernel_access(KVA, Access::Write);
        };
        let uses = || {
            wait_for(&published);
            Machine::kernel_access(KVA, Access::Write);
        };
        run_on_cpus(vec![Box::new(maps), Box::new(uses)]);
    });
}
