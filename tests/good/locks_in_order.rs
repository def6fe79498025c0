//! The locks of a read, of a page fault under it and of the allocation under that.
//!
//! ```text
//!     write  turn                 rank 8: sleeping locks have an order of their own
//!     write  mmap lock            rank 10
//!     lock   page tables          rank 50
//!     lock   zone                 rank 70
//!     lock   family               rank 4: a spinlock, under a sleeping lock only
//! ```
//! Ranks rise, see `mm::locks`.

use arch::sync::{Rank, SpinLock};
use mm::locks::{MMAP, PAGE_TABLE, SleepLock, TURN, ZONE};
use mm::testkit::Builder;
use tests::lab::*;

/// Twice, as a lock that was released may be taken again.
pub(crate) fn run(machine: MachineDesc) {
    Builder::new().machine(|own| *own = small(machine)).boot(|_, env| {
        let (turn, mmap_lock) = (SleepLock::new(TURN), SleepLock::new(MMAP));
        let (zone, tables) = (SpinLock::new(ZONE, ()), SpinLock::new(PAGE_TABLE, ()));
        let family = SpinLock::new(Rank(4), ());
        for _ in 0..2 {
            let _turn = turn.write(env);
            let _mmap_lock = mmap_lock.write(env);
            drop(family.lock());
            let _tables = tables.lock();
            let _zone = zone.lock();
        }
    });
}
