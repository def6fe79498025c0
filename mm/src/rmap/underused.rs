//! Underused huge pages: what holds zeros in many of its pages is split when memory is short, and those pages are given
//! back.
//!
//! ```text
//!   huge page     [ A 0 0 A 0 .. 0 0 A ]       more than `max_ptes_none` pages of zeros
//!   unmap, freeze, look which pages are zeros, dissolve
//!   pages         A z z A z .. z z A           z: the page of zeros, read-only; its frame is free
//! ```
//! A huge page costs 2 MiB however little of it was written: at the first fault, filled by a promotion above the
//! threshold, or collapsed over holes. Each new one is a candidate ([`super::deferred`]), the oldest is looked at first
//! (Linux: the THP shrinker, `thp_underused`, `try_to_map_unused_to_zeropage`).
//!
//! **Which pages** is decided by their bytes alone, whoever wrote them, and once more when nobody can write any: a store
//! that comes before that is seen, one that comes later faults, waits, and gets a page of its own.
//!
//! | what a candidate is | what becomes of it |
//! |---|---|
//! | used: `max_ptes_none` pages of zeros or fewer | it is no candidate any more |
//! | pinned, shared, or held by somebody | it stays, and is asked again last |
//! | underused | split |
//!
//! `max_ptes_none` of 511 and `shrink_underused` of 0 turn this off.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, PhysMem};

use super::deferred;
use super::split::{Zeros, split_giving_back};
use crate::Mm;
use crate::config::Number;
use crate::mapcount::{self, Answer, Sharing};
use crate::page::{FolioRef, PageRef};
use crate::stats::Counter;
use crate::thp::popmap::{PAGES, Popmap};

/// Splits underused huge pages until so many pages are free (4 KiB units) or no candidate is left. Returns how many
/// pages that freed. Sleeps nowhere; tables come from what is kept for them. The caller holds no lock of rank 30 or
/// above.
pub fn split_underused(mm: &Mm, pages: u64) -> u64 {
    let most = mm.thp.number(Number::MaxPtesNone);
    if mm.thp.number(Number::ShrinkUnderused) == 0 || most == PAGES as u64 - 1 {
        return 0;
    }
    let mut freed = 0;
    for _ in 0..deferred::candidates(mm) {
        if freed >= pages {
            break;
        }
        let Some(folio) = deferred::next_candidate(mm) else { break };
        if zeros(mm, folio.page()).count() > most {
            freed += split(mm, folio);
        } else {
            mm.put_folio(folio);
        }
    }
    freed
}

/// Splits one, or leaves it for later.
fn split(mm: &Mm, folio: FolioRef) -> u64 {
    let head = folio.page();
    let alone = mapcount::scheme(mm).sharing(head) == Answer::Exact(Sharing::Exclusive);
    if !alone || head.maybe_pinned() {
        deferred::offer(mm, head);
        mm.put_folio(folio);
        return 0;
    }
    match split_giving_back(mm, folio, Zeros::GiveBack) {
        Ok(freed) => {
            mm.stats.inc(Counter::ThpUnderusedSplitPage);
            freed
        }
        Err(_) => {
            if let Some(folio) = head.try_get() {
                deferred::come_back(mm, &folio);
                mm.put_folio(folio);
            }
            0
        }
    }
}

/// Which of the 512 pages of a folio hold nothing but zeros at this moment. The caller holds a reference.
pub(super) fn zeros(mm: &Mm, head: PageRef) -> Popmap {
    let zero = mm.zero_page.pfn().phys();
    let mut zeros = Popmap::EMPTY;
    let is_zero = |i: &usize| Machine::equal(head.nth(*i as u64).pfn().phys(), zero, PAGE_SIZE);
    (0..PAGES).filter(is_zero).for_each(|i| zeros.insert(i));
    zeros
}
