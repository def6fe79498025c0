//! A block is split without FEAT_BBM.
//!
//! ```text
//!     KVA .. +2M -> A             block, live
//!     T: 512 pages -> A
//!     store  KVA -> 0; flush
//!     store  KVA -> T
//! ```
//! One TLBI by address removes the block for all of its 2 MiB: it names the entry, not the page (D8.14.5).

use tests::lab::*;

/// The last page is there as well as the first.
pub(crate) fn run(machine: MachineDesc) {
    const LAST: u64 = 511 * PAGE_SIZE;
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let slot = lab.map_block(KVA, A, RW);
        let pages = lab.pages(A, RW);
        Machine::write_desc(slot, Desc::INVALID);
        flush(KVA);
        make(slot, Desc::table(pages));
        assert_eq!(kernel_read(KVA), Ok(A));
        assert_eq!(kernel_read(KVA.add(LAST)), Ok(A.add(LAST)));
    });
}
