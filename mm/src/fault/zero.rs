//! The shared page of zeros: what a read of untouched anonymous memory sees.
//!
//! It is mapped read-only any number of times, without references and without being counted as mapped, so it
//! can neither be freed nor overflow a count (Linux: `empty_zero_page`, a special entry that is not
//! refcounted).
#![forbid(unsafe_code)]

use arch::{Pfn, PhysAddr};

/// The machine's page of zeros. Its frame is [`crate::page::PageKind::Reserved`] and never written again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZeroPage(Pfn);

impl ZeroPage {
    /// The page of zeros is this frame: zeroed, reserved, and nobody's.
    #[must_use]
    pub const fn new(frame: Pfn) -> Self {
        ZeroPage(frame)
    }
    /// Its frame.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        self.0
    }
    /// Whether a leaf with this output address maps it.
    #[must_use]
    pub fn is_at(self, output: PhysAddr) -> bool {
        output.pfn() == self.0
    }
}
