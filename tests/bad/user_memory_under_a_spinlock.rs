//! User memory is accessed under a spinlock.
//!
//! ```text
//!     mmap   one page             nothing is backed yet
//!     lock   page tables          a spinlock: interrupts are masked
//!     write  to it                refused: the page fault takes the mmap lock, and may sleep
//! ```
//! Any access to user memory may fault, so none is made where its fault could not be handled.

use arch::contract::UserMem;
use arch::sync::SpinLock;
use mm::locks::PAGE_TABLE;
use mm::space::{MapProt, MmapRequest};
use mm::testkit::{Builder, with_space};
use tests::lab::*;

/// The lock that is held.
pub(crate) const SENTENCE: &str = "a sleeping lock may sleep, but a spinlock of rank 50 is held";

/// The first access faults.
pub(crate) fn run(machine: MachineDesc) {
    let builder = Builder::new().machine(|own| *own = small(machine));
    with_space(&builder, |mm, _, space| {
        let request = MmapRequest::anonymous(PAGE_SIZE, MapProt::READ | MapProt::WRITE);
        let va = mm.mmap(space, &request).expect("one page can be mapped");
        let tables = SpinLock::new(PAGE_TABLE, ());
        let _tables = tables.lock();
        let _copied = Machine::copy_to_user(va, &[1]);
    });
}
