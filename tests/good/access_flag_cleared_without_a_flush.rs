//! A page's access flag is cleared, and nobody flushes.
//!
//! ```text
//!     UVA -> A, AF = 1            live
//!     store  UVA -> A, AF = 0; DSB ISHST
//!     user   reads UVA            may fault, or not: the page may look idle although it is used
//! ```
//! That costs a wrong guess about the page's age and no more, so nothing is owed (D8.5.1).

use tests::lab::*;

/// Ageing, as Linux does it.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RO);
        let old = USER_RO.difference(PteFlags::ACCESSED);
        make(slot, page(A, old));
        assert!([Ok(0), Err(UserFault(UVA))].contains(&user_load(UVA)));
    });
}
