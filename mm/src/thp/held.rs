//! For how long T is held to make a huge page: so long a fault of the same space may have to wait.
#![forbid(unsafe_code)]

use crate::Mm;
use crate::stats::Counter;

/// Begins when T was taken and ends, when dropped, before T is let go: so it is declared after the guard.
#[must_use = "what is dropped at once has measured nothing"]
pub(super) struct Held<'m> {
    mm: &'m Mm,
    /// Nanoseconds since boot.
    began: u64,
}

impl<'m> Held<'m> {
    pub(super) fn begin(mm: &'m Mm) -> Self {
        Held { mm, began: mm.env.now_ns() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.mm.stats.add(Counter::ThpPtlHeld, self.mm.env.now_ns() - self.began);
    }
}
