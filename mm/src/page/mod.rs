//! Room 1: struct page.
//!
//! Every frame of RAM has a struct page of 64 bytes in *vmemmap*, an array indexed by pfn in the kernel's
//! half of the address space. It is reached through one door, [`page_of`], which gives a [`PageRef`]: the
//! *virtual address* of the struct page, not a reference to it. Each access to a field translates that
//! address anew ([`arch::kernel_access`]), so that an access through a mapping that is stale, read-only or
//! broken at this moment is seen at the very access.
//!
//! ```text
//!   0       8               16         20         24       32       40     48        52        56        60
//!   +-------+---------------+----------+----------+--------+--------+------+---------+---------+---------+
//!   | flags | compound_info | link.next| link.prev| private| mapping| index| refcount| mapcount| pincount|  (64)
//!   +-------+---------------+----------+----------+--------+--------+------+---------+---------+---------+
//! ```
//! A *folio* is a naturally aligned block of 2^order pages that lives and dies as one. Its state stands in
//! the first struct page, the head; the others are tails, and hold nothing but [`tails`]' word that leads to
//! the head. Two exceptions serve [`crate::mapcount`]: the first tail has counters of its own (`first_tail`), and with
//! `mapcount=thp-like` every tail has one. A tail's reference count is always 0, so [`PageRef::try_get`] of a tail
//! never writes.
//!
//! A `PageRef` is a view: it is copied at will and frees nothing. Who may give memory up owns a reference, a
//! [`FolioRef`].
//!
//! | field | in a head or single page | in a tail |
//! |---|---|---|
//! | flags | kind, order, [`Flags`] | kind [`PageKind::Tail`] |
//! | compound_info | 0 | see [`tails`] |
//! | link | the one list that the page is on | 0 |
//! | private | owner's word: free block order, reservation, HVO state | 0 |
//! | mapping, index | whose memory it is, and where in it | 0 |
//! | refcount | references; 0: free or frozen | 0 |
//! | mapcount | leaf entries that map any part | 0 |
//! | pincount | pins of any part; see `pins` | 0 |

mod count;
mod door;
mod first_tail;
mod flags;
mod folio;
mod list;
mod owned;
mod pins;
mod queue;
mod speculate;
pub mod tails;

pub use count::{LastRef, MOST_REFERENCES};
pub use door::{PageRef, page_of};
pub(crate) use first_tail::FirstTailRef;
pub use flags::{Flags, PageKind};
pub use list::PageList;
pub use owned::{FolioList, FolioRef, SinglePages};
pub use pins::MOST_PINS;
pub use queue::PageQueue;

use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU32, AtomicU64};

use arch::layout::STRUCT_PAGE_BYTES;

/// The layout of a struct page. Nobody holds a reference to one; see [`PageRef`].
#[repr(C, align(64))]
pub struct Page {
    flags: AtomicU64,
    compound_info: AtomicU64,
    link_next: AtomicU32,
    link_prev: AtomicU32,
    private: AtomicU64,
    mapping: AtomicU64,
    index: AtomicU64,
    refcount: AtomicU32,
    mapcount: AtomicU32,
    pincount: AtomicU32,
    unused: AtomicU32,
}

const _: () = assert!(size_of::<Page>() as u64 == STRUCT_PAGE_BYTES);
const _: () = assert!(offset_of!(Page, compound_info) == 8);
const _: () = assert!(offset_of!(Page, refcount) == 48);
const _: () = assert!(offset_of!(Page, unused) == 60);
