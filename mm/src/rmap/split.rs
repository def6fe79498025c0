//! A folio becomes single pages, while it is mapped.
//!
//! ```text
//!   unmap, freeze           as for a migration; blocks become tables first, since each page will be mapped by itself
//!   dissolve                head and 511 tails: 512 single pages, each with the owner and index that it has in the folio
//!   remap                   each migration entry becomes a leaf for its page; the page gets a reference and a mapping
//!   give up                 the caller's reference, one to each page by now: pages that nobody maps are free
//! ```
//! Tables come from what is kept for them ([`crate::buddy::Reserve`]): a split is what gives memory back.
//!
//! **Guarantee.** No byte is copied and no address changes. The folio is split wholly or not at all, and whoever holds a
//! reference to it, by a pin or otherwise, finds it whole as long as he holds it (Linux: `split_huge_page`).
#![forbid(unsafe_code)]

use core::ops::ControlFlow;

use arch::Order;

use super::migrate::{Moving, Refused};
use super::unmap::{Now, remap, unmap_to_split};
use super::walk::{Origin, count_mappings};
use super::{deferred, underused, wake};
use crate::Mm;
use crate::page::{FolioRef, PageKind, SinglePages};
use crate::pgtable::TableStock;
use crate::thp::popmap::Popmap;
use crate::trace::Point;

/// Splits an anonymous folio, to which the caller gives one reference. Pages that nobody maps are free afterwards.
/// Returns how many those were. May be called with M held or not; no spinlock is held.
///
/// # Errors
/// [`Refused`]; the folio is as it was, but blocks that mapped it may be tables now.
pub fn split_folio(mm: &Mm, folio: FolioRef) -> Result<u64, Refused> {
    split_giving_back(mm, folio, Zeros::Keep)
}

/// What becomes of pages that hold nothing but zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Zeros {
    /// They are pages like any other.
    Keep,
    /// The page of zeros is mapped in their place, and they are free.
    GiveBack,
}

/// As [`split_folio`].
pub(super) fn split_giving_back(mm: &Mm, folio: FolioRef, zeros: Zeros) -> Result<u64, Refused> {
    let begin = [folio.pfn().raw(), 0, 0, 0];
    let done = |result: &Result<u64, Refused>| {
        let done = u64::from(result.is_ok());
        (done, [done, 0, 0, 0])
    };
    mm.stats.slice(Point::Split, (0, || begin), done, || split_into_pages(mm, folio, zeros))
}

fn split_into_pages(mm: &Mm, folio: FolioRef, zeros: Zeros) -> Result<u64, Refused> {
    let result = try_split(mm, &folio, zeros);
    let pages = Order::PMD.pages();
    match result {
        Ok(()) => {
            let freed = SinglePages::from_raw(folio.into_raw(), pages)
                .map(|page| {
                    let unused = !crate::mapcount::scheme(mm).is_mapped(page.page());
                    mm.put_folio(page);
                    u64::from(unused)
                })
                .sum();
            wake(mm);
            Ok(freed)
        }
        Err(why) => {
            mm.stats.note(Point::SplitFail, 1, || [folio.pfn().raw(), 0, 0, 0]);
            mm.put_folio(folio);
            Err(why)
        }
    }
}

/// All but the end of the caller's references: afterwards he has one to each page.
fn try_split(mm: &Mm, folio: &FolioRef, zeros: Zeros) -> Result<(), Refused> {
    let head = folio.page();
    if head.kind() != PageKind::Anon || head.order() != Order::PMD || !head.is_folio() {
        return Err(Refused::Kind);
    }
    let moving = Moving::begin(mm, head)?;
    let origin = Origin::of(head);
    let blocks = count_mappings(mm, head).blocks;
    let Ok(mut stock) = TableStock::kept(mm, blocks as usize) else {
        moving.give_up();
        return Err(Refused::Memory);
    };
    // Blocks that fork has added meanwhile may ask for more than there is in stock.
    let unmapped = unmap_to_split(mm, &origin, &mut stock);
    let why = match unmapped {
        ControlFlow::Break(()) => Some(Refused::Memory),
        ControlFlow::Continue(()) if !head.freeze(1) => Some(Refused::Referenced),
        ControlFlow::Continue(()) => None,
    };
    if let Some(why) = why {
        remap(mm, &origin, Now::Folio(head));
        moving.give_up();
        wake(mm);
        return Err(why);
    }
    let given_back = match zeros {
        Zeros::Keep => Popmap::EMPTY,
        // Nobody maps the folio and nobody holds it, so it stays as it is now.
        Zeros::GiveBack => underused::zeros(mm, head),
    };
    deferred::forget(mm, head);
    head.set_private(0);
    head.dissolve(PageKind::Anon);
    (0..origin.order.pages()).for_each(|n| origin.pass_on(head.nth(n), n));
    remap(mm, &origin, Now::Singles(&given_back));
    moving.done();
    Ok(())
}
