//! A block is split live at FEAT_BBM level 2.
//!
//! ```text
//!     UVA .. +2M -> A             block, live
//!     store  UVA -> T             512 equal pages
//!     DSB ISHST; TLBI VAE1IS UVA; DSB ISH
//! ```
//! No break and no amalgamation (R_NGLXZ); until the flush an access may take a conflict abort (I_HYQMB), here the
//! user's.

use tests::lab::*;

/// The user sees A, or a fault that goes away.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level2), |mut lab| {
        let slot = lab.map_block(UVA, A, USER_RW);
        let pages = lab.pages(A, USER_RW);
        make(slot, Desc::table(pages));
        assert!([Ok(0), Err(UserFault(UVA))].contains(&user_load(UVA)));
        flush(UVA);
        assert_eq!(user_load(UVA), Ok(0));
    });
}
