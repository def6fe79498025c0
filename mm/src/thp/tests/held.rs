//! For how long locks are held to make a huge page: what is counted, by which road. Time passes by steps here.

use super::*;
use crate::config::Promote;
use crate::space::Advice;
use crate::thp::khugepaged;

/// What each lock was held for, and the longest hold: T, M for reading, M for writing.
const HELD: [(Counter, Counter); 3] = [
    (Counter::ThpPtlHeld, Counter::ThpPtlHeldLongest),
    (Counter::ThpMmapReadHeld, Counter::ThpMmapReadHeldLongest),
    (Counter::ThpMmapWriteHeld, Counter::ThpMmapWriteHeldLongest),
];

fn held(site: &Site<'_>) -> [u64; 3] {
    for (sum, longest) in HELD {
        let (sum, longest) = (site.get(sum), site.get(longest));
        assert!(longest <= sum && (longest == 0) == (sum == 0), "{longest} of {sum} ns");
    }
    HELD.map(|(sum, _)| site.get(sum))
}

/// A promotion holds M for reading, by whomever it is done, and T for a part of that; nobody holds M for writing.
#[test]
fn promotion_holds_it_for_reading() {
    for promote in [Promote::Async, Promote::Sync] {
        with_site(threshold(256), |site| {
            site.mm.thp.set_promote(promote);
            site.store_all(0..255);
            site.drain();
            assert_eq!(held(site), [0; 3], "before a range reaches the threshold");
            site.store(255);
            site.drain();
            assert!(site.is_block(0));
            let [ptl, reading, writing] = held(site);
            assert!(0 < ptl && ptl < reading, "{ptl} of {reading} ns");
            assert_eq!(writing, 0);
        });
    }
}

/// A collapse holds M for writing, asked for or by khugepaged, and the copy counts; other advice does not.
#[test]
fn collapse_holds_it_for_writing() {
    for asked in [true, false] {
        with_site(threshold(512).config(|config| config.thp = crate::config::ThpMode::Defer), |site| {
            site.store_all(0..RANGE_PAGES);
            site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::Normal).unwrap();
            assert_eq!(held(site), [0; 3]);
            if asked {
                site.mm.madvise(&site.space, BASE.raw(), RANGE_BYTES, Advice::Collapse).unwrap();
            } else {
                khugepaged::scan(site.mm, RANGE_PAGES);
            }
            assert!(site.is_block(0));
            let [ptl, reading, writing] = held(site);
            assert!(0 < ptl && 0 < writing, "{ptl} and {writing} ns");
            assert_eq!(reading, 0);
        });
    }
}

/// A second promotion adds to the sum, and the longest hold stays what it is, or grows; begun anew it is that of the
/// second.
#[test]
fn the_longest_is_not_the_sum() {
    with_site(threshold(1).config(|config| config.promote = Promote::Async), |site| {
        site.mm.thp.set_threshold(512).unwrap();
        site.store_all(0..2 * RANGE_PAGES);
        site.drain();
        let (sum, longest) = (site.get(Counter::ThpPtlHeld), site.get(Counter::ThpPtlHeldLongest));
        assert!(longest < sum);
        assert_eq!(site.mm.stats.take(Counter::ThpPtlHeldLongest), longest);
        assert_eq!(site.get(Counter::ThpPtlHeldLongest), 0);
        site.mm.stats.raise(Counter::ThpPtlHeldLongest, longest);
        site.mm.stats.raise(Counter::ThpPtlHeldLongest, longest - 1);
        assert_eq!(site.get(Counter::ThpPtlHeldLongest), longest);
    });
}
