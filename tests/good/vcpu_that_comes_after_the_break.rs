//! A vCPU installs a root after a break is visible, and need not be flushed.
//!
//! ```text
//!     vCPU 0                      vCPU 1
//!     store UVA -> 0; DSB ISHST
//!                                 TTBR0 = root: walks, and sees 0
//!     TLBI VAE1 UVA (local); DSB ISH
//!     store UVA -> B
//! ```
//! What it walks it walks after the DSB: an invalid descriptor, which is not held (I_WZCBG).

use tests::lab::*;

/// vCPU 1 never had A.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::IshSt);
        start_vcpu_1();
        Machine::tlbi(everything_at(UVA), FlushScope::Local);
        Machine::dsb(Dsb::Ish);
        make(slot, page(B, USER_RW));
        on_vcpu_1(|| assert_eq!(user_store(UVA, 1), Ok(())));
    });
}
