//! One root runs under two ASIDs, and a page is flushed for one of them.
//!
//! ```text
//!     vCPU 0: root, ASID 1        vCPU 1: root, ASID 2
//!     store  UVA -> 0; DSB ISHST; TLBI VAE1IS UVA, ASID 1; DSB ISH
//!     store  UVA -> B             refused: vCPU 1 holds A for ASID 2
//! ```
//! A non-global entry is removed by its own ASID, or by all (D8.14.5).

use tests::lab::*;

/// Who has the other one.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000f43 at 0x0000000040004000, level 3, for 0x0000004000600000 ",
    "while vCPU 1 may still hold 0x0060000041000f43 of level 3: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Flushes for the ASID that this vCPU runs.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        on_vcpu_1(|| Machine::set_user_root(Some((USER_ROOT, Asid::new(2)))));
        let slot = lab.map(UVA, A, USER_RW);
        Machine::write_desc(slot, Desc::INVALID);
        let (tag, depth, level) = (Tag::Asid(ASID), Depth::LeafOnly, Some(Level::L3));
        flush_by(Tlbi::Va { va: UVA, tag, depth, level }, FlushScope::Broadcast);
        Machine::write_desc(slot, page(B, USER_RW));
    });
}
