//! Room 9: hugetlb.
//!
//! A pool of 2 MiB folios that are kept apart from the buddy allocator, so that whoever was promised one gets
//! it.
//!
//! ```text
//!              set_nr: grow                      fault (claim)
//!   buddy ------------------> pool: free folios --------------> mapped by one user block
//!         <------------------   count 0, HVO                  <---------
//!              set_nr: shrink                    last reference dropped
//! ```
//! # Guarantee
//! * A promise is kept: `resv_hugepages` is never more than `free_hugepages`. mmap promises ([`reserve`]),
//!   shrinking leaves promised folios alone, and a fault without a promise gets only what is not promised.
//! * Promises are never lost: every 2 MiB slot of a VMA that was promised its pages is either mapped, or
//!   holds one promise. So what munmap and exit must give back ([`unreserve`]) is exactly the number of slots
//!   that no entry maps, and no record of it is needed. A folio that leaves its slot while the VMA stays
//!   (MADV_DONTNEED) enters the pool in one step with the slot's promise (`take_back`).
//! * A folio in the pool has the count 0, so a walker of physical memory cannot take a reference to it, and
//!   HVO may replace its struct pages.
//!
//! # Protocol
//! [`Hugetlb::set_nr`] is the only one that makes or frees folios; it sleeps, and one at a time does so. HVO
//! is done as a folio enters the pool for the first time, and undone before it leaves for the buddy
//! allocator; between fault and last reference it stays as it is. [`free_folio`] may be called wherever a
//! reference may be dropped: it takes the pool's lock and nothing else.
//!
//! | file | what |
//! |---|---|
//! | [`hstate`] | the size of the pool's pages |
//! | [`pool`] | free folios, promises, and their numbers |
//! | [`resize`] | growing and shrinking |
//! | [`fault`](mod@fault) | the page fault |
//! | `cow` | a write to a folio that fork shares |
//! | [`check`] | numbers and folios against a scan |
#![forbid(unsafe_code)]

pub mod check;
mod cow;
mod error;
pub mod fault;
pub mod hstate;
pub mod pool;
pub mod resize;

pub(crate) use cow::copy_for_fork;
pub use error::HugetlbError;
pub use fault::fault;
pub(crate) use pool::take_back;
pub use pool::{Claim, Counts, Hugetlb, free_folio, reserve, take_spare, unreserve};
pub use resize::Resized;
