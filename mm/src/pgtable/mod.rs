//! Room 3: page tables.
//!
//! A live descriptor is written in one place only: through an [`Entry`], which can be had only from the locked
//! [`PtRoot`] of its tree. An entry is a typestate: what may be done next is what its type offers.
//!
//! ```text
//!            make                  relax, tighten
//!   invalid ------> Entry (valid) ----------------> valid; relax has flushed, tighten owes it to the Gather
//!                     |       \ clear
//!          break_live |        `-------> invalid, flush owed to the Gather, and Unmapped, which it holds
//!                     v
//!                  Broken --flush--> Clean --make--> valid, and Displaced, which a Gather may hold
//! ```
//! What the compiler refuses (`mm/tests/ui` has a program for each):
//!
//! - A [`Broken`] entry has no `make`: only [`Clean`] has, which a flush alone gives. It borrows the locked tree,
//!   exclusively: it cannot outlive the lock, and no other entry of the tree can be had while it lives.
//! - A [`Gather`] exists inside the closure of [`crate::Mm::gather`] only, by reference: nobody can leave it
//!   unfinished.
//! - What was taken out of a live tree is an [`Unmapped`] (or [`Displaced`], once flushed), not something that can
//!   be freed: only the gather that owes the flush takes it, and it reaches the allocator after that flush. Frames
//!   and tables that were never linked have other types, [`crate::page::FolioRef`] and [`LooseTable`].
//!
//! What the types do not say, the judge of the model does: that an entry which was cleared is not made before the
//! gather's flush, and that a table is linked with the descriptor that [`LooseTable::link`] gave.
//!
//! | file | what |
//! |---|---|
//! | [`mod@walk`] | reading a tree: every level from the root to the leaf |
//! | [`root`] | a locked tree, and how entries are had from it |
//! | [`entry`] | the only writer of live entries |
//! | [`tighten`] | many entries of one table that lose rights at once |
//! | `verify` | in debug builds: each store against the rule and the lock |
//! | [`fold`] | groups of 16 page entries with the contiguous bit |
//! | [`resize`] | a table and a block replace each other without a break |
//! | `folded` | what an entry does that is one of them |
//! | `relocate` | entries that go to another place of their tree |
//! | [`migration`] | migration entries: how they come, change and go |
//! | [`poison`] | poison markers, the same |
//! | [`flush`] | the only caller of TLBI for all CPUs |
//! | [`gather`] | owes flushes; holds frames until they are done |
//! | [`normal`] | which leaves have a struct page that may be touched |
//! | [`stretch`] | entries of one table that a walk over a range comes to at once |
//! | [`severed`] | a table that leaves its tree with all that it holds |
//! | [`uprooted`] | a table that has left its tree with all that is below it |
//! | [`change`] | leaves that get other rights, many of them in the same way |
//! | [`unlinked`] | what was taken out of a tree |
//! | [`table`] | tables that no tree leads to |
//! | [`private_tree`] | a tree that no CPU uses |
//! | [`stock`] | tables allocated before the lock |
//! | [`visit`] | every leaf of a tree, every descriptor |
//! | [`kernel`] | the kernel's own tree: built at boot, devices and stacks later |
//! | `check` | every table is linked once; what the kernel's leaves map |
//! | `vmalloc` | who has which addresses for devices and stacks |
#![forbid(unsafe_code)]

pub mod change;
mod check;
pub mod entry;
pub mod flush;
pub mod fold;
mod folded;
pub mod gather;
pub mod kernel;
#[cfg(test)]
mod kernel_tests;
pub mod migration;
pub mod normal;
pub mod poison;
pub mod private_tree;
mod relocate;
pub mod resize;
pub mod root;
pub mod runs;
pub mod severed;
pub mod stock;
pub mod stretch;
pub mod table;
pub mod tighten;
pub mod unlinked;
pub mod uprooted;
mod verify;
pub mod visit;
mod vmalloc;
pub mod walk;

pub use entry::{Broken, Clean, Entry};
pub use flush::{AsidCell, FlushTag, Flusher};
pub use fold::Fold;
pub use gather::Gather;
pub use normal::{moving_kind, normal_folio, normal_page};
pub use private_tree::PrivateTree;
pub use resize::{Resized, may_resize};
pub use root::{Missing, PtRoot};
pub use runs::{Run, Runs, Told};
pub use severed::Severed;
pub use stock::TableStock;
pub use stretch::Stretch;
pub use table::{LooseEntries, LooseTable};
pub use tighten::Tightening;
pub use unlinked::{Displaced, Unmapped};
pub use uprooted::Uprooted;
pub use walk::{Walk, WalkStep, walk};
