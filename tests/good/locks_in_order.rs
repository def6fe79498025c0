//! The page-table lock, then the zone lock; the mmap lock when neither is held.
//!
//! ```text
//!     write  mmap lock            a sleeping lock, first of all
//!     lock   page tables          rank 50
//!     lock   zone                 rank 70
//! ```
//! Ranks rise, see `mm::locks`.

use arch::sync::SpinLock;
use mm::locks::{PAGE_TABLE, SleepLock, ZONE};
use mm::testkit::Builder;
use tests::lab::*;

/// Twice, as a lock that was released may be taken again.
pub(crate) fn run(machine: MachineDesc) {
    Builder::new().machine(|own| *own = small(machine)).boot(|_, env| {
        let mmap_lock = SleepLock::new();
        let (zone, tables) = (SpinLock::new(ZONE, ()), SpinLock::new(PAGE_TABLE, ()));
        for _ in 0..2 {
            let _mmap_lock = mmap_lock.write(env);
            let _tables = tables.lock();
            let _zone = zone.lock();
        }
    });
}
