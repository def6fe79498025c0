//! One vCPU issues the TLBI, another one waits for it.
//!
//! ```text
//!     vCPU 0                                     vCPU 1
//!     store KVA -> 0; DSB ISHST; TLBI ..IS
//!                                                DSB ISH
//!     store KVA -> B              refused
//! ```
//! A DSB completes the TLBIs of the vCPU that executes it (D8.14.5).

use tests::lab::*;

/// What nobody has waited for.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 at 0x0000000040004000, level 3, for 0xffff900000200000 ",
    "while vCPU 0 may still hold 0x0060000041000703 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// The barrier in the wrong place.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::IshSt);
        Machine::tlbi(everything_at(KVA), FlushScope::Broadcast);
        on_vcpu_1(|| Machine::dsb(Dsb::Ish));
        Machine::write_desc(slot, page(B, RW));
    });
}
