//! A writable page is moved in one store.
//!
//! ```text
//!     KVA -> A rw                 live
//!     store  KVA -> B rw          refused
//! ```
//! Both translations may be held at once: a write goes to the one or the other, and what was written may not be read
//! back (I_THWDH). R_WHZWS, second bullet.

use tests::lab::*;

/// Both descriptors, and the bullet.
pub(crate) const SENTENCE: &str = concat!(
    "model: vCPU 0 stores 0x0060000042000703 over 0x0060000041000703 ",
    "at 0x0000000040004000, level 3, for 0xffff900000200000: break-before-make is needed: ",
    "the output address changes while one side grants write (R_WHZWS, second bullet)",
);

/// Moves it.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |mut lab| {
        let slot = lab.map(KVA, A, RW);
        Machine::write_desc(slot, page(B, RW));
    });
}
