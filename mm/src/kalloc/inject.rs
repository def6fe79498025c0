//! Makes the k-th allocation of a thread fail, to try every way in which memory can run out. On the host only:
//! on the machine none ever does.
#![forbid(unsafe_code)]

#[cfg(not(target_os = "none"))]
mod knob {
    use std::cell::Cell;

    std::thread_local! {
        /// Allocations until one fails, that one counted; 0: none will.
        static COUNTDOWN: Cell<u64> = const { Cell::new(0) };
    }

    /// Whether the allocation that asks must fail. Every allocation of `mm` asks once.
    pub(crate) fn denied() -> bool {
        let left = COUNTDOWN.get();
        COUNTDOWN.set(left.saturating_sub(1));
        left == 1
    }

    /// Makes this thread's `k`-th allocation from now fail, pages and heap counted together; 0: none.
    pub fn fail_nth(k: u64) {
        COUNTDOWN.set(k);
    }

    /// Takes the order back. Whether the allocation that should fail has come.
    pub fn disarm() -> bool {
        COUNTDOWN.replace(0) == 0
    }
}

#[cfg(target_os = "none")]
mod knob {
    pub(crate) const fn denied() -> bool {
        false
    }
}

pub(crate) use knob::denied;
#[cfg(not(target_os = "none"))]
pub use knob::{disarm, fail_nth};
