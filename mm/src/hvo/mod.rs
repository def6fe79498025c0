//! Room 10: the hugetlb vmemmap optimisation (HVO).
//!
//! A 2 MiB folio has 512 struct pages: 32 KiB, eight pages of vmemmap. All state stands in the head; the 511
//! tails say nothing but where the head is. So one page is kept for the head, the other seven addresses come
//! to map one page of tails that is shared, read-only, and their seven frames go to the buddy allocator: 28
//! KiB of every 2 MiB, 1.37 %.
//!
//! ```text
//! before                                       after, tails=mask                 after, tails=pointer
//! vmemmap   struct pages                       vmemmap                           vmemmap
//!   +0K     head, 1..63      -> frame A  rw      +0K  -> A               rw        +0K  -> A  rw
//!   +4K     64..127          -> frame B  rw      +4K  -> shared tails    r-        +4K  -> A  r-
//!   +8K     128..191         -> frame C  rw      +8K  -> shared tails    r-        +8K  -> A  r-
//!    :         :                  :               :         :                       :      :
//!  +28K     448..511         -> frame H  rw     +28K  -> shared tails    r-       +28K  -> A  r-
//!                                               B..H are free: 7 x 4 KiB = 28 KiB
//! ```
//! With `mask` all tails of an order are byte-identical, so the shared page serves every folio and stays for
//! ever. With `pointer` the head's own page is what is shared, and every 64th struct page is a *fake head*
//! that [`crate::page::tails`] tells apart.
//!
//! # Guarantee
//! A folio is either wholly optimised or wholly restored. Whatever fails, fails before the first store; a
//! restore that cannot get its seven pages leaves the folio optimised. The frames reach the buddy allocator
//! only when no TLB holds their translation. While a folio is optimised or restored it is *frozen*: its count
//! is 0, the caller is its only user, and nobody writes its tails.
//!
//! # Protocol
//! ```text
//! plan     (optimize, restore)     every allocation: tables for splits, the shared page, or new pages, filled
//! split    (split, window)         tables in the place of blocks
//! replace  (strategy, window)      live entries: by breaks, or by rights and equal bytes; the tables are locked
//! settle   (optimize, restore)     flags and counters; what is no longer mapped is freed
//! ```
//! Changing an output address needs a break where one side is writable, or the bytes differ (Arm ARM R_WHZWS), and while
//! an entry is broken its struct pages cannot be touched by anybody: the splitting of one 2 MiB block of vmemmap by a
//! break hides 32768 struct pages, those of 128 MiB of RAM, even that of the table which replaces the block. A
//! [`strategy`] is a way to be sure that nobody does, or a way to do without a break. On this side it holds by
//! construction: what runs between plan and settle is given a [`batch::Batch`], which has addresses, frames and tables,
//! and leads to no [`crate::page::PageRef`]; it reads and writes tables through the linear map only; counters stand in
//! [`crate::Mm`]; and no allocation, free or gather happens there.
//!
//! A list is done with as few pauses and flushes as one folio, [`MOST_ENTRIES`] entries at a time, and with one grace
//! period.
//!
//! | file | what |
//! |---|---|
//! | [`layout`] | which vmemmap pages stay and which go; pure |
//! | [`choice`] | which strategy this boot has, and why not another |
//! | `direction` | a list of folios, there or back |
//! | [`optimize`] | plan and settle, there |
//! | [`restore`] | plan and settle, back |
//! | [`divide`] | an optimised folio becomes optimised ones of a smaller size |
//! | [`batch`] | the plan of a list |
//! | `frames` | a folio's own frames |
//! | [`shared`] | the shared page of tails |
//! | `split` | tables in the place of blocks |
//! | [`window`] | the changes of entries that strategies are made of, a list at a time |
//! | [`strategy`] | how nobody touches a broken entry, or none is broken; one file each |
//! | `hold` | other CPUs held, or waited for |
//! | [`fault`] | faults of the kernel's own accesses to struct pages |
//! | [`describe`](mod@describe) | the entries as they stand, for people |
//! | [`check`] | every optimised folio against the tables |
#![forbid(unsafe_code)]

pub mod batch;
pub mod check;
pub mod choice;
pub mod describe;
mod direction;
pub mod divide;
mod error;
pub mod fault;
mod frames;
mod hold;
pub mod layout;
pub mod optimize;
pub mod restore;
pub mod shared;
mod split;
pub mod strategy;
mod switch;
pub mod window;

pub use describe::{VmemmapEntry, describe};
pub use divide::divide_folio;
pub use error::{BatchOutcome, HvoError};
pub use optimize::{optimize_folio, optimize_folios};
pub use restore::{restore_folio, restore_folios};
pub use shared::SharedTails;
pub use switch::{AtBoot, Hvo, Switch};

/// Entries of a list from which on it is carried out before more is planned: bounds the time for which others wait. One
/// folio of 1 GiB has 4095, and 585 folios of 2 MiB have.
pub const MOST_ENTRIES: u64 = 4095;
