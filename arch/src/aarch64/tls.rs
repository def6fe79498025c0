//! TPIDR_EL0: a word that EL0 keeps for its own use, one a thread. The kernel does not use it.

use aarch64_cpu::registers::{Readable, TPIDR_EL0, Writeable};

/// This CPU's value.
#[must_use]
pub fn get() -> u64 {
    TPIDR_EL0.get()
}

/// Gives this CPU the value of the thread that comes to run.
pub fn set(value: u64) {
    TPIDR_EL0.set(value);
}
