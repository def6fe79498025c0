//! Room 4: how often a folio is mapped, and by whom.
//!
//! A *mapping* is one leaf entry of a user tree, of any size, that maps a part of the folio. Each holds one
//! reference to the folio's head. How mappings are counted is a choice ([`crate::config::Mapcount`]), at boot or when
//! the kernel is built; what a scheme can answer, and how exactly, is the contract of [`MapcountScheme`]. Truth in
//! tests is a scan of all tables.
//!
//! | scheme | what it counts | mapped | entries | page_entries | pages_mapped | shared | average |
//! |---|---|---|---|---|---|---|---|
//! | [`rfc-v1`](rfc_v1) | entries of the folio's own size, leaf or table | bound | bound | bound | bound | bound | estimate |
//! | [`rfc-v1+counted`](rfc_v1) | the same, with a mark for who zaps leaves | exact | bound | bound | bound | bound | estimate |
//! | [`rfc-v2`](rfc_v2) | leaf entries | exact | exact | bound | bound | bound | estimate |
//! | [`thp-like`](thp_like) | entries of the folio's own size; of each page, the others | exact | bound | exact | exact | bound | estimate |
//! | [`rfc-v2+vmacount`](vmacount) | leaf entries; entries of the folio's own size | exact | exact | bound | bound | bound | estimate |
//! | [`vma-pt`](vma_pt) | pairs of a VMA and a page table | exact | bound | bound | bound | bound | estimate |
//! | [`mm-owner`](mm_owner) | leaf entries; two owners and what they have of them | exact | exact | bound | bound | bound | estimate |
//! | [`total-mapped`](total_mapped) | leaf entries; pages that they map, in sum | exact | exact | bound | bound | bound | estimate |
//!
//! *exact*: always right. *bound*: right, or never less than the truth (of `shared`: "exclusive" is always right), and the
//! answer says which. *estimate*: wrong either way. Of a single page all of them know everything, by one atomic
//! operation a run. The table is a test, and how often a bound is off is measured ([`experiment`]).
//!
//! # Protocol
//! ```text
//! entries are made      may_add, then add            one call a run: entries of one table, next to one another,
//! entries are cleared   remove; zap from the folio   that map consecutive pages of one folio
//! block <-> table       split, join                  the same folio before and after
//! pages become a folio  fold
//! the folio is freed    free
//! VMAs cut or joined    vma_boundary
//! ```
//! Counts change under the page-table lock (T) of the tree whose entry was made or cleared. Who reads them without it,
//! while others fork, unmap and split: what is mapped all the time is never said to be unmapped, or mapped by fewer
//! entries, and what two spaces map all the time is never said to be `Exclusive`; but the entries of a block may be
//! counted twice while it becomes a table, or a table it. That holds for every scheme, and `tests/lockless.rs` holds
//! them to it.
//!
//! | file | what |
//! |---|---|
//! | `scheme` | the contract |
//! | `answer` `run` | what is answered; what is counted |
//! | `dispatch` | the choice, and its pin |
//! | `owner` | small numbers for address spaces |
//! | `top` `neighbours` | rule A: the first and the last behind a top entry; a look into the table |
//! | `single` | a single page |
//! | `leaving` | entries that go with their tables |
//! | one a scheme | see above |
//! | [`verdict`] | a scheme's answers against the truth, whoever has found that |
//! | `check` | the truth of live trees |
//! | [`experiment`] | what each costs, and how often its answers are true |
//! | [`lab`] | spaces and folios on which any scheme can be tried |
#![forbid(unsafe_code)]

mod answer;
pub(crate) mod check;
mod dispatch;
pub mod experiment;
pub mod lab;
mod leaving;
pub mod mm_owner;
mod neighbours;
mod owner;
pub mod rfc_v1;
pub mod rfc_v2;
mod run;
mod scheme;
mod single;
#[cfg(test)]
mod tests;
pub mod thp_like;
mod top;
pub mod total_mapped;
pub mod verdict;
pub mod vma_pt;
pub mod vmacount;

pub use answer::{Answer, Claim, Contract, CountFull, Question, Remains, Sharing};
pub(crate) use dispatch::free;
pub use dispatch::{Boundary, PINNED, add, fold, join, may_add, remove, scheme, split, vma_boundary, zap};
pub(crate) use leaving::Leaving;
pub use owner::{OwnerId, OwnerIds};
pub use run::{Place, Run};
pub use scheme::MapcountScheme;
pub(crate) use single::{add_first, add_one, remove_one};

/// A count that would reach this is full: 2^31, where the sign bit of Linux's counters is. What adds without having
/// seen another's addition may get beyond it by what is in flight, which is far from 2^32.
pub const LIMIT: u32 = 1 << 31;
