//! How tables and struct pages are printed, the same on the console and in the tour. Each value formats without
//! taking a lock, as printing asks.
//!
//! | file | what |
//! |---|---|
//! | `tables` | walks |
//! | `page` | struct pages |
//! | `vmemmap` | the pages of vmemmap of 2 MiB; what HVO does on this boot |
//! | `folio` | all vmemmap of a hugetlb folio, before HVO and after it |
#![forbid(unsafe_code)]

mod folio;
mod page;
mod tables;
mod vmemmap;

pub use folio::folio;
pub use page::struct_page;
pub use tables::walk;
pub use vmemmap::{Frame, Hvo, vmemmap};
