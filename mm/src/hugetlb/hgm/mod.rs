//! High-granularity mapping (HGM): a hugetlb page that stays one folio, mapped by entries of any smaller size.
//!
//! ```text
//!   level 1   [ table ]                                    one page of 1 GiB
//!                 |
//!   level 2   [ block 2M | block 2M | table | . ]          what is mapped: 2M, 2M, 64K, 4K; the rest is blank
//!                                       |
//!   level 3                        [ C C .. C | p | . ]
//! ```
//! MADV_SPLIT permits it for a part of a shared VMA ([`Grain`]) and changes nothing that is mapped. From then on
//!
//! | what | does |
//! |---|---|
//! | a page fault | maps the blank entry that it meets, as large as that is |
//! | [`Mm::continue_huge`] (UFFDIO_CONTINUE) | maps a range of pages that the object has, by the largest entries that alignment, length and what stands there allow |
//! | [`split_to_page`] | takes one leaf apart, so that 4 KiB of it can go |
//! | MADV_COLLAPSE | maps a range by the largest entries again, pages that were never continued too |
//!
//! **What an entry is** ([`HugetlbPte`]) is asked under T each time: who has looked and let T go looks again, as a leaf
//! may have been split meanwhile, by somebody who came from the page and has not M. A blank entry becomes a table, and
//! a table a leaf, only under M.
//!
//! | walker | sees smaller entries by |
//! |---|---|
//! | fault, continue | [`HugetlbPte::at`] |
//! | munmap, mprotect, MADV_DONTNEED, truncation | scans of entries of any level (`space::range`, `space::unmap`) |
//! | fork | leaves shared memory to the child's faults |
//! | mremap | the entry of the page's own size goes, with what is below (`space::relocate`) |
//! | smaps, pagemap, mincore, pins | leaves of any level (`report::leaves`) |
//! | rmap: migration, referenced | places, and leaves of any level in them ([`crate::rmap::walk`]) |
//!
//! `hgm=pages` is the simplification that was proposed for all of this and not taken: MADV_SPLIT unmaps the range, and
//! from then on its entries are pages of 4 KiB and nothing else, so nobody has to ask for a size; MADV_COLLAPSE, of
//! whole huge pages only, ends that.
//!
//! Each entry holds one reference and counts as one mapping; where the next one would overflow either, the fault is
//! SIGBUS, and continuing EFAULT.
//!
//! | file | what |
//! |---|---|
//! | [`pte`] | an entry and its real size |
//! | [`split`] | the permission; one leaf becomes smaller ones |
//! | [`continuing`] | UFFDIO_CONTINUE |
//! | [`collapse`] | MADV_COLLAPSE |
//! | `debris` | what a collapse has put out of use |
//! | [`experiment`] | what it costs |
//!
//! [`Grain`]: crate::space::Grain
//! [`Mm::continue_huge`]: crate::Mm::continue_huge
#![forbid(unsafe_code)]

pub mod collapse;
pub mod continuing;
mod debris;
pub mod experiment;
pub mod pte;
pub mod split;
#[cfg(test)]
mod tests;

pub use collapse::NotCollapsed;
pub(crate) use collapse::collapse_next;
pub use continuing::ContinueError;
pub(crate) use debris::Debris;
pub(crate) use pte::Piece;
pub use pte::{HugetlbPte, MapSize};
pub(crate) use split::grain_after_split;
pub use split::{NotSplit, split_to_page};
