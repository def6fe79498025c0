//! Room 5: from a folio to the entries that map it, and what is done with them.
//!
//! | file | what |
//! |---|---|
//! | `wait` | waiting for a frame that is moving |
#![forbid(unsafe_code)]

mod wait;

pub use wait::{wait, wake};

use crate::turnstile::Turnstile;

/// State of this room.
pub struct Rmap {
    /// Where faults wait for a migration to end.
    moved: Turnstile,
}

impl Rmap {
    /// Nothing moves. Needs no memory.
    #[must_use]
    pub const fn new() -> Self {
        Rmap { moved: Turnstile::new() }
    }
}

impl Default for Rmap {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
