//! Dividing an optimised folio into optimised ones of a smaller size, without giving it all its struct pages first.
//!
//! A folio of 1 GiB that becomes 512 of 2 MiB has 4095 addresses of vmemmap that map the page of tails of its order. 511
//! of them come to hold heads, and need a page; the others come to map the page of tails of the smaller order. By way of
//! a restore that takes 4095 pages, which are written, divided, given up again. Here it takes 512.
//!
//! The two pages of tails hold different bytes, so no entry may go from one to the other at once. It may by way of a
//! *relay*, a page that is made equal to the one, is mapped in its place, is rewritten, and is then equal to the other:
//!
//! ```text
//!   tails of 1 GiB, r-  -- equal -->  relay, r-  flush   rewrite the relay   relay, r-  -- equal -->  tails of 2 MiB, r-
//!                                                                                      `- equal -->  a head's page, r-
//!                                                        flush                                       a head's page, rw  flush
//! ```
//! (Arm ARM R_WHZWS, second bullet.) Rewriting a page that is mapped read-only is no change of a translation. A reader of
//! a tail finds the old word or the new one: both lead to a struct page whose count is 0, of the folio or of a piece that
//! is yet to be. Strategies that break need no relay.
//!
//! With `tails=pointer` each folio's tails say something else, and the way is by a restore.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::{Order, Pfn, PhysAddr};

use super::batch::{SHARED, survey};
use super::frames::Frames;
use super::layout::Layout;
use super::{HvoError, Switch, strategy};
use crate::Mm;
use crate::config::TailEncoding;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;
use crate::page::{FolioRef, PageKind, PageRef, page_of, tails};
use crate::pgtable::Run;
use crate::stats::Counter;
use crate::trace::Point;

/// What the division of one folio needs.
#[derive(Debug)]
pub struct Division {
    /// The entries that change: all but that of the folio's own head.
    pub(super) all: Run,
    /// vmemmap pages of a piece.
    pub(super) piece: u64,
    /// The relay: tails of the folio, until they are rewritten.
    pub(super) relay: PhysAddr,
    /// The page of tails of the pieces.
    pub(super) shared: PhysAddr,
    /// The word that the tails of the pieces hold.
    pub(super) info: u64,
    /// A page for each head but the first, filled with tails of a piece.
    pub(super) heads: Frames,
    /// The entries that come to map these, one by one.
    pub(super) head_runs: Vec<Run, KAlloc>,
}

/// Whether optimised folios are divided into folios of this order by [`divide_folio`]: these are to be optimised, and can
/// be.
#[must_use]
pub fn is_possible(mm: &Mm, into: Order) -> bool {
    mm.config.tails == TailEncoding::Mask && mm.hvo.switch() == Switch::On && Layout::of(into).is_ok()
}

/// Maps the vmemmap of a frozen, optimised folio as that of optimised folios of order `into`, which the caller makes of
/// it (`FolioRef::divide_optimised`). [`is_possible`] holds. May sleep.
///
/// # Errors
/// [`HvoError`]: why the folio stayed as it was.
pub fn divide_folio(mm: &Mm, head: PageRef, into: Order) -> Result<(), HvoError> {
    let strategy = strategy::chosen(mm).ok_or(HvoError::Off)?;
    let (from, into) = (Layout::of(head.order())?, Layout::of(into)?);
    let relay = mm.alloc_pages(Order::PAGE, PageKind::Vmemmap)?;
    match plan(mm, head.pfn(), from, into, &relay) {
        Ok(division) => {
            tails::write_pages(division.relay, 1, tails::encode(mm.config.tails, head, from.order()));
            strategy.divide(mm, &division);
            settle(mm, head.pfn(), (from, into), &division);
            mm.free_pages(relay, Order::PAGE);
            Ok(())
        }
        Err(error) => {
            mm.free_pages(relay, Order::PAGE);
            Err(error)
        }
    }
}

fn plan(mm: &Mm, pfn: Pfn, from: Layout, into: Layout, relay: &FolioRef) -> Result<Division, HvoError> {
    survey(mm, pfn, from, SHARED, |_, _| Ok(()))?;
    let shared = mm.hvo.shared.get_or_make(mm, into.order())?;
    let mut head_runs = Vec::new_in(KAlloc);
    let pieces = from.pages() / into.pages();
    head_runs.try_reserve_exact(pieces as usize).map_err(|_| OutOfMemory)?;
    let first = |piece: u64| from.page(pfn, piece * into.pages());
    head_runs.extend((1..pieces).map(|n| Run { first: first(n), entries: into.kept() }));
    let heads = Frames::alloc(mm, pieces - 1)?;
    let info = tails::encode(mm.config.tails, page_of(pfn), into.order());
    heads.fill(info);
    let all = Run { first: from.page(pfn, from.kept()), entries: from.freed() };
    Ok(Division { all, piece: into.pages(), relay: relay.pfn().phys(), shared, info, heads, head_runs })
}

/// One folio is restored, and its pieces are optimised.
fn settle(mm: &Mm, pfn: Pfn, (from, into): (Layout, Layout), division: &Division) {
    let pieces = from.pages() / into.pages();
    mm.stats.note(Point::Divide, 1, || [pfn.raw(), pieces, 0, 0]);
    mm.stats.note(Point::Restore, 1, || [1, 0, 0, 0]);
    mm.stats.note(Point::Optimise, pieces, || [pieces, 0, 0, 0]);
    mm.stats.add(Counter::NrHvoOptimized, pieces - 1);
    mm.stats.sub(Counter::NrVmemmapFreed, division.heads.len());
}
