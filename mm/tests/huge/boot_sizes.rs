//! hugetlb folios that are optimised at boot, before they have struct pages.

use arch::addr::PAGE_SIZE;
use arch::{Level, Order, Pfn};
use mm::Mm;
use mm::config::{HvoStrategy, MmConfig, TailEncoding, VmemmapMap};
use mm::hugetlb::HugeSize;
use mm::hvo::layout::Layout;
use mm::hvo::{AtBoot, describe};
use mm::page::{Flags, PageKind, PageRef, page_of};
use mm::stats::Counter;
use mm::testkit::Builder;

use crate::common::{counts, is_shared, is_writable, map, read, write};

const MIB: u64 = 1 << 20;
/// Where RAM begins.
const BASE: u64 = 1 << 30;
/// Of 1 GiB: its frames, and its pages of vmemmap without a frame.
const GIANT: (u64, u64) = (1 << 18, 4095);

/// The choices that `words` are for.
fn asked(config: &mut MmConfig, words: &str) {
    for (key, value) in words.split(' ').map(|word| word.split_once('=').unwrap()) {
        config.parse(key, value).unwrap();
    }
}

/// A machine of so many MiB that is booted with these words.
fn machine(mib: u64, words: &str) -> Builder {
    // The struct pages of so much memory are many steps.
    Builder::new()
        .ram_mib(mib)
        .machine(|desc| desc.max_steps = u64::MAX)
        .config(|config| asked(config, words))
}

/// The heads of all hugetlb folios, ascending.
fn heads(mm: &Mm) -> Vec<PageRef> {
    let heads = mm.ram().iter().flat_map(|bank| bank.iter()).map(page_of);
    heads.filter(|page| page.kind() == PageKind::Hugetlb && page.flags().contains(Flags::HEAD)).collect()
}

/// Nothing was optimised, split or stopped for it: the folio stands as HVO leaves one.
fn assert_made_at_boot(mm: &Mm, head: PageRef) {
    let layout = Layout::of(head.order()).unwrap();
    assert_eq!((head.refcount(), head.flags()), (0, Flags::HEAD | Flags::HVO));
    let shared = mm.hvo.shared_tails(head.order());
    for n in 0..layout.pages() {
        let entry = describe::entry(mm, layout.page(head.pfn(), n));
        assert_eq!(entry.level, Level::L3, "page {n}");
        assert_eq!((is_shared(&entry), entry.output() == shared), (n != 0, n != 0), "page {n}: {entry}");
        assert_eq!(is_writable(entry.va), n == 0, "page {n}");
    }
    for n in (1..head.order().pages()).step_by(61) {
        assert_eq!(head.nth(n).head(TailEncoding::Mask), head, "page {n}");
    }
    for counter in [Counter::HvoOptimize, Counter::HvoSplitPmd, Counter::HvoRestore] {
        assert_eq!(mm.stats.get(counter), 0, "{}", counter.name());
    }
}

/// With either way to map vmemmap, the frames of 4095 of its 4096 pages are never taken: all of them are free that are
/// neither the folio's, nor reserved, nor hold struct pages of what lies beside it.
#[test]
fn struct_pages_are_never_made() {
    for &vmemmap in VmemmapMap::ALL {
        let words = format!("vmemmap={vmemmap} hugepagesz=1G hugepages=1");
        machine(1280, &words).boot(|mm, env| {
            let at_boot = AtBoot { folios: 1, never_taken: GIANT.1 };
            assert_eq!(mm.hvo.at_boot(), at_boot, "{words}");
            assert_eq!(mm.hugetlb.counts(HugeSize::G1), counts(1, 1, 0));
            assert_eq!(heads(mm).len(), 1);
            assert_made_at_boot(mm, heads(mm)[0]);
            let report = mm.check_all().unwrap();
            let beside = 256 * MIB / PAGE_SIZE / 64;
            assert_eq!(
                report.pages_of(PageKind::Vmemmap),
                beside + 2,
                "one more for the head, and the shared one"
            );
            assert_eq!(report.read_only_vmemmap, GIANT.1);
            assert_eq!(mm.managed_pages(), mm.ram_pages() - mm.reserved_pages());
            assert_eq!(mm.free_page_count(), mm.managed_pages() - GIANT.0 - beside - 2);
            let gauges = [Counter::NrHvoOptimized, Counter::NrVmemmapFreed].map(|gauge| mm.stats.get(gauge));
            assert_eq!(gauges, [1, GIANT.1]);
            assert_eq!((env.stops(), env.pauses()), (0, 0));
            assert!(mm.reserved_pages() < 32, "{} early tables", mm.reserved_pages());
        });
    }
}

/// A folio of boot is mapped and written like any other; it is restored, goes to the buddy allocator with all its frames,
/// comes again in the ordinary way, and shares the same page of tails: by equal bytes, and by breaks.
#[test]
fn giants_of_boot_go_and_come() {
    for (hvo, vmemmap) in [("alias", "pmd"), ("fault", "pmd"), ("pause", "pte")] {
        let words = format!("hvo={hvo} vmemmap={vmemmap} hugepagesz=1G hugepages=1");
        println!("{words}");
        machine(1280, &words).boot(|mm, _| {
            let (size, head) = (HugeSize::G1, heads(mm)[0]);
            let (free, shared) = (mm.free_page_count(), mm.hvo.shared_tails(size.order()));
            let space = mm.new_space().unwrap();
            let va = map(mm, &space, size, 1);
            for (n, offset) in [0, 4096 * 64, size.bytes() - 1].into_iter().enumerate() {
                assert_eq!(read(mm, &space, va.add(offset)), 0, "it is zeroed");
                write(mm, &space, va.add(offset), n as u8 + 1).unwrap();
                assert_eq!(read(mm, &space, va.add(offset)), n as u8 + 1);
            }
            mm.check_all().unwrap();
            mm.destroy_space(&space);
            assert_eq!(mm.hugetlb.counts(size), counts(1, 1, 0));
            assert_eq!(mm.free_page_count(), free);
            assert_eq!(mm.hugetlb.set_nr(mm, size, 1).persistent, 1, "nothing is missing");

            assert_eq!(mm.hugetlb.restore_free(mm).done, 1);
            assert_eq!(mm.free_page_count(), free - GIANT.1);
            assert_eq!((0..4096).filter(|n| is_writable(head.address().add(n * PAGE_SIZE))).count(), 4096);
            mm.check_all().unwrap();
            assert_eq!(mm.hugetlb.set_nr(mm, size, 0).unrestored, None);
            assert_eq!(mm.free_page_count(), free - GIANT.1 + GIANT.0);
            assert_eq!(mm.stats.get(Counter::NrVmemmapFreed), 0);
            mm.check_all().unwrap();

            let again = mm.hugetlb.set_nr(mm, size, 1);
            assert_eq!((again.persistent, again.unoptimized), (1, None));
            assert_eq!((mm.free_page_count(), heads(mm)[0]), (free, head));
            assert_eq!(mm.hvo.shared_tails(size.order()), shared);
            assert_eq!(mm.stats.get(Counter::HvoSplitPmd), 0, "its vmemmap was never mapped by blocks");
            assert_eq!(mm.hvo.at_boot().folios, 1);
            mm.check_all().unwrap();
            // In one go.
            assert_eq!(mm.hugetlb.set_nr(mm, size, 0).unrestored, None);
            assert_eq!(mm.free_page_count(), free - GIANT.1 + GIANT.0);
        });
    }
}

/// A folio of boot is divided like any other: its pieces have struct pages, and are optimised in turn.
#[test]
fn giants_of_boot_are_demoted() {
    machine(1280, "hugepagesz=1G hugepages=1").boot(|mm, _| {
        let free = mm.free_page_count();
        let demoted = mm.hugetlb.demote(mm, HugeSize::G1, 1);
        assert_eq!((demoted.folios, demoted.unrestored, demoted.unoptimized), (1, None, None));
        assert_eq!(mm.hugetlb.counts(HugeSize::G1), counts(0, 0, 0));
        assert_eq!(mm.hugetlb.counts(HugeSize::M32), counts(32, 32, 0));
        // 127 of 128 pages each, and the shared page of their order.
        assert_eq!(mm.free_page_count(), free - GIANT.1 + 32 * 127 - 1);
        mm.check_all().unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M32, 0).unrestored, None);
        assert_eq!(mm.free_page_count(), free - GIANT.1 - 1 + GIANT.0);
    });
}

/// A folio of boot is dissolved by any of its frames.
#[test]
fn giants_of_boot_are_dissolved() {
    machine(1280, "hugepagesz=1G hugepages=1").boot(|mm, _| {
        let (free, pfn) = (mm.free_page_count(), heads(mm)[0].pfn());
        assert_eq!(mm.hugetlb.dissolve(mm, pfn.add(GIANT.0 - 1)), Ok(GIANT.0));
        assert_eq!(mm.free_page_count(), free - GIANT.1 + GIANT.0);
        assert_eq!(mm.hugetlb.counts(HugeSize::G1), counts(0, 0, 0));
    });
}

/// Of too many as many are taken as leave enough, the highest ones; the pool is asked for the rest later, and says how far
/// it got. Boot itself never fails for it.
#[test]
fn too_many_are_asked_for() {
    machine(2304, "hugepagesz=1G hugepages=5").boot(|mm, _| {
        assert_eq!(mm.hvo.at_boot(), AtBoot { folios: 2, never_taken: 2 * GIANT.1 });
        let pfns: Vec<u64> = heads(mm).iter().map(|head| head.pfn().raw()).collect();
        assert_eq!(pfns, [GIANT.0, 2 * GIANT.0]);
        assert!(mm.free_page_count() > 128 * MIB / PAGE_SIZE);
        mm.check_all().unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::G1, 5).persistent, 2);
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::G1, 1).persistent, 1);
    });
}

/// Where no aligned range is free, or too little would be left, none is taken, and everything boots as it would have.
#[test]
fn none_can_be_had() {
    let words = "hugepagesz=1G hugepages=1";
    let end = BASE + 2304 * MIB;
    for (machine, why) in [
        (machine(1280, words).bank(BASE + MIB, BASE + 1280 * MIB), "its first MiB is missing"),
        (machine(1280, words).reserve(BASE + 700 * MIB, BASE + 700 * MIB + 1), "a byte of it is in use"),
        (machine(1120, words), "96 MiB would be left"),
        (machine(2304, words).bank(BASE + MIB, end - 257 * MIB), "neither is whole"),
        (machine(1280, words).mapped(BASE, BASE + 64 * MIB), "tables can stand nowhere else"),
    ] {
        machine.boot(|mm, _| {
            assert_eq!(mm.hvo.at_boot(), AtBoot::default(), "{why}");
            assert!(heads(mm).is_empty() && mm.hvo.shared_tails(Order::PUD).is_none());
        });
    }
}

/// Pages of 2 MiB are made later, and those of 32 MiB like those of 1 GiB; what lies beside them in the same 2 MiB of
/// vmemmap has pages of its own.
#[test]
fn sizes_are_mixed() {
    for &vmemmap in VmemmapMap::ALL {
        let words =
            format!("vmemmap={vmemmap} hugepages=3 hugepagesz=32M hugepages=2 hugepagesz=1G hugepages=1");
        machine(2304, &words).boot(|mm, _| {
            let freed = |folios: [u64; 3]| folios[0] * 7 + folios[1] * 127 + folios[2] * GIANT.1;
            assert_eq!(mm.hvo.at_boot(), AtBoot { folios: 3, never_taken: freed([0, 2, 1]) });
            let at: Vec<_> =
                heads(mm).iter().map(|head| (head.pfn().raw() >> 8, head.order().raw())).collect();
            assert_eq!(at, [(2048, 18), (3264, 13), (3296, 13)], "in MiB");
            heads(mm).into_iter().for_each(|head| assert_made_at_boot(mm, head));
            let free = mm.free_page_count();
            let neighbour = page_of(Pfn::new(3263 << 8));
            assert!(is_writable(neighbour.address()) && neighbour.kind() != PageKind::Reserved);
            for (size, n) in [(HugeSize::G1, 1), (HugeSize::M32, 2), (HugeSize::M2, 3)] {
                let grown = mm.hugetlb.set_nr(mm, size, n);
                assert_eq!((grown.persistent, grown.unoptimized), (n, None), "{size}");
            }
            assert_eq!(mm.stats.get(Counter::NrVmemmapFreed), freed([3, 2, 1]));
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 6);
            mm.check_all().unwrap();
            for size in HugeSize::ALL {
                assert_eq!(mm.hugetlb.set_nr(mm, size, 0).unrestored, None, "{size}");
            }
            let tables = mm.stats.get(Counter::HvoSplitPmd);
            let folios = GIANT.0 + 2 * HugeSize::M32.order().pages();
            assert_eq!(mm.free_page_count(), free + folios - freed([0, 2, 1]) - 1 - tables);
        });
    }
}

/// Without HVO, and where the tails of each folio say something else, all folios are made later, as ever: of the two of
/// [`too_many_are_asked_for`], where boot has left its tables in one already, one.
#[test]
fn others_are_made_later() {
    for words in ["hvo=off", "hvo=pause tails=pointer"] {
        machine(2304, &format!("{words} hugepagesz=1G hugepages=2")).boot(|mm, _| {
            assert_eq!(mm.hvo.at_boot(), AtBoot::default(), "{words}");
            assert!(heads(mm).is_empty());
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::G1, 2).persistent, 1);
            let optimised = mm.config.hvo != HvoStrategy::Off;
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), u64::from(optimised));
        });
    }
}
