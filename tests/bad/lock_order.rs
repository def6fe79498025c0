//! The page-table lock is taken inside the zone lock.
//!
//! ```text
//!     lock   zone                 rank 70
//!     lock   page tables          refused: rank 50
//! ```
//! Elsewhere memory is allocated under the page-table lock: two CPUs that hold one each wait for ever. Ranks rise,
//! see `mm::locks`; nobody need contend for this to be found.

use arch::sync::SpinLock;
use mm::locks::{PAGE_TABLE, ZONE};
use tests::lab::*;

/// Both ranks.
pub(crate) const SENTENCE: &str = "lock order: rank 50 taken while rank 70 is held";

/// Falling ranks.
pub(crate) fn run(machine: MachineDesc) {
    on(machine, |_| {
        let (zone, tables) = (SpinLock::new(ZONE, ()), SpinLock::new(PAGE_TABLE, ()));
        let _zone = zone.lock();
        let _tables = tables.lock();
    });
}
