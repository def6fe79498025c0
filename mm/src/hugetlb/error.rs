//! Why the pool refuses.
#![forbid(unsafe_code)]

use core::fmt;

/// Why the pool refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugetlbError {
    /// Not so many pages can be promised: asked for, and free and not promised. ENOMEM.
    NotEnough {
        /// Pages asked for.
        asked: u64,
        /// Pages that could have been promised.
        available: u64,
    },
}

impl fmt::Display for HugetlbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HugetlbError::NotEnough { asked, available } => {
                write!(f, "{asked} huge pages asked for, {available} available")
            }
        }
    }
}
