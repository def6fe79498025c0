//! The errors that cross rooms. A room's own errors stand in the room.
#![forbid(unsafe_code)]

use core::fmt;

/// No memory: the request could not be met. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}
