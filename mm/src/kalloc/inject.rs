//! Makes chosen allocations of a thread fail, to try every way in which memory can run out; and counts the blocks of
//! the heap that are in use. On the host only: on the machine none ever fails, and nothing is counted.
#![forbid(unsafe_code)]

#[cfg(not(target_os = "none"))]
mod knob {
    use std::cell::Cell;

    /// Which allocations fail.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Failing {
        /// One: memory is short for a moment.
        Once,
        /// That one and all that follow: memory is out, also for whoever cleans up.
        Onwards,
    }

    std::thread_local! {
        /// Allocations until one fails, that one counted; 0: none will.
        static COUNTDOWN: Cell<u64> = const { Cell::new(0) };
        static FAILING: Cell<Failing> = const { Cell::new(Failing::Once) };
        /// Whether any has failed since the order was given.
        static FAILED: Cell<bool> = const { Cell::new(false) };
        /// Blocks of the heap in use.
        static BLOCKS: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether the allocation that asks must fail. Every allocation of `mm` asks once.
    pub(crate) fn denied() -> bool {
        let left = COUNTDOWN.get();
        let fails = left == 1;
        FAILED.set(FAILED.get() || fails);
        let stays = fails && FAILING.get() == Failing::Onwards;
        COUNTDOWN.set(if stays { left } else { left.saturating_sub(1) });
        fails
    }

    /// Makes this thread's `k`-th allocation from now fail, pages and heap counted together; 0: none.
    pub fn fail_nth(k: u64) {
        fail(k, Failing::Once);
    }

    /// Makes this thread's `k`-th allocation from now fail, or all from that one on; 0: none.
    pub fn fail(k: u64, failing: Failing) {
        COUNTDOWN.set(k);
        FAILING.set(failing);
        FAILED.set(false);
    }

    /// Takes the order back. Whether an allocation has failed by it.
    pub fn disarm() -> bool {
        COUNTDOWN.set(0);
        FAILED.replace(false)
    }

    /// Blocks that this thread's collections and boxes have of the heap.
    #[must_use]
    pub fn blocks() -> u64 {
        BLOCKS.get()
    }
    pub(crate) fn block_taken() {
        BLOCKS.set(BLOCKS.get().wrapping_add(1));
    }
    /// A block that another thread took may be freed here.
    pub(crate) fn block_given() {
        BLOCKS.set(BLOCKS.get().wrapping_sub(1));
    }
}

#[cfg(target_os = "none")]
mod knob {
    pub(crate) const fn denied() -> bool {
        false
    }
    pub(crate) const fn block_taken() {}
    pub(crate) const fn block_given() {}
}

#[cfg(not(target_os = "none"))]
pub use knob::{Failing, blocks, disarm, fail, fail_nth};
pub(crate) use knob::{block_given, block_taken, denied};
