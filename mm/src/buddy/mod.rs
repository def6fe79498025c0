//! Room 2: the buddy allocator.
//!
//! Memory is given out in naturally aligned blocks of 2^order pages, order 0 to 10. A free block of order n has
//! one *buddy*, the block beside it with which it forms a block of order n + 1; when both are free they merge.
//! Single pages pass through a list per CPU, so that most allocations take no shared lock. Memory that can be moved and
//! memory that cannot come from different 2 MiB where that is possible.
//!
//! ```text
//!   alloc_pages(0) --> per-CPU list --(empty: a batch)--> free lists of the zone <--> merge, split
//!   alloc_pages(n) -----------------------------------------'
//! ```
//! **Guarantee.** Each managed frame is at every moment in one of four states, which its struct page tells:
//!
//! | state | first struct page | the others of the block |
//! |---|---|---|
//! | free block | [`PageKind::Buddy`](crate::page::PageKind) and its order; on the free list of that order | `Free` |
//! | free, cached by a CPU | `Free`; on that CPU's list | - |
//! | given out, plain | the kind asked for and the order, refcount 1 or more | `Free` |
//! | given out, folio | kind, order and `HEAD`, refcount 1 or more | `Tail` |
//!
//! So giving out or merging a block touches the struct pages at its ends, not all of them. A struct page that
//! is given out is all zeros but for kind, order and count. Whoever gives back a block that is not given out,
//! or of another order, is stopped by a panic that says which: the free lists could not be trusted any more.
//!
//! **Protocol.** An allocation is first *admitted*: the pages are taken off the zone's count of free pages,
//! unless that would go below the mark for its kind. Only then are they looked for. Z protects the free lists,
//! P one CPU's list; a list is refilled with both held (Z before P).
//!
//! | file | what |
//! |---|---|
//! | `area` | free lists of all orders; merge and split |
//! | `batch` | single pages on their way back together |
//! | [`migratetype`] | what can move, and what cannot, in pageblocks of their own |
//! | [`zone`] | a zone: admission, per-CPU lists |
//! | [`watermark`] | how many pages are kept for whom |
//! | [`shortage`] | the last request that found no memory |
//! | `pages` | the allocator's functions of [`crate::Mm`] |
//! | `failed` | what is left of a folio of which a part has failed |
//! | `check` | the room's part of [`crate::check`] |
#![forbid(unsafe_code)]

mod area;
mod batch;
mod check;
mod failed;
pub mod migratetype;
#[cfg(test)]
mod migratetype_tests;
mod pages;
pub mod shortage;
#[cfg(test)]
mod tests;
pub mod watermark;
pub mod zone;

use arch::Order;

pub(crate) use batch::SingleBatch;
pub use migratetype::MigrateType;
pub(crate) use shortage::LastShortage;
pub use shortage::Shortage;
pub use watermark::{Reserve, Watermarks};
pub use zone::Zone;

/// The largest block: 4 MiB.
pub const MAX_ORDER: Order = Order::new(10);

/// Number of orders, 0..=[`MAX_ORDER`].
pub const ORDERS: usize = MAX_ORDER.raw() as usize + 1;
