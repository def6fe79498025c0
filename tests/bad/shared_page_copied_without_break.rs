//! A shared page is copied for who writes, and the entry for the copy made in one store.
//!
//! ```text
//!     UVA -> A r-                 live, shared with another root
//!     copy A to B
//!     store  UVA -> B rw          refused
//! ```
//! The bytes are equal, but the new entry grants writing: with both translations held, a thread that writes would not
//! read what it wrote. R_WHZWS, second bullet.

use tests::lab::*;

/// Both descriptors, and the bullet.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000f43 over 0x0060000041000fc3 ",
    "at 0x0000000040004000, level 3, for 0x0000004000600000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Copies, and replaces the entry.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(UVA, A, USER_RO);
        Machine::copy(B, A, PAGE_SIZE);
        Machine::write_desc(slot, page(B, USER_RW));
    });
}
