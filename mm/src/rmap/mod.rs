//! Room 5: from a folio to the entries that map it, and what is done with them.
//!
//! | file | what |
//! |---|---|
//! | [`walk`] | from a folio to its places and entries |
//! | [`referenced`] | whether it was accessed |
//! | `unmap` `runs` | taking it out of all tables and putting it back; counting that |
//! | [`migrate`] [`target`] | moving it to another frame |
//! | [`split`] | making single pages of it |
//! | [`deferred`] | folios that are mapped in part, to be split when memory is short |
//! | [`underused`] | huge pages that hold many zeros, likewise |
//! | `movable` | what stands in the way of a range becoming free |
//! | `failed` | taking memory that has failed out of the tables |
//! | [`contig`] | memory in one piece, by moving away what is in it |
//! | [`compact`] | blocks of 2 MiB, by moving single pages up |
//! | `check` | the room's part of [`crate::check`] |
//! | `wait` | waiting for a frame that is moving |
#![forbid(unsafe_code)]

mod check;
pub mod compact;
pub mod contig;
pub mod deferred;
mod failed;
pub mod migrate;
mod movable;
pub mod referenced;
mod runs;
pub mod split;
pub mod target;
pub mod underused;
mod unmap;
mod wait;
pub mod walk;

pub use compact::{Compacted, compact_all, compact_zone};
pub use contig::ContigError;
pub(crate) use failed::Still;
pub use migrate::{MoveWhat, NotMoved, Refused, migrate_folio};
pub use referenced::{Exit, Referenced, folio_referenced};
pub use split::split_folio;
pub use target::{drop_target, target_for};
pub use unmap::unmap_folio;
pub use wait::wait;
use wait::wake;
pub use walk::{Mappings, Place, count_mappings, rmap_walk};

use crate::locks::{ISOLATION, SleepLock};
use crate::turnstile::Turnstile;
use compact::Deferral;
use deferred::Deferred;

/// State of this room.
pub struct Rmap {
    /// Where faults wait for a migration to end.
    moved: Turnstile,
    /// Folios that are mapped in part.
    deferred: Deferred,
    /// Held by whoever isolates a range.
    isolating: SleepLock,
    /// When to compact again.
    compaction: Deferral,
}

impl Rmap {
    /// Nothing moves. Needs no memory.
    #[must_use]
    pub const fn new() -> Self {
        Rmap {
            moved: Turnstile::new(),
            deferred: Deferred::new(),
            isolating: SleepLock::new(ISOLATION),
            compaction: Deferral::new(),
        }
    }
}

impl Default for Rmap {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
