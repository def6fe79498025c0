//! One of a contiguous group loses its contiguous bit, without FEAT_BBM.
//!
//! ```text
//!     KVA + n -> A + n C          16 pages, live, perhaps one entry
//!     store  KVA + 3 -> A + 3     refused
//! ```
//! The member would be held as one page beside the entry of sixteen. R_WHZWS, third bullet.

use tests::lab::*;

/// The member alone is enough.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000041003703 over 0x0070000041003703 ",
    "at 0x0000000040004018, level 3, for 0xffff900000203000: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Unfolds a group without a break.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let first = lab.map_group(KVA, A, RW);
        let third = A.add(3 * PAGE_SIZE);
        Machine::write_desc(first.add(8 * 3), page(third, RW));
    });
}
