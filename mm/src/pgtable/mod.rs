//! Room 3: page tables.
//!
//! A live descriptor is written in one place only: through an [`Entry`], which can be had only from the locked
//! [`PtRoot`] of its tree. An entry is a typestate: what may be done next is what its type offers.
//!
//! ```text
//!            make                  tighten, relax, repoint
//!   invalid ------> Entry (valid) ------------------------> Entry (valid), flush owed to the Gather
//!                     |       \ clear
//!          break_live |        `-------> invalid, flush owed to the Gather
//!                     v
//!                  Broken --flush--> Clean --make--> valid
//! ```
//! A [`Broken`] entry has no `make`, and borrows the locked tree, so it cannot outlive the lock. What a change
//! leaves behind in TLBs is owed to a [`Gather`], which also holds the frames that were unmapped: they reach
//! the allocator only after its flush.
//!
//! | file | what |
//! |---|---|
//! | [`mod@walk`] | reading a tree: every level from the root to the leaf |
//! | [`root`] | a locked tree, and how entries are had from it |
//! | [`entry`] | the only writer of live entries |
//! | [`flush`] | the only caller of TLBI |
//! | [`gather`] | owes flushes; holds frames until they are done |
//! | [`stock`] | tables allocated before the lock |
//! | [`visit`] | every leaf of a tree, every descriptor |
//! | [`kernel`] | the kernel's own tree: built at boot, devices and stacks later |
//! | `check` | every table is linked once; what the kernel's leaves map |
//! | `vmalloc` | who has which addresses for devices and stacks |
#![forbid(unsafe_code)]

mod check;
pub mod entry;
pub mod flush;
pub mod gather;
pub mod kernel;
#[cfg(test)]
mod kernel_tests;
pub mod root;
pub mod stock;
pub mod visit;
mod vmalloc;
pub mod walk;

pub use entry::{Broken, Clean, Entry};
pub use flush::{AsidCell, FlushTag, Flusher};
pub use gather::Gather;
pub use root::{Missing, PtRoot};
pub use stock::TableStock;
pub use walk::{Walk, WalkStep, walk};
