//! A global page becomes non-global in one store.
//!
//! ```text
//!     UVA -> A r- global          live
//!     store  UVA -> A r- nG
//!     DSB ISHST; TLBI VAAE1IS UVA; DSB ISH
//! ```
//! The fourth bullet of R_WHZWS is about making a global entry; this makes a non-global one.

use tests::lab::*;

/// Sets nG and nothing else.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RO.difference(PteFlags::NOT_GLOBAL));
        make(slot, page(A, USER_RO));
        assert_eq!(user_load(UVA), Ok(0));
        flush(UVA);
        assert_eq!(user_load(UVA), Ok(0));
    });
}
