//! Huge pages that hold zeros are split when memory is short, and those pages are given back: what a promotion has
//! filled, and what is underused.
//!
//! ```text
//!   huge page     [ A 0 0 A 0 .. 0 0 A ]       filled by a promotion; or more than `max_ptes_none` pages of zeros
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
//! **Filled.** A promotion above the threshold zeroes what nobody has touched, on the understanding that memory is there.
//! Where it is not any more, nobody is killed for it: such a huge page is split as long as `LEAST` of the pages are
//! as they were filled, whatever the settings are. Those of which most was filled come first, by powers of two, so that
//! the fewest huge pages are lost for the memory that is wanted; of those that are alike, the oldest.
//!
//! **Underused.** All others: huge since the first fault, or collapsed over holes. The oldest comes first.
//!
//! | what a candidate is | what becomes of it |
//! |---|---|
//! | pinned, shared, or held by somebody | it stays, and is asked again last |
//! | filled, but fewer pages are zeros by now | it is asked again among those with as many |
//! | filled, and used up to fewer than `LEAST` pages | it is a candidate like any other |
//! | filled otherwise | split |
//! | used: `max_ptes_none` pages of zeros or fewer | it is no candidate any more |
//! | underused | split |
//!
//! `max_ptes_none` of 511 and `shrink_underused` of 0 turn the second kind off, and not the first.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, PhysMem};

use super::deferred;
use super::split::{Zeros, split_giving_back};
use crate::Mm;
use crate::config::Number;
use crate::mapcount::{self, Answer, Sharing};
use crate::page::{FolioRef, PageRef};
use crate::thp::popmap::{PAGES, Popmap};
use crate::trace::Point;

/// Fewest pages for which a huge page is split that was filled: one goes for the table that is needed then.
const LEAST: u64 = 2;
/// Candidates of this class and above have enough filled pages.
const WORTH_IT: usize = deferred::class_of(LEAST);

/// Splits huge pages that promotions have filled until so many pages are free (4 KiB units) or no candidate is left.
/// Returns how many pages that freed. Sleeps nowhere; tables come from what is kept for them. The caller holds no lock
/// of rank 30 or above.
pub fn split_filled(mm: &Mm, pages: u64) -> u64 {
    let mut freed = 0;
    for class in (WORTH_IT..deferred::CLASSES).rev() {
        for _ in 0..deferred::candidates_of(mm, class) {
            if freed >= pages {
                return freed;
            }
            let Some(folio) = deferred::next_candidate(mm, class) else { break };
            freed += give_back_filled(mm, folio, class);
        }
    }
    freed
}

fn give_back_filled(mm: &Mm, folio: FolioRef, class: usize) -> u64 {
    let head = folio.page();
    if is_taken(mm, head) {
        return leave(mm, folio);
    }
    let unused = zeros(mm, head).count().min(deferred::filled(head));
    if deferred::class_of(unused) == class {
        let freed = split(mm, folio);
        mm.stats.note(Point::GivenBack, freed, || [head.pfn().raw(), 0, 0, 0]);
        return freed;
    }
    deferred::refile(mm, head, if unused < LEAST { 0 } else { unused });
    mm.put_folio(folio);
    0
}

/// As [`split_filled`], of those that hold more zeros than `max_ptes_none`.
pub fn split_underused(mm: &Mm, pages: u64) -> u64 {
    let most = mm.thp.number(Number::MaxPtesNone);
    if mm.thp.number(Number::ShrinkUnderused) == 0 || most == PAGES as u64 - 1 {
        return 0;
    }
    let mut freed = 0;
    for class in 0..WORTH_IT {
        for _ in 0..deferred::candidates_of(mm, class) {
            if freed >= pages {
                return freed;
            }
            let Some(folio) = deferred::next_candidate(mm, class) else { break };
            freed += give_back_underused(mm, folio, most);
        }
    }
    freed
}

fn give_back_underused(mm: &Mm, folio: FolioRef, most: u64) -> u64 {
    let head = folio.page();
    if is_taken(mm, head) {
        return leave(mm, folio);
    }
    if zeros(mm, head).count() <= most {
        deferred::used(mm, head);
        mm.put_folio(folio);
        return 0;
    }
    let freed = split(mm, folio);
    if freed != 0 {
        mm.stats.note(Point::Underused, 1, || [head.pfn().raw(), freed, 0, 0]);
    }
    freed
}

/// Whether somebody else has it too, or holds it. Cheaper than a look at its bytes, so it is asked first.
fn is_taken(mm: &Mm, head: PageRef) -> bool {
    let alone = mapcount::scheme(mm).sharing(head) == Answer::Exact(Sharing::Exclusive);
    !alone || head.maybe_pinned()
}

/// Leaves one for later.
fn leave(mm: &Mm, folio: FolioRef) -> u64 {
    deferred::offer(mm, folio.page());
    mm.put_folio(folio);
    0
}

/// Splits one, or leaves it for later.
fn split(mm: &Mm, folio: FolioRef) -> u64 {
    let head = folio.page();
    match split_giving_back(mm, folio, Zeros::GiveBack) {
        Ok(freed) => freed,
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
