//! Room 12: what Linux says in `/proc/<pid>/{maps,smaps,smaps_rollup,pagemap,status}`, `/proc/kpagecount` and
//! `/proc/kpageflags`, in its formats.
//!
//! This room reads only. Text goes to a [`core::fmt::Write`], which may refuse; numbers go to a slice of words. Nothing
//! is allocated. A file that has a record for each VMA is written record by record, from an address on, so that a
//! reader that comes back for more does not begin anew (Linux: `m_start` of `fs/proc/task_mmu.c`).
//!
//! ```text
//!   maps, smaps          M for one record: a VMA and what the tables map there
//!     smaps_rollup       M for the walk, T for one table at a time
//!     status, pagemap    as smaps_rollup
//!   kpagecount, kpageflags, glance      no lock at all
//! ```
//! **How exact.** Sizes and present pages are exact for each table at the moment at which it is read. What says who
//! else maps a page (PSS, the `Private` and `Shared` rows, bit 56 of pagemap, kpagecount) is as exact as the way of
//! counting that the machine was booted with ([`crate::mapcount`]); `share` has the rules, and the README what comes of
//! them for a huge page.
//!
//! **Races.** Other spaces are never locked, so fork, unmap and split there go on, and counts change while a report is
//! made. The readers without a lock race with their own space too. Whatever they meet:
//!
//! - no number is negative, and nothing panics: counts are read once and held to at least 1 before a division;
//! - nothing wild is read: the frame of a normal leaf always has a struct page, whoever has it meanwhile, and a table
//!   is read under a reference only (`leaves`);
//! - PSS ≤ RSS = private + shared, RSS ≤ size of the range: each address is counted once at most;
//! - a leaf that is broken to be made anew (promotion, a contiguous group) may be missing, with up to 2 MiB;
//! - what is moving to another frame counts as resident all the while, by the migration entry that stands for it
//!   (`leaves`), and to pagemap it is moving. Who else maps it cannot be told meanwhile: PSS counts it whole, and it
//!   is shared, as with Linux;
//! - what is said of a frame may be true of what it became after the leaf was read: a count of the folio that it now
//!   belongs to, or of none. A scheme with exact counts gives a count that was right at the moment of the look; a
//!   split in progress may show as the block's count or the pages'.
//!
//! | file | what |
//! |---|---|
//! | `lines` | lines of text with right-aligned numbers |
//! | `table` | the rows of smaps, all at once |
//! | `leaves` | the leaves of a space, a table at a time, with a lock or without |
//! | `share` | one mapping's share of a page, as exactly as the scheme can tell |
//! | [`sizes`] | what a range maps, added up; [`Mm::glance`](crate::Mm::glance) |
//! | [`maps`] | the line of a VMA, and its name |
//! | [`smaps`] | the record of a VMA; smaps_rollup |
//! | `vm_flags` | the last row of smaps |
//! | [`pagemap`] | a word for each page of a space |
//! | [`status`] | a process in numbers |
//! | [`frames`] | a word for each frame of RAM: kpagecount, kpageflags |
#![forbid(unsafe_code)]

pub mod frames;
mod leaves;
mod lines;
pub mod maps;
pub mod pagemap;
mod share;
pub mod sizes;
pub mod smaps;
pub mod status;
mod table;
mod vm_flags;

pub use leaves::Reading;
pub use sizes::Sizes;
pub use status::{State, Subject};
