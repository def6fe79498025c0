//! What the types of entries leave to run time. What the compiler refuses is in `compile_fail`.
#![forbid(unsafe_code)]

use arch::model::{user_load, user_store};
use arch::{Level, VirtAddr};
use mm::Mm;
use mm::config::ThpMode;
use mm::kalloc::KArc;
use mm::pgtable::FlushTag;
use mm::space::{AddressSpace, MapProt, MmapRequest};
use mm::stats::Counter;
use mm::testkit::{Builder, with_space};

const PAGE: u64 = 4096;

/// One page at the returned address, written to.
fn one_page(f: impl FnOnce(&Mm, &KArc<AddressSpace>, VirtAddr)) {
    with_space(&Builder::new().config(|config| config.thp = ThpMode::Never), |mm, _, space| {
        let request = MmapRequest::anonymous(2 * PAGE, MapProt::READ | MapProt::WRITE);
        let va = mm.mmap(space, &request).unwrap();
        user_store(va, 5).unwrap();
        f(mm, space, va);
    });
}

/// A broken entry that is dropped is flushed all the same: what is made there afterwards is not made over a
/// translation that a TLB may hold.
#[test]
fn a_dropped_break_is_flushed() {
    one_page(|mm, space, va| {
        let flushes = || mm.stats.get(Counter::DsbIsh);
        let mut tree = space.ptl.lock();
        let entry = tree.entry(space.flusher(mm), va, Level::L3).unwrap();
        let (desc, before) = (entry.desc(), flushes());
        drop(entry.break_live::<1>(|_, _| ()));
        assert_eq!(flushes(), before + 1);
        tree.entry(space.flusher(mm), va, Level::L3).unwrap().make(desc);
        drop(tree);
        assert_eq!(user_load(va), Ok(5));
    });
}

/// A break that is flushed is flushed once, and not again when it is made.
#[test]
fn a_break_is_flushed_once() {
    one_page(|mm, space, va| {
        let flushes = || mm.stats.get(Counter::DsbIsh);
        let mut tree = space.ptl.lock();
        let entry = tree.entry(space.flusher(mm), va, Level::L3).unwrap();
        let (desc, before) = (entry.desc(), flushes());
        let clean = entry.break_live::<1>(|_, _| ()).flush();
        assert_eq!(flushes(), before + 1);
        let displaced = clean.make(|_| desc, |_, _| ());
        assert_eq!((flushes(), displaced.descs()), (before + 1, &[desc]));
        displaced.keep();
    });
}

/// The page of zeros and an invalid entry hold no reference: the gather takes them and gives nothing up.
#[test]
fn what_nobody_counts_is_not_freed() {
    one_page(|mm, space, va| {
        let zero = va.add(PAGE);
        assert_eq!(user_load(zero), Ok(0));
        let (free, pages) = (mm.free_page_count(), [zero, zero]);
        mm.gather(space.tag(), |gather| {
            let mut tree = space.ptl.lock();
            for va in pages {
                let unmapped = tree.entry(space.flusher(mm), va, Level::L3).unwrap().clear(gather);
                assert_eq!(unmapped.folio(mm), None);
                gather.hold(unmapped);
            }
        });
        assert_eq!(mm.free_page_count(), free);
        assert_eq!(user_load(zero), Ok(0));
    });
}

/// A gather takes obligations of its own tree only: with the tag of another it would flush the wrong translations.
#[test]
#[should_panic(expected = "is of another tree")]
fn a_gather_of_another_tree() {
    one_page(|mm, space, va| {
        mm.gather(FlushTag::Kernel, |gather| {
            let mut tree = space.ptl.lock();
            let unmapped = tree.entry(space.flusher(mm), va, Level::L3).unwrap().clear(gather);
            gather.hold(unmapped);
        });
    });
}

/// A panic inside a gather is that panic, and no second one: what the gather held is lost, not freed.
#[test]
#[should_panic(expected = "on purpose")]
fn a_gather_unwinds() {
    one_page(|mm, space, va| {
        mm.gather(space.tag(), |gather| {
            let mut tree = space.ptl.lock();
            let unmapped = tree.entry(space.flusher(mm), va, Level::L3).unwrap().clear(gather);
            gather.hold(unmapped);
            panic!("on purpose");
        });
    });
}

/// Nor does a broken entry turn a panic into two.
#[test]
#[should_panic(expected = "on purpose")]
fn a_break_unwinds() {
    one_page(|mm, space, va| {
        let mut tree = space.ptl.lock();
        let _broken = tree.entry(space.flusher(mm), va, Level::L3).unwrap().break_live::<1>(|_, _| ());
        panic!("on purpose");
    });
}
