//! Pins on the model: what the device writes is what the process sees, whatever happens in between.

use arch::addr::PAGE_SIZE;
use arch::{Access, Level, VirtAddr};

use super::*;
use crate::Mm;
use crate::config::{HvoStrategy, Mapcount, PromotionThreshold, ThpMode};
use crate::device::{Dma, Transfer};
use crate::hugetlb::HugeSize;
use crate::kalloc::KArc;
use crate::kalloc::inject::Failing;
use crate::page::{MOST_PINS, PageRef};
use crate::pgtable::normal_folio;
use crate::rmap::{self, MoveWhat, NotMoved, Refused};
use crate::space::{AddressSpace, Advice, Errno, MapFlags, MapProt, MmapRequest};
use crate::stats::Counter;
use crate::testkit::{Builder, check, exhaust};
use crate::thp::promote::{self, PromoteError};
use crate::thp::reclaim;

const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
const BLOCK: u64 = 512 * PAGE_SIZE;

fn at(page: u64) -> VirtAddr {
    BASE.add(page * PAGE_SIZE)
}

fn small() -> Builder {
    Builder::new().ram_mib(32).config(|config| config.thp = ThpMode::Never)
}

/// Runs `f` with a space that has 4 MiB of private memory at [`BASE`]; nothing is lost.
fn with_memory(machine: &Builder, f: impl FnOnce(&Mm, &KArc<AddressSpace>, &Dma)) {
    machine.clone().boot(|mm, _| {
        let before = mm.free_page_count();
        let space = mm.new_space().unwrap();
        let request = MmapRequest::anonymous(2 * BLOCK, RW).fixed(BASE.raw());
        mm.mmap(&space, &request).unwrap();
        f(mm, &space, &Dma::new());
        check(mm);
        mm.destroy_space(&space);
        check(mm);
        assert_eq!(mm.free_page_count(), before, "pages are missing");
        let [acquired, released] =
            [Counter::FollPinAcquired, Counter::FollPinReleased].map(|counter| mm.stats.get(counter));
        assert_eq!(acquired, released, "pages are pinned yet");
    });
}

fn put(mm: &Mm, space: &KArc<AddressSpace>, page: u64, value: u64) {
    mm.write_user(space, at(page), &value.to_le_bytes()).unwrap();
}

fn get(mm: &Mm, space: &KArc<AddressSpace>, page: u64) -> u64 {
    let mut bytes = [0; 8];
    mm.read_user(space, at(page), &mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

/// The folio that the space maps at a page.
fn folio(mm: &Mm, space: &AddressSpace, page: u64) -> PageRef {
    let leaf = space.ptl.lock().walk(at(page)).leaf().unwrap();
    normal_folio(mm, leaf.desc, leaf.level).unwrap()
}

/// Submits a fill of one page, lets `between` happen, does it, and looks whether the process sees it.
fn filled_after(mm: &Mm, space: &KArc<AddressSpace>, dma: &Dma, page: u64, between: impl FnOnce()) {
    dma.submit(mm, space, at(page), PAGE_SIZE, Transfer::Fill(0xd0d0)).unwrap();
    assert!(folio(mm, space, page).maybe_pinned());
    between();
    check(mm);
    assert!(dma.step(mm).is_some());
    assert_eq!(get(mm, space, page), 0xd0d0, "the device has written elsewhere");
}

/// A pin is a reference and a count, exact for single pages; it faults pages in, also several, also of a block.
#[test]
fn pins_are_counted() {
    for thp in [ThpMode::Never, ThpMode::Always] {
        let machine = Builder::new().ram_mib(32).config(|config| config.thp = thp);
        with_memory(&machine, |mm, space, _| {
            let pages = mm.pin_user_pages(space, at(510), 4, Access::Write).unwrap();
            let first = folio(mm, space, 510);
            assert_eq!(pages.len(), 4);
            assert_eq!(pages.frame(0), folio_frame(space, 510));
            assert_eq!(pages.frame(3), folio_frame(space, 513));
            let per_folio = if thp == ThpMode::Never { 1 } else { 2 };
            assert_eq!((first.pincount(), first.refcount()), (per_folio, per_folio + 1));
            check(mm);
            let again = mm.pin_user_pages(space, at(510), 1, Access::Read).unwrap();
            assert_eq!(first.pincount(), per_folio + 1);
            mm.unpin(pages);
            assert!(first.maybe_pinned());
            mm.unpin(again);
            assert!(!first.maybe_pinned());
        });
    }
}

/// A page that the space may write is pinned where it is, whatever the way of counting can say of its folio: here of a
/// block that is mapped by entries, and not by all of them.
#[test]
fn pages_of_a_split_block_under_every_scheme() {
    for &mapcount in Mapcount::ALL {
        let machine = Builder::new().ram_mib(32).config(|config| {
            (config.thp, config.mapcount, config.hvo) = (ThpMode::Always, mapcount, HvoStrategy::Off);
        });
        with_memory(&machine, |mm, space, _| {
            put(mm, space, 7, 1);
            mm.mprotect(space, BASE.raw(), PAGE_SIZE, MapProt::READ).unwrap();
            mm.munmap(space, at(8).raw(), PAGE_SIZE).unwrap();
            for access in [Access::Read, Access::Write] {
                let frame = folio_frame(space, 7);
                let pages = mm.pin_user_pages(space, at(7), 1, access).unwrap();
                assert_eq!(pages.frame(0), frame, "{mapcount}: {access:?}");
                mm.unpin(pages);
            }
        });
    }
}

fn folio_frame(space: &AddressSpace, page: u64) -> Option<arch::Pfn> {
    let leaf = space.ptl.lock().walk(at(page)).leaf()?;
    let offset = at(page).raw() & (leaf.level.entry_bytes() - 1);
    Some(leaf.desc.output(leaf.level).add(offset).pfn())
}

/// fork gives the child a copy; parent and device go on with the page.
#[test]
fn fork() {
    for thp in [ThpMode::Never, ThpMode::Always] {
        let machine = Builder::new().ram_mib(32).config(|config| config.thp = thp);
        with_memory(&machine, |mm, space, dma| {
            put(mm, space, 3, 1);
            let mut child = None;
            filled_after(mm, space, dma, 3, || {
                let forked = mm.fork_space(space).unwrap();
                put(mm, space, 4, 2);
                child = Some(forked);
            });
            let child = child.unwrap();
            assert_eq!(get(mm, &child, 3), 1, "the child has what was there at the fork");
            mm.destroy_space(&child);
        });
    }
}

/// A page that a child shares is copied before it is pinned, for writing and for reading, also where the VMA may only
/// be read; what the process writes after that, the device sees.
#[test]
fn shared_pages_are_copied_first() {
    for prot in [RW, MapProt::READ] {
        with_memory(&small(), |mm, space, dma| {
            put(mm, space, 0, 5);
            let child = mm.fork_space(space).unwrap();
            mm.mprotect(space, BASE.raw(), PAGE_SIZE, prot).unwrap();
            assert_eq!(folio(mm, space, 0), folio(mm, &child, 0));
            dma.submit(mm, space, at(0), 8, Transfer::Sum).unwrap();
            assert_ne!(folio(mm, space, 0), folio(mm, &child, 0), "unshared");
            check(mm);
            mm.mprotect(space, BASE.raw(), PAGE_SIZE, RW).unwrap();
            put(mm, space, 0, 6);
            assert_eq!(dma.step(mm), Some(6), "the device reads what the process wrote last");
            assert_eq!(get(mm, &child, 0), 5);
            mm.destroy_space(&child);
        });
    }
}

/// The page of zeros is not pinned: who pins for reading gets a page of the process's own.
#[test]
fn the_page_of_zeros_is_replaced() {
    with_memory(&small(), |mm, space, dma| {
        assert_eq!(get(mm, space, 1), 0);
        dma.submit(mm, space, at(1), 8, Transfer::Sum).unwrap();
        put(mm, space, 1, 9);
        assert_eq!(dma.step(mm), Some(9));
        mm.mprotect(space, at(2).raw(), PAGE_SIZE, MapProt::READ).unwrap();
        assert_eq!(get(mm, space, 2), 0);
        dma.submit(mm, space, at(2), 8, Transfer::Sum).unwrap();
        assert!(folio(mm, space, 2).maybe_pinned());
        assert_eq!(dma.step(mm), Some(0));
    });
}

/// The right to write, taken and given back, leaves a pinned page where it is: also a page of a block that was cut,
/// which not every way of counting can tell to be one space's.
#[test]
fn rights_that_come_and_go() {
    for thp in [ThpMode::Never, ThpMode::Always] {
        let machine = Builder::new().ram_mib(32).config(|config| config.thp = thp);
        with_memory(&machine, |mm, space, dma| {
            for page in 0..512 {
                put(mm, space, page, page);
            }
            filled_after(mm, space, dma, 7, || {
                mm.munmap(space, at(100).raw(), PAGE_SIZE).unwrap();
                mm.mprotect(space, BASE.raw(), 50 * PAGE_SIZE, MapProt::READ).unwrap();
                mm.mprotect(space, BASE.raw(), 50 * PAGE_SIZE, RW).unwrap();
                let frame = folio_frame(space, 7);
                put(mm, space, 7, 1);
                assert_eq!(folio_frame(space, 7), frame, "copied though it is pinned");
                let again = mm.pin_user_pages(space, at(7), 1, Access::Read).unwrap();
                assert_eq!(again.frame(0), frame);
                mm.unpin(again);
            });
        });
    }
}

/// munmap, MADV_DONTNEED and the end of the process leave pinned memory to the device, which gives it back.
#[test]
fn memory_outlives_its_mapping() {
    small().boot(|mm, _| {
        let before = mm.free_page_count();
        let (space, dma) = (mm.new_space().unwrap(), Dma::new());
        mm.mmap(&space, &MmapRequest::anonymous(BLOCK, RW).fixed(BASE.raw())).unwrap();
        for page in 0..3 {
            put(mm, &space, page, 1 + page);
            dma.submit(mm, &space, at(page), 8, Transfer::Sum).unwrap();
        }
        mm.munmap(&space, at(0).raw(), PAGE_SIZE).unwrap();
        check(mm);
        mm.madvise(&space, at(1).raw(), PAGE_SIZE, Advice::DontNeed).unwrap();
        put(mm, &space, 1, 100);
        mm.destroy_space(&space);
        check(mm);
        assert_eq!(before - mm.free_page_count(), 3);
        assert_eq!([0; 3].map(|_| dma.step(mm)), [1, 2, 3].map(Some));
        assert_eq!(mm.free_page_count(), before);
    });
}

/// Promotion in place refuses while a page of the range is pinned, and does it after.
#[test]
fn promotion() {
    let machine = Builder::new().ram_mib(32).config(|config| {
        config.thp = ThpMode::Reserve;
        config.promotion_threshold = PromotionThreshold::new(512).unwrap();
    });
    with_memory(&machine, |mm, space, dma| {
        for page in 0..511 {
            put(mm, space, page, page);
        }
        filled_after(mm, space, dma, 5, || {
            put(mm, space, 511, 511);
            let refused = promote::promote_range(mm, space, BASE);
            let page = folio(mm, space, 5);
            assert_eq!(refused, Err(PromoteError::Referenced(page.pfn())));
        });
        promote::promote_range(mm, space, BASE).unwrap();
        let level = space.ptl.lock().walk(BASE).leaf().map(|leaf| leaf.level);
        assert_eq!((level, get(mm, space, 5)), (Some(Level::L2), 0xd0d0));
    });
}

/// The split of a block leaves its folio, and so its pins, as they are; releasing reservations does not touch pages in
/// use.
#[test]
fn splits_and_reclaim() {
    let machine = Builder::new().ram_mib(32).config(|config| config.thp = ThpMode::Always);
    with_memory(&machine, |mm, space, dma| {
        put(mm, space, 0, 1);
        filled_after(mm, space, dma, 9, || {
            let head = folio(mm, space, 9);
            mm.mprotect(space, at(20).raw(), PAGE_SIZE, MapProt::READ).unwrap();
            assert_eq!((folio(mm, space, 9), head.pincount()), (head, 1));
            reclaim::drop_reservations(mm);
        });
    });
}

/// Memory of an object is pinned as it is where it is shared; truncation leaves the frame to the device.
#[test]
fn objects() {
    with_memory(&small(), |mm, space, dma| {
        let object = mm.new_object(4 * PAGE_SIZE).unwrap();
        let request = MmapRequest::anonymous(4 * PAGE_SIZE, RW).fixed(BASE.raw());
        let shared = MmapRequest { flags: MapFlags::SHARED | MapFlags::FIXED, ..request };
        mm.mmap_object(space, &shared, &object).unwrap();
        let other = mm.new_space().unwrap();
        mm.mmap_object(&other, &shared, &object).unwrap();
        filled_after(mm, space, dma, 1, || {
            let child = mm.fork_space(space).unwrap();
            assert_eq!(get(mm, &child, 1), 0);
            mm.destroy_space(&child);
        });
        assert_eq!(get(mm, &other, 1), 0xd0d0, "all that map it see it");
        put(mm, &other, 2, 77);
        dma.submit(mm, space, at(2), 8, Transfer::Sum).unwrap();
        mm.truncate_object(&object, 0).unwrap();
        check(mm);
        mm.truncate_object(&object, 4 * PAGE_SIZE).unwrap();
        assert_eq!((dma.step(mm), get(mm, space, 2)), (Some(77), 0), "no page of the object any more");
        let private = MmapRequest { flags: MapFlags::PRIVATE | MapFlags::FIXED, ..request };
        mm.mmap_object(&other, &private, &object).unwrap();
        put(mm, space, 3, 3);
        dma.submit(mm, &other, at(3), 8, Transfer::Sum).unwrap();
        put(mm, &other, 3, 4);
        assert_eq!((dma.step(mm), get(mm, space, 3)), (Some(4), 3), "a private copy was pinned");
        mm.destroy_space(&other);
        mm.close_object(object);
    });
}

/// A hugetlb folio that is pinned outlives its mapping, and is not optimised before it is back in the pool.
#[test]
fn hugetlb() {
    small().boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
        let (space, dma) = (mm.new_space().unwrap(), Dma::new());
        let huge = MmapRequest::anonymous(BLOCK, RW).with(MapFlags::HUGETLB).fixed(BASE.raw());
        mm.mmap(&space, &huge).unwrap();
        put(mm, &space, 1, 6);
        dma.submit(mm, &space, at(1), 8, Transfer::Sum).unwrap();
        mm.munmap(&space, BASE.raw(), BLOCK).unwrap();
        check(mm);
        assert_eq!(mm.hugetlb.counts(HugeSize::M2).free, 0, "not free while it is pinned");
        assert_eq!((dma.step(mm), mm.hugetlb.counts(HugeSize::M2).free), (Some(6), 1));
        mm.destroy_space(&space);
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// What cannot be pinned, and with which error; nothing stays pinned.
#[test]
fn refusals() {
    with_memory(&small(), |mm, space, dma| {
        put(mm, space, 0, 1);
        let errno =
            |va, pages, access| mm.pin_user_pages(space, va, pages, access).map(drop).unwrap_err().errno();
        assert_eq!(errno(at(0), 0, Access::Read), Errno::Inval);
        assert_eq!(errno(at(0), u64::MAX / 2, Access::Read), Errno::Inval);
        assert_eq!(errno(at(1022), 4, Access::Write), Errno::Fault);
        assert_eq!(errno(VirtAddr::new(0xffff_0000_4000_0000), 1, Access::Read), Errno::Inval);
        mm.mprotect(space, at(1).raw(), PAGE_SIZE, MapProt::READ).unwrap();
        assert_eq!(errno(at(0), 2, Access::Write), Errno::Fault);
        let head = folio(mm, space, 0);
        assert_eq!((head.pincount(), head.refcount()), (0, 1));
        head.set_pincount(MOST_PINS);
        assert_eq!(errno(at(0), 1, Access::Read), Errno::NoMem);
        head.set_pincount(0);
        assert!(matches!(dma.submit(mm, space, at(0).add(4), 8, Transfer::Sum), Err(PinError::Range(..))));
        assert_eq!((dma.pending(), dma.step(mm)), (0, None));
    });
}

/// Every allocation of a submission fails once, over absent, shared and zero pages.
#[test]
fn out_of_memory() {
    for failing in [Failing::Once, Failing::Onwards] {
        let failed = exhaust(
            &small(),
            failing,
            |mm| {
                let space = mm.new_space().unwrap();
                mm.mmap(&space, &MmapRequest::anonymous(BLOCK, RW).fixed(BASE.raw())).unwrap();
                put(mm, &space, 0, 1);
                let child = mm.fork_space(&space).unwrap();
                assert_eq!(get(mm, &space, 1), 0);
                (space, child, Dma::new())
            },
            |mm, (space, _, dma)| {
                dma.submit(mm, space, at(0), 4 * PAGE_SIZE, Transfer::Fill(1))?;
                dma.submit(mm, space, at(600), 8, Transfer::Sum).map_or_else(
                    |error| if error.errno() == Errno::Fault { Ok(()) } else { Err(error) },
                    |()| Ok(()),
                )
            },
            |mm, (space, child, dma)| {
                dma.reset(mm);
                mm.destroy_space(&child);
                mm.destroy_space(&space);
            },
        );
        assert!(failed >= 5, "only {failed} allocations were failed");
    }
}

/// What an attempt to move the folio of a page comes to.
fn moved(mm: &Mm, space: &AddressSpace, page: u64) -> Result<(), Refused> {
    let head = folio(mm, space, page);
    let target = rmap::target_for(mm, head).unwrap();
    rmap::migrate_folio(mm, head.get(), target, MoveWhat::All).map_err(|NotMoved { why, target }| {
        rmap::drop_target(mm, target);
        why
    })
}

/// Migration refuses a pinned folio, of private memory or of an object, small or huge, and moves it once it is
/// unpinned.
#[test]
fn migration() {
    for thp in [ThpMode::Never, ThpMode::Always] {
        let machine = Builder::new().ram_mib(32).config(|config| config.thp = thp);
        with_memory(&machine, |mm, space, dma| {
            let shared = MmapRequest::anonymous(PAGE_SIZE, RW).fixed(at(1000).raw());
            let flags = MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::FIXED;
            mm.mmap(space, &MmapRequest { flags, ..shared }).unwrap();
            for page in [3, 1000] {
                put(mm, space, page, 1);
                filled_after(mm, space, dma, page, || {
                    assert_eq!(moved(mm, space, page), Err(Refused::Pinned));
                });
                let before = folio_frame(space, page);
                assert_eq!(moved(mm, space, page), Ok(()));
                assert_ne!(folio_frame(space, page), before);
                assert_eq!(get(mm, space, page), 0xd0d0);
            }
        });
    }
}

/// A pinned folio is not split into pages; after that it is.
#[test]
fn folio_split() {
    let machine = Builder::new().ram_mib(32).config(|config| config.thp = ThpMode::Always);
    with_memory(&machine, |mm, space, dma| {
        put(mm, space, 0, 1);
        filled_after(mm, space, dma, 9, || {
            let head = folio(mm, space, 9);
            assert_eq!(rmap::split_folio(mm, head.get()), Err(Refused::Pinned));
            assert_eq!(folio(mm, space, 9), head);
        });
        rmap::split_folio(mm, folio(mm, space, 9).get()).unwrap();
        assert!(!folio(mm, space, 9).is_folio());
        assert_eq!(get(mm, space, 9), 0xd0d0);
    });
}
