//! Waiting for a frame that is moving to another place.
#![forbid(unsafe_code)]

use arch::VirtAddr;

use crate::Mm;
use crate::space::AddressSpace;

/// Sleeps until no migration entry stands at `va`. The caller looks at the entry again: it may hold another frame, or
/// nothing. M may be held, as migration takes no sleeping lock; no spinlock is held.
pub fn wait(mm: &Mm, space: &AddressSpace, va: VirtAddr) {
    mm.rmap.moved.wait(mm, || {
        let migrating = space.ptl.lock().is_migrating(va);
        (!migrating).then_some(())
    });
}

/// Migration entries are gone, under locks that are let go by now: wakes those who wait for that.
pub(super) fn wake(mm: &Mm) {
    mm.rmap.moved.wake(mm);
}
