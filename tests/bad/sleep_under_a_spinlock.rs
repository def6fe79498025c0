//! A sleeping lock is taken under a spinlock.
//!
//! ```text
//!     lock   page tables          a spinlock: interrupts are masked
//!     write  mmap lock            refused: may sleep, although it is free
//! ```
//! Whoever sleeps under a spinlock lets every other CPU spin until it is woken, perhaps by one of them.

use arch::sync::SpinLock;
use mm::locks::{MMAP, PAGE_TABLE, SleepLock};
use mm::testkit::Builder;
use tests::lab::*;

/// The lock that is held.
pub(crate) const SENTENCE: &str = "a sleeping lock may sleep, but a spinlock of rank 50 is held";

/// The wrong nesting.
pub(crate) fn run(machine: MachineDesc) {
    Builder::new().machine(|own| *own = small(machine)).boot(|_, env| {
        let (tables, mmap_lock) = (SpinLock::new(PAGE_TABLE, ()), SleepLock::new(MMAP));
        let _tables = tables.lock();
        let _mmap_lock = mmap_lock.write(env);
    });
}
