//! On, off, filters, memory.

use arch::contract::CpuId;
use arch::{Order, VirtAddr};

use super::super::{Filter, Point, Points, Running, TraceError};
use super::{read, said, say};
use crate::page::PageKind;
use crate::testkit::{self, Builder, fail_every_allocation};

fn make() -> Points {
    Points::NONE.with(Point::Make)
}

/// A point that is off writes nothing; one that is on does until it is off; its neighbours do not.
#[test]
fn points_go_on_and_off() {
    testkit::boot(|mm| {
        let trace = &mm.stats.trace;
        say(mm, 1);
        trace.switch_on(mm, make().with(Point::Flush)).unwrap();
        assert!(trace.is_on(Point::Make) && trace.is_on(Point::Flush) && !trace.is_on(Point::Break));
        say(mm, 2);
        mm.stats.note(Point::Break, 1, || panic!("a point that is off asks for no arguments"));
        trace.switch_off(mm, make());
        say(mm, 3);
        assert_eq!(trace.points(), Points::NONE.with(Point::Flush));
        assert_eq!(said(mm, 0), [2]);
        trace.switch_off(mm, Points::ALL);
        trace.forget(mm);
        assert!(!trace.has_rings());
    });
}

/// Rings are had when the first point goes on, and their memory goes back when they are forgotten with all points off;
/// a ring larger than the largest block is had too.
#[test]
fn memory_comes_and_goes() {
    Builder::new().cpus(2).boot(|mm, _| {
        let trace = &mm.stats.trace;
        for kib in [4, 100, 512, 8192] {
            let free = mm.free_page_count();
            trace.set_ring_kib(mm, kib).unwrap();
            let pages = (trace.ring_bytes() >> 12) * 2;
            assert!(trace.ring_bytes() >= kib << 10 && trace.ring_bytes() < kib << 11);
            assert_eq!(mm.free_page_count(), free, "nothing is taken yet");
            trace.switch_on(mm, make()).unwrap();
            assert_eq!(mm.free_page_count(), free - pages, "{kib} KiB");
            testkit::check(mm);
            assert_eq!(trace.set_ring_kib(mm, 8), Err(TraceError::InUse));
            trace.forget(mm);
            assert!(trace.has_rings(), "a point is on yet");
            trace.switch_off(mm, Points::ALL);
            trace.forget(mm);
            assert_eq!(mm.free_page_count(), free, "{kib} KiB");
        }
        assert_eq!(trace.set_ring_kib(mm, 3), Err(TraceError::Size(3)));
        assert_eq!(trace.set_ring_kib(mm, (256 << 10) + 1), Err(TraceError::Size((256 << 10) + 1)));
    });
}

/// Whichever allocation fails when tracing is switched on, that is an error, no point is on, and nothing is kept.
#[test]
fn no_memory_for_rings() {
    let machine = Builder::new().ram_mib(32).cpus(2);
    let failed = fail_every_allocation(
        &machine,
        |_| (),
        |mm, ()| {
            let trace = &mm.stats.trace;
            let switched = trace.switch_on(mm, Points::ALL);
            if switched.is_ok() {
                trace.switch_off(mm, Points::ALL);
                trace.forget(mm);
            }
            assert_eq!((trace.points(), trace.has_rings()), (Points::NONE, false));
            switched
        },
    );
    assert!(failed >= 4, "{failed} allocations, and there are two lists and two rings");
}

/// Where there is memory for one ring and not for the next, the first goes back.
#[test]
fn memory_for_one_ring() {
    Builder::new().ram_mib(32).cpus(2).boot(|mm, _| {
        let trace = &mm.stats.trace;
        let order = Order::new(7);
        let block = || mm.alloc_pages(order, PageKind::Kernel).ok();
        let blocks: Vec<_> = std::iter::from_fn(block).collect();
        let mut blocks = blocks.into_iter();
        mm.free_pages(blocks.next().unwrap(), order);
        let free = mm.free_page_count();
        assert_eq!(trace.switch_on(mm, Points::ALL), Err(TraceError::OutOfMemory));
        assert_eq!((mm.free_page_count(), trace.points()), (free, Points::NONE));
        blocks.for_each(|block| mm.free_pages(block, order));
    });
}

/// Of a process, of a CPU, of a range of addresses: what a filter names is written and nothing else, but changes of
/// threads, which are needed to tell where slices went on.
#[test]
fn filters() {
    testkit::boot(|mm| {
        let trace = &mm.stats.trace;
        let (one, two) = (Running { thread: 0x10001, pid: 1 }, Running { thread: 0x10002, pid: 2 });
        trace.switch_on(mm, make().with(Point::Switch).with(Point::Oom)).unwrap();
        let lets = |filter, address: u64, running| {
            trace.switched(running, "x");
            trace.set_filter(mm, filter);
            trace.forget(mm);
            say(mm, address);
            !said(mm, 0).is_empty()
        };
        let none = Filter::NONE;
        assert!(lets(none, 5, one));
        assert!(
            lets(Filter { pid: Some(1), ..none }, 5, one) && !lets(Filter { pid: Some(1), ..none }, 5, two)
        );
        assert!(!lets(Filter { pid: Some(0), ..none }, 5, one), "0 is nobody's, and not everybody's");
        assert!(lets(Filter { cpu: Some(CpuId::new(0)), ..none }, 5, one));
        assert!(!lets(Filter { cpu: Some(CpuId::new(1)), ..none }, 5, one));
        let range = Filter { va: Some((VirtAddr::new(5), VirtAddr::new(7))), ..none };
        assert!(
            [5, 6].iter().all(|&at| lets(range, at, one)) && [4, 7].iter().all(|&at| !lets(range, at, one))
        );
        assert_eq!(trace.filter(), range);
        assert_eq!(trace.filter().to_string(), "va=0x5..0x7");
        trace.forget(mm);
        mm.stats.note(Point::Oom, 1, || [100, 0, 0, 0]);
        trace.switched(two, "x");
        let points: Vec<_> = read(mm).iter().map(|record| record.point).collect();
        assert_eq!(points, [Point::Oom, Point::Switch], "neither has an address");
        trace.set_filter(mm, Filter { pid: Some(9), ..none });
        trace.forget(mm);
        trace.switched(one, "x");
        let points: Vec<_> = read(mm).iter().map(|record| record.point).collect();
        assert_eq!(points, [Point::Switch], "whoever runs, so that slices can be followed");
        trace.set_filter(mm, none);
        assert_eq!(trace.filter().to_string(), "none");
        trace.switch_off(mm, Points::ALL);
        trace.forget(mm);
    });
}

/// What is counted beside a point is what its counter went up by while the point was on, however often that was, and no
/// more; to forget it begins anew. A filter is remembered, as both need not agree then.
#[test]
fn counted_while_on() {
    testkit::boot(|mm| {
        let trace = &mm.stats.trace;
        let counted = || trace.with_still(mm, |still| still.counted(Point::Unfold).unwrap());
        let unfold = |n| mm.stats.note(Point::Unfold, n, || [0; 4]);
        let points = Points::NONE.with(Point::Unfold);
        unfold(100);
        trace.switch_on(mm, points).unwrap();
        unfold(3);
        trace.switch_off(mm, points);
        unfold(20);
        trace.switch_on(mm, points).unwrap();
        unfold(0);
        unfold(4);
        assert_eq!(counted(), 7);
        let n: u32 = read(mm).iter().map(|record| record.n).sum();
        assert_eq!((n, read(mm).len()), (7, 2), "what counts nothing is not written");
        assert!(!trace.with_still(mm, |still| still.filtered()));
        trace.set_filter(mm, Filter { pid: Some(9), ..Filter::NONE });
        trace.set_filter(mm, Filter::NONE);
        assert!(trace.with_still(mm, |still| still.filtered()));
        trace.forget(mm);
        assert_eq!((counted(), trace.with_still(mm, |still| still.filtered())), (0, false));
        trace.switch_off(mm, Points::ALL);
        trace.forget(mm);
        assert_eq!(trace.with_still(mm, |still| still.counted(Point::Unfold)), None);
    });
}
