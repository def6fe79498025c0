//! Room 8: huge pages of anonymous memory, by reservation.
//!
//! The first write to an aligned 2 MiB range *reserves* a naturally aligned block of 512 pages for it. Faults of
//! the range then take *their* page of the block, page `i` for the `i`th page of the range, so that the range lies in
//! physical memory just as one 2 MiB block would map it. When enough pages are populated, a kernel thread
//! *promotes* the range in place, or the fault itself does (`promote=`): no copy, one block entry for 512 page entries.
//!
//! ```text
//!   range of a space      0   1   2   3  ...  511        virtual, 2 MiB aligned
//!                         |       |   |        |
//!   block of the buddy   [A] [r] [A] [A] ...  [A]        physical, 2 MiB aligned
//!                         A: populated, kind Anon          r: kind ThpReserved, no entry maps it
//!   popmap                1   0   1   1  ...   1         at `promotion_threshold` bits: promote
//! ```
//! **Guarantee.** Page `i` of a block is mapped at page `i` of its range or nowhere. A reservation is at any time only
//! a hint of mm's to itself: it may be released whenever no lock is held, and nothing but speed is lost. Whoever
//! still uses a page of it, an entry or a fault under way, holds a reference of his own.
//!
//! **References.** The reservation holds one reference to each populated page, an entry holds one more. Pages that
//! nobody has populated lie in *pieces* (`pieces`), blocks of 1 to 512 pages as the buddy allocator gives them out, with
//! one reference each. Release drops the reservation's references, and so the pages that nobody uses return to the
//! buddy allocator.
//!
//! **State.** All of it stands in struct pages of the block itself ([`record`]), so a reservation needs no memory of
//! its own and keeping it cannot fail. It is found from an address by a hash ([`table`]), and from any of its pages by
//! rounding the pfn down.
//!
//! **Locks.** R, one lock a bucket of the table, covers the records of that bucket; taken before T, and both before
//! U, the lock of the queue.
//!
//! | file | what |
//! |---|---|
//! | [`permission`] | whether a process may have huge pages at all |
//! | [`policy`] | sees values, returns a word: small, reserve, huge |
//! | [`settings`] | words and numbers, changed at run time |
//! | [`popmap`] | which of 512 pages are populated |
//! | [`record`] | a reservation, as it stands in its struct pages |
//! | `pieces` | the pages that nobody has populated, as blocks |
//! | [`table`] | all reservations, by space and range |
//! | [`queue`] | the partially populated ones, by when they last changed |
//! | [`reservation`] | reserve, take a page, give it back, release |
//! | [`reclaim`] | release under memory pressure |
//! | [`promoter`] | the queue of `kpromoted`, and its body |
//! | [`promote`] | 512 page entries become one block, in place |
//! | `exchange` | the level-2 entry is broken, flushed and made anew |
//! | `strays` | pages that a write after fork has put elsewhere |
//! | [`measure`] | what is ripe by a threshold that has changed |
//! | `group` | 64 KiB on the way: 16 pages become a folded group |
//! | `held` | for how long T and M are held to make a huge page |
//! | [`reunite`] | a huge page that a write after fork has taken apart becomes one again, in place |
//! | [`holes`] | notes of ranges that are to be promoted once nobody shares or uses them |
//! | [`again`] | who asks for noted ranges, and when they are tried |
//! | [`huge`] | a block at the first fault |
//! | [`collapse`] | a range of anything becomes one huge page, by copy |
//! | [`khugepaged`] | the thread that looks for ranges to collapse |
//! | [`split`] | one block becomes 512 page entries |
//! | [`check`] | reservations against struct pages, counters and tables |
#![forbid(unsafe_code)]

pub mod again;
pub mod check;
pub mod collapse;
mod exchange;
mod group;
pub(crate) mod held;
pub mod holes;
pub mod huge;
pub mod khugepaged;
pub mod measure;
pub mod permission;
mod pieces;
pub mod policy;
pub mod popmap;
pub mod promote;
pub mod promoter;
pub mod queue;
pub mod reclaim;
pub mod record;
pub mod reservation;
pub mod reunite;
pub mod settings;
pub mod split;
mod strays;
pub mod table;

pub use holes::Holes;
pub use huge::{HugeFault, NoHugePage, huge_fault, zero_fault};
pub use permission::ThpPermission;
pub use policy::Backing;
pub use promote::PromoteError;
pub use reservation::{Populated, SpaceReservations, Take, Taken};
pub use settings::SettingError;

use crate::config::MmConfig;
use crate::error::OutOfMemory;
use crate::turnstile::Turnstile;
use khugepaged::Khugepaged;
use measure::Measure;
use promoter::Promoter;
use queue::Queue;
use settings::Settings;
use table::Table;

/// All state of this room.
pub struct Thp {
    settings: Settings,
    table: Table,
    queue: Queue,
    promoter: Promoter,
    khugepaged: Khugepaged,
    measure: Measure,
    turnstile: Turnstile,
}

impl Thp {
    /// No reservations; settings as booted.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(config: &MmConfig) -> Result<Self, OutOfMemory> {
        Ok(Thp {
            settings: Settings::new(config),
            table: Table::new()?,
            queue: Queue::new(),
            promoter: Promoter::new(),
            khugepaged: Khugepaged::new(),
            measure: Measure::new(),
            turnstile: Turnstile::new(),
        })
    }
}

#[cfg(test)]
mod tests;
