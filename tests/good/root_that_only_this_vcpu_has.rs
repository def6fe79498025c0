//! A root that only this vCPU ever had is flushed locally.
//!
//! ```text
//!     vCPU 0                      vCPU 1 runs, with the empty root
//!     UVA -> A                    live
//!     store  UVA -> 0; DSB NSH; TLBI VAE1 UVA, ASID 1; DSB NSH
//!     store  UVA -> B
//! ```
//! Who never had the root has walked nothing of it: the non-shareable domain is enough (B2.3.11).

use tests::lab::*;

/// No word to the other vCPUs.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        on_vcpu_1(|| Machine::set_user_root(None));
        let slot = lab.map(UVA, A, USER_RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::Nsh);
        Machine::tlbi(everything_at(UVA), FlushScope::Local);
        Machine::dsb(Dsb::Nsh);
        make(slot, page(B, USER_RW));
        assert_eq!(user_store(UVA, 1), Ok(()));
    });
}
