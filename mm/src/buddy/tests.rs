//! The allocator against simple oracles.

use super::*;
use crate::page::PageKind;
use crate::testkit;

/// A block that is given back merges with its buddies, so that memory looks as before.
#[test]
fn blocks_split_and_merge_back() {
    testkit::boot(|mm| {
        mm.drain_cpu_lists();
        let before = mm.buddyinfo();
        let pages: Vec<_> =
            (0..1000).map(|_| mm.alloc_pages(Order::PAGE, PageKind::Kernel).unwrap()).collect();
        assert_ne!(mm.buddyinfo(), before);
        pages.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
        mm.drain_cpu_lists();
        assert_eq!(mm.buddyinfo(), before);
    });
}
