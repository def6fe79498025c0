//! Both vCPUs flush their own TLBs; nothing is broadcast.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store KVA -> 0; DSB ISHST
//!     TLBI VAAE1 KVA; DSB NSH     TLBI VAAE1 KVA; DSB NSH
//!     store KVA -> B
//! ```
//! A local TLBI with the smallest barrier, on each vCPU that may hold the entry (B2.3.11): a shootdown by interrupts.

use tests::lab::*;

/// The order of the two does not matter.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::IshSt);
        let flush_own = || {
            Machine::tlbi(everything_at(KVA), FlushScope::Local);
            Machine::dsb(Dsb::Nsh);
        };
        run_on_cpus(vec![Box::new(flush_own), Box::new(flush_own)]);
        make(slot, page(B, RW));
        on_vcpu_1(|| assert_eq!(kernel_read(KVA), Ok(B)));
    });
}
