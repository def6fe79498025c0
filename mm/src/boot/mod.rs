//! Boot of memory management: from a list of RAM ranges to an allocator that runs.
//!
//! ```text
//! BootMem --check--> frames --early--> folios of the pools --early--> tables: linear map, image, vmemmap
//!         --set_kernel_root--> struct pages of all RAM --> buddy allocator, which gets what the early allocator has left
//! ```
//! Guarantee: every frame of RAM belongs to exactly one of the buddy allocator, vmemmap
//! ([`PageKind::Vmemmap`](crate::page::PageKind)), a hugetlb folio, and what stays reserved for ever; no kernel mapping is both
//! writable and executable, and text and read-only data cannot be written through the linear map either.
//! Until the new root is installed, tables are written directly: no CPU walks them yet.
//!
//! | file | what |
//! |---|---|
//! | [`mem`] | what the machine was booted with, and its check |
//! | [`frames`] | whole frames, as ranges |
//! | `early` | the allocator before the allocator |
//! | `folios` | hugetlb folios that are made before there are struct pages |
//! | `tables` | writes tables that nobody walks yet; linear map and image |
//! | `vmemmap` | maps vmemmap and fills in every struct page |
//! | [`mm`] | [`Mm`], which holds all state, and its boot |
#![forbid(unsafe_code)]

mod early;
mod folios;
pub mod frames;
pub mod mem;
pub mod mm;
mod tables;
#[cfg(test)]
mod tests;
mod vmemmap;

pub use frames::Frames;
pub use mem::{BootError, BootMem, ImageSection, PhysRange};
pub use mm::Mm;
