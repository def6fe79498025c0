//! The pages of a block that nobody has populated, in *pieces*: naturally aligned, of 2^n pages, as the buddy allocator
//! gives blocks out.
//!
//! ```text
//!   reserve      [                 512                 ]      one piece: the block, as it was given out
//!   take page 5  [ 4 ][5: A][6][ 8 ][ 16 ] ..  [ 256 ]       cut in halves until the page stands alone
//!                `0..3` and `4` are pieces of 4 and of 1
//! ```
//! To reserve a block so costs no more than to allocate it: 511 of its struct pages are not touched before somebody
//! wants those pages. A piece has kind [`PageKind::ThpReserved`], its order and the reservation's one reference in its
//! first struct page; inside it struct pages are as the allocator left them, kind [`PageKind::Free`], count 0. Nobody
//! who walks over pfns gets a reference there, and who walks over blocks passes over the piece as one.
//!
//! **Guarantee.** Pages of the block that are populated and pieces tile it at any time. A cut makes the pieces that are
//! new before it makes the old one smaller, and the page that was cut out last, so that what a walker without a lock
//! finds is the block of before, or that of after. A piece never grows: a page that is given back is one of its own.
//!
//! **Protocol.** Pieces are cut under R. Whoever holds a reference to a piece, as a promotion does for those it has
//! claimed, may look at its order though the reservation is gone: only who is last frees it, whole.
#![forbid(unsafe_code)]

use arch::Order;

use super::popmap::{PAGES, Popmap};
use crate::page::{Flags, FolioRef, PageKind, PageRef};

/// Cuts page `i` (0..=511), which nobody has populated, out of its piece of `block`, and makes it a page of a process:
/// kind [`PageKind::Anon`], marked, with the reservation's reference and the one that is returned. Under R.
pub(super) fn cut(block: PageRef, i: usize) -> FolioRef {
    let (i, mut order) = (i as u64, 0);
    let first = |order: u32| i >> order << order;
    while order < u32::from(Order::PMD.raw()) && block.nth(first(order)).is_kind(PageKind::Free) {
        order += 1;
    }
    let (page, piece) = (block.nth(i), block.nth(first(order)));
    debug_assert!(piece.is_kind(PageKind::ThpReserved), "{page:?} is populated, or no reservation's");
    let halves = u32::from(piece.order().raw());
    // What is left of the piece behind the page is new; what is left before it ends with the piece's own first half.
    for order in 0..halves {
        let half = block.nth(first(order) ^ 1 << order);
        half.set_kind(PageKind::ThpReserved, Order::new(order as u8));
        if half != piece {
            half.set_refcount(1);
        }
    }
    page.set_kind_and_flags(PageKind::Anon, Flags::RESERVED);
    if page == piece {
        return page.get();
    }
    page.set_refcount(2);
    FolioRef::from_raw(page)
}

/// The pieces that `pages` of `block` consist of, by their first pages, the lowest first. All pages of a piece are among
/// them, or none. A piece is looked at before it is returned, and not again.
pub(super) fn of(block: PageRef, pages: Popmap) -> impl Iterator<Item = PageRef> {
    let mut end = 0;
    core::iter::from_fn(move || {
        let i = pages.next(end)?;
        let piece = block.nth(i as u64);
        debug_assert!(piece.is_kind(PageKind::ThpReserved), "{piece:?} begins no piece");
        end = i + piece.order().pages() as usize;
        Some(piece)
    })
}

/// Everything that the reservation holds a reference to in `block`, the lowest first: its pieces, and its pages in use,
/// whose mark is taken away.
pub(super) fn all(block: PageRef) -> impl Iterator<Item = FolioRef> {
    let mut end = 0;
    core::iter::from_fn(move || {
        let first = (end < PAGES as u64).then(|| block.nth(end))?;
        if first.is_kind(PageKind::ThpReserved) {
            end += first.order().pages();
        } else {
            first.clear_flags(Flags::RESERVED);
            end += 1;
        }
        Some(FolioRef::from_raw(first))
    })
}
