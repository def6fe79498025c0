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
//! plan     (optimize, restore)   every allocation: table for a split, shared page, or seven new pages, filled
//! replace  (strategy, remap)     live entries: break, flush, make; the table is locked
//! settle   (optimize, restore)   flags and counters; what was replaced goes through a gather
//! ```
//! Changing an output address whose contents differ needs a break (Arm ARM R_WHZWS), and while an entry is
//! broken its struct pages cannot be touched by anybody: the splitting of one 2 MiB block of vmemmap hides
//! 32768 struct pages, those of 128 MiB of RAM, even that of the table which replaces the block. A
//! [`strategy`] is a way to be sure that nobody does. On this side it holds by construction: what runs
//! between plan and settle is given a [`remap::Plan`], which has addresses, finished descriptors and a table to
//! link, and leads to no [`crate::page::PageRef`]; it reads and writes tables through the linear map only; counters stand in
//! [`crate::Mm`]; and no allocation, free or gather happens there.
//!
//! | file | what |
//! |---|---|
//! | [`layout`] | which vmemmap pages stay and which go; pure |
//! | [`optimize`] | plan and settle, there |
//! | [`restore`] | plan and settle, back |
//! | [`shared`] | the shared page of tails |
//! | [`remap`] | the plan of a folio, and the walk that carries it out either way |
//! | [`strategy`] | how nobody touches a broken entry; one file each |
//! | [`fault`] | faults of the kernel's own accesses to struct pages |
//! | [`describe`](mod@describe) | the eight entries as they stand, for people |
//! | [`check`] | every optimised folio against the tables |
#![forbid(unsafe_code)]

pub mod check;
pub mod describe;
mod error;
pub mod fault;
pub mod layout;
pub mod optimize;
pub mod remap;
pub mod restore;
pub mod shared;
pub mod strategy;
mod switch;

pub use describe::{VmemmapEntry, describe};
pub use error::{BatchOutcome, HvoError};
pub use optimize::{optimize_folio, optimize_folios};
pub use restore::{restore_folio, restore_folios};
pub use switch::{Hvo, Switch};

/// Most folios that one strategy call replaces: bounds the stack that plans take, and the time for which
/// other CPUs wait.
pub const BATCH: usize = 16;
