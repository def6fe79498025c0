//! The mmap lock is taken by somebody who changes the size of an object.
//!
//! ```text
//!     write  size of an object    a sleeping lock of rank 12
//!     read   mmap lock            refused: rank 10
//! ```
//! MADV_REMOVE and faults come to objects with the mmap lock held: two threads that hold one each sleep for ever. Ranks
//! rise among sleeping locks as they do among spinlocks, see `mm::locks`; nobody need contend for this to be found.

use mm::locks::{MMAP, OBJECT_RESIZE, SleepLock};
use mm::testkit::Builder;
use tests::lab::*;

/// Both ranks.
pub(crate) const SENTENCE: &str = "lock order: sleeping rank 10 taken while sleeping rank 12 is held";

/// Falling ranks.
pub(crate) fn run(machine: MachineDesc) {
    Builder::new().machine(|own| *own = small(machine)).boot(|_, env| {
        let (resize, mmap_lock) = (SleepLock::new(OBJECT_RESIZE), SleepLock::new(MMAP));
        let _resize = resize.write(env);
        let _mmap_lock = mmap_lock.read(env);
    });
}
