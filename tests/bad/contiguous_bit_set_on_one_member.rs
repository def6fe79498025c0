//! One of sixteen live pages gets the contiguous bit, without FEAT_BBM.
//!
//! ```text
//!     KVA + n -> A + n            16 pages, live
//!     store  KVA + 3 -> A + 3 C   refused
//! ```
//! The bit lets one entry stand for all sixteen, beside the fifteen that are held one by one: a change of size.
//! R_WHZWS, third bullet.

use tests::lab::*;

/// The member alone is enough.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0070000041003703 over 0x0060000041003703 ",
    "at 0x0000000040004018, level 3, for 0xffff900000203000: break-before-make is needed: ",
    "block, table or contiguous size changes (R_WHZWS, third bullet)",
);

/// Folds a group without a break.
pub(crate) fn run(machine: MachineDesc) {
    on(with_bbm(machine, BbmLevel::Level0), |mut lab| {
        let first = lab.slot(KVA, Level::L3);
        make_group(first, A, RW);
        let third = A.add(3 * PAGE_SIZE);
        Machine::write_desc(first.add(8 * 3), page(third, RW | CONTIGUOUS));
    });
}
