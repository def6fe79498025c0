//! A page is moved in one store in a root that no vCPU has installed any more.
//!
//! ```text
//!     TTBR0 = root, ASID 1        UVA -> A rw
//!     TTBR0 = none                (no flush)
//!     store  UVA -> B rw          refused: A may be held for ASID 1
//! ```
//! Leaving a root flushes nothing; the ASID keeps what was walked (D8.16.4), even where nobody uses it (I_THWDH).

use tests::lab::*;

/// As if the root were installed.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000f43 over 0x0060000041000f43 ",
    "at 0x0000000040004000, level 3, for 0x0000004000600000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Takes a root that nobody runs for one that nobody holds.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RW);
        Machine::set_user_root(None);
        Machine::write_desc(slot, page(B, USER_RW));
    });
}
