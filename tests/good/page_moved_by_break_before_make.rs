//! A writable page is moved by break-before-make.
//!
//! ```text
//!     KVA -> A rw                 live on both vCPUs
//!     store  KVA -> 0; DSB ISHST; TLBI VAAE1IS KVA; DSB ISH
//!     store  KVA -> B rw; DSB ISHST; ISB
//! ```
//! The sequence of R_DDMVT, which every change of `tests/bad` could have used.

use tests::lab::*;

/// Every step in its place.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        start_vcpu_1();
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        Machine::dsb(Dsb::IshSt);
        Machine::tlbi(everything_at(KVA), FlushScope::Broadcast);
        Machine::dsb(Dsb::Ish);
        Machine::write_desc(slot, page(B, RW));
        Machine::dsb(Dsb::IshSt);
        Machine::isb();
        assert_eq!(kernel_read(KVA), Ok(B));
        on_vcpu_1(|| assert_eq!(kernel_read(KVA), Ok(B)));
    });
}
