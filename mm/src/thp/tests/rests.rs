//! What holds a page for long delays its huge page and does not cost it, and costs little meanwhile.

use super::*;
use crate::config::ThpMode;
use crate::page::page_of;
use crate::thp::again::end_rests;
use crate::thp::holes::{Ask, LONGEST_REST_NS, Noted, Outcome, REST_NS};
use crate::thp::promoter::MOST_ATTEMPTS;
use crate::thp::record::Key;
use crate::thp::{PromoteError, strays};

impl Site<'_> {
    /// A rest goes by, however long it is.
    fn rest(&self) {
        let over = self.mm.thp.promoter.rests.next().unwrap();
        assert!(over <= self.mm.env.now_ns() + LONGEST_REST_NS);
        end_rests(self.mm, over);
    }
    /// Attempts at promotion that came to nothing.
    fn failed(&self) -> u64 {
        self.get(Counter::ResCollapseFailed)
    }
}

/// A reference that is held for longer than all attempts take: the range is promoted when it is gone, though nobody
/// writes to it any more.
#[test]
fn a_long_reference_only_delays() {
    with_site(threshold(512), |site| {
        site.store_all(0..RANGE_PAGES);
        let held = page_of(site.leaf(1).unwrap().1.pfn()).try_get().unwrap();
        for _ in 0..MOST_ATTEMPTS {
            assert_eq!((promoter::backlog(site.mm), site.drain()), (1, 0));
        }
        // From here on nothing is queued but after rests, each with one attempt.
        for _ in 0..10 {
            assert_eq!(promoter::backlog(site.mm), 0);
            let before = site.failed();
            site.rest();
            assert_eq!((promoter::backlog(site.mm), site.drain()), (1, 0));
            assert_eq!(site.failed(), before + 1);
        }
        site.mm.put_folio(held);
        site.rest();
        assert_eq!((site.drain(), site.is_block(0), site.space.holes.count()), (1, true, 0));
        assert!(site.mm.thp.promoter.rests.next().is_none());
    });
}

/// Rests grow, up to the longest one, and are short again after news; who comes to rest meanwhile rests with the others.
#[test]
fn rests_grow() {
    with_site(threshold(512), |site| {
        let (holes, lineage) = (&site.space.holes, &site.space.lineage);
        let mut now = 0;
        let tried_in_vain = || {
            assert_eq!(holes.try_next(BASE), Some(BASE));
            holes.settle(lineage, BASE, Outcome::Rest);
        };
        assert_eq!(holes.note(lineage, BASE, Ask::Rested), Noted::New);
        for n in 0..9 {
            let until = now + (REST_NS << n).min(LONGEST_REST_NS);
            assert_eq!((holes.rest(now), holes.rest(now + 1)), (Some(until), Some(until)), "rest {n}");
            assert_eq!((holes.end_rest(until - 1), holes.try_next(BASE)), (Some(until), None));
            assert_eq!(holes.end_rest(until), None);
            tried_in_vain();
            now = until;
        }
        assert!(holes.want((va(1), va(2))) && !holes.want((va(RANGE_PAGES), va(2 * RANGE_PAGES))));
        tried_in_vain();
        assert_eq!(holes.rest(now), Some(now + REST_NS));
        assert!(holes.lose(lineage, BASE) && holes.rest(now).is_none() && holes.end_rest(now).is_none());
    });
}

/// A range that a child shares is tried once for each news of it and once a rest, and never because of another one:
/// whatever had made it huge, and however many others are noted.
#[test]
fn a_living_child_costs_one_attempt() {
    for mode in [ThpMode::Always, ThpMode::Reserve] {
        with_site(threshold(512).config(|config| config.thp = mode), |site| {
            site.store_all(0..RANGES * RANGE_PAGES);
            site.drain();
            let child = site.mm.fork_space(&site.space).unwrap();
            (0..RANGES).for_each(|range| site.store(range * RANGE_PAGES + 5));
            while promoter::backlog(site.mm) != 0 {
                site.drain();
            }
            assert_eq!(site.space.holes.count() as u64, RANGES);
            let before = site.failed();
            site.mm.munmap(&child, va(1).raw(), PAGE_SIZE).unwrap();
            (0..MOST_ATTEMPTS).for_each(|_| assert_eq!(site.drain(), 0));
            assert_eq!(site.failed(), before + 1, "{mode}: one page of one range was given up");
            site.rest();
            (0..MOST_ATTEMPTS).for_each(|_| assert_eq!(site.drain(), 0));
            assert!(site.failed() <= before + 1 + RANGES, "{mode}");
            site.mm.destroy_space(&child);
            assert_eq!(site.drain(), RANGES);
        });
    }
}

/// There is no memory for the queue at the last fault of a range: it is noted, and promoted after a rest.
#[test]
fn no_memory_for_the_queue() {
    with_site(threshold(2), |site| {
        site.store(0);
        crate::kalloc::inject::fail_nth(1);
        site.store(1);
        assert!(crate::kalloc::inject::disarm(), "the queue did not ask for memory");
        assert_eq!((promoter::backlog(site.mm), site.space.holes.count()), (0, 1));
        site.rest();
        assert_eq!((promoter::backlog(site.mm), site.drain(), site.is_block(0)), (1, 1, true));
    });
}

/// More strays than one promotion brings back are seen, and when the first of them are to be brought back none can be
/// any more: that is a failure like any other, and counted.
#[test]
fn a_round_that_fails_is_counted() {
    with_site(threshold(256), |site| {
        site.store_all(0..RANGE_PAGES);
        let child = site.mm.fork_space(&site.space).unwrap();
        site.store_all(0..100);
        let (vma, key) = (site.space.vma_at(BASE).unwrap(), Key::new(&site.space, BASE));
        let error = strays::bring_back_some(site.mm, &site.space, &vma, key);
        assert_eq!((error, site.failed()), (Err(PromoteError::Shared(BASE)), 1));
        site.mm.destroy_space(&child);
    });
}
