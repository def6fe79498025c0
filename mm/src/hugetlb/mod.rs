//! Room 9: hugetlb.
//!
//! Pools of folios of 64 KiB, 2 MiB, 32 MiB and 1 GiB that are kept apart from the buddy allocator, so that whoever was
//! promised one gets it.
//!
//! ```text
//!              set_nr: grow                      fault (claim)
//!   buddy ------------------> pool: free folios --------------> mapped by its slot, or an object's
//!         <------------------   count 0, HVO                  <---------
//!              set_nr: shrink                    last reference dropped
//! ```
//! # Guarantee
//! * A promise is kept: `resv_hugepages` is never more than `free_hugepages`. mmap promises ([`reserve`]),
//!   shrinking leaves promised folios alone, and a fault without a promise gets only what is not promised.
//! * Promises are never lost: of memory without an object every slot of a VMA, an aligned page's worth, that was promised its pages is either mapped, or
//!   holds one promise. So what munmap and exit must give back ([`unreserve`]) is exactly the number of slots
//!   that no entry maps, and no record of it is needed. Promises to objects, and to private mappings of them, are
//!   lists (`promises`, [`owed`]). A folio that leaves its slot while the VMA stays
//!   (MADV_DONTNEED) enters the pool in one step with the slot's promise (`take_back`).
//! * A folio in the pool has the count 0, so a walker of physical memory cannot take a reference to it, and
//!   HVO may replace its struct pages.
//!
//! # Protocol
//! [`Hugetlb::set_nr`] makes and frees folios, [`Hugetlb::demote`] divides them; they sleep, one at a time does so. A
//! free folio in the way of memory in one piece is exchanged for another (`replace`), with the pool's lock only. HVO
//! is done as a folio enters the pool for the first time, and undone before it leaves for the buddy
//! allocator; between fault and last reference it stays as it is. [`free_folio`] may be called wherever a
//! reference may be dropped: it takes the pool's lock and nothing else.
//!
//! | file | what |
//! |---|---|
//! | [`hstate`] | the sizes of pages |
//! | [`pool`] | free folios, promises, and their numbers |
//! | `promised` | what a range that is unmapped has of the pools |
//! | `promises` | a list of what was promised, for those that keep one: objects, and `owed` |
//! | [`owed`] | what private mappings of objects were promised |
//! | [`resize`] | growing and shrinking; what is surplus |
//! | [`dissolve`] | free folios of a range leave their pools |
//! | [`demote`] | pages of one size become pages of a smaller one |
//! | `replace` | a free folio that stands in the way goes, another one comes for it |
//! | `slot` | the entries that map a page: one, or a group of 16 |
//! | [`fault`](mod@fault) | the page fault |
//! | [`poison`] | memory that has failed |
//! | `inject` | MADV_HWPOISON |
//! | `failed` | which pages of folios have |
//! | `cow` | a write to a folio that fork shares |
//! | [`hgm`] | pages that are mapped by smaller entries than their own |
//! | [`check`] | numbers and folios against a scan |
#![forbid(unsafe_code)]

pub mod check;
mod cow;
pub mod demote;
pub mod dissolve;
mod error;
mod failed;
pub mod fault;
pub mod hgm;
pub mod hstate;
mod inject;
pub mod owed;
pub mod poison;
pub mod pool;
mod promised;
mod promises;
mod replace;
pub mod resize;
mod slot;

pub(crate) use cow::{copy_for_fork, copy_on_write, map_copy};
pub use demote::{Demoted, NotSmaller};
pub use dissolve::NotDissolved;
pub use error::HugetlbError;
pub use fault::fault;
pub use hstate::HugeSize;
pub use owed::Owed;
pub(crate) use pool::take_back;
pub use pool::{Claim, Counts, Hugetlb, free_folio, reserve, take_spare, unreserve};
pub(crate) use promised::Promised;
pub(crate) use promises::Promises;
pub(crate) use replace::{is_replaceable, replace_free};
pub use resize::Resized;
pub(crate) use slot::{Grant, Mapped, Share, Slot, is_own};
