//! A block is split at FEAT_BBM level 2, and one of its pages made read-only after the flush.
//!
//! ```text
//!     KVA .. +2M -> A rw          block, live
//!     store  KVA -> T: pages rw; flush
//!     store  KVA + 5 -> A + 5 r-; flush
//! ```
//! One change a store: first the size (R_PVTFW), then the right (R_GPPYH).

use tests::lab::*;

/// The other 511 stay writable.
pub(crate) fn run(machine: MachineDesc) {
    const FIFTH: u64 = 5 * PAGE_SIZE;
    on(with_bbm(machine, BbmLevel::Level2), |mut lab| {
        let slot = lab.map_block(KVA, A, RW);
        let pages = lab.pages(A, RW);
        make(slot, Desc::table(pages));
        flush(KVA);
        make(pages.add(8 * 5), page(A.add(FIFTH), RO));
        flush(KVA.add(FIFTH));
        assert_eq!(try_kernel_access(KVA.add(FIFTH), Access::Write), Err(FaultStatus::Permission(Level::L3)));
        Machine::kernel_access(KVA, Access::Write);
    });
}
