//! One vCPU maps a page, waits for its own walker only, and another uses it.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store KVA -> A; DSB NSH
//!                                 read KVA: may fault
//! ```
//! The walkers of other vCPUs are in the inner shareable domain, not in the non-shareable one (B2.3.11).

use tests::lab::*;

/// Whose barrier is missing.
pub(crate) const SENTENCE: &str = concat!(
    "model: kernel read from 0xffff900000200000 on vCPU 1: ",
    "translation fault, level 3 (entry 0x0060000041000703 may not be seen yet: ",
    "no DSB has followed vCPU 0's store)",
);

/// The domain is too small.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.slot(KVA, Level::L3);
        Machine::write_desc(slot, page(A, RW));
        Machine::dsb(Dsb::Nsh);
        Machine::isb();
        on_vcpu_1(|| {
            Machine::kernel_access(KVA, Access::Read);
        });
    });
}
