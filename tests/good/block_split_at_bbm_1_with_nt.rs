//! A block is split live at FEAT_BBM level 1, by way of nT.
//!
//! ```text
//!     KVA .. +2M -> A             block, live
//!     store  KVA -> A nT; flush   from here on it is not held beside pages
//!     store  KVA -> T; flush
//! ```
//! Meanwhile an access may take a translation fault (R_MRRPW), which a page fault handler answers by trying again.

use tests::lab::*;

/// The user sees A, or a fault that goes away.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level1), |mut lab| {
        Machine::write_bytes(A, &[7; 8]);
        let slot = lab.map_block(UVA, A, USER_RW);
        make(slot, block(A, USER_RW | PteFlags::NT));
        flush(UVA);
        let seven = u64::from_ne_bytes([7; 8]);
        assert!([Ok(seven), Err(UserFault(UVA))].contains(&user_load(UVA)));
        let pages = lab.pages(A, USER_RW);
        make(slot, Desc::table(pages));
        flush(UVA);
        assert_eq!(user_load(UVA), Ok(seven));
    });
}
