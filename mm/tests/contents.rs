//! What a page shows to whom: nothing of an earlier owner, nothing that its VMA forbids; and a number for the space
//! that a CPU runs all along.

use arch::contract::CpuId;
use arch::features::Features;
use arch::model::{run_as, user_load, user_store};
use arch::{Machine, Order, PhysMem};
use mm::config::{HvoStrategy, TailEncoding, ThpMode};
use mm::fault::FaultReason;
use mm::hugetlb::HugeSize;
use mm::page::{PageKind, page_of};
use mm::space::{MapFlags, MapProt, MmapRequest};
use mm::stats::Counter;
use mm::testkit::{Builder, with_space};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// A hugetlb page that was written before reads as zeros when it is mapped anew, wherever the word stands.
#[test]
fn hugetlb_pages_are_zeroed() {
    with_space(&Builder::new().config(|config| config.hvo = HvoStrategy::Off), |mm, _, space| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
        for _ in 0..2 {
            let va = mm.mmap(space, &MmapRequest::anonymous(HUGE, RW).with(MapFlags::HUGETLB)).unwrap();
            for at in [0, 8, PAGE, HUGE / 2, HUGE - 8].map(|offset| va.add(offset)) {
                assert_eq!(user_load(at), Ok(0));
                user_store(at, 0x5a).unwrap();
            }
            mm.munmap(space, va.raw(), HUGE).unwrap();
        }
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// A hugetlb page that was promised to one mapping is not given to another that was promised none.
#[test]
fn a_promise_outlives_a_greedy_neighbour() {
    with_space(&Builder::new().config(|config| config.hvo = HvoStrategy::Off), |mm, _, space| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
        let request = MmapRequest::anonymous(HUGE, RW).with(MapFlags::HUGETLB);
        let promised = mm.mmap(space, &request).unwrap();
        let greedy = mm.mmap(space, &request.with(MapFlags::HUGETLB | MapFlags::NORESERVE)).unwrap();
        assert!(user_store(greedy, 1).is_err());
        assert_eq!(user_store(promised, 1), Ok(()));
        mm.munmap(space, promised.raw(), HUGE).unwrap();
        assert_eq!(user_store(greedy, 1), Ok(()));
        mm.munmap(space, greedy.raw(), HUGE).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// The pages that a restored folio gets for its struct pages are written anew, whatever they held: every tail leads
/// to its head.
#[test]
fn restored_tails_lead_to_their_head() {
    for &encoding in TailEncoding::ALL {
        Builder::new().ram_mib(32).config(|config| config.tails = encoding).boot(|mm, _| {
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
            let junk: Vec<_> =
                core::iter::from_fn(|| mm.alloc_pages(Order::PAGE, PageKind::Kernel).ok()).collect();
            junk.iter().for_each(|page| Machine::write_bytes(page.pfn().phys(), &[0x5a; PAGE as usize]));
            junk.into_iter().for_each(|page| mm.free_pages(page, Order::PAGE));
            assert_eq!(mm.hugetlb.restore_free(mm).done, 1);
            let blocks = mm.ram()[0].iter().filter(|pfn| pfn.is_aligned(Order::PMD)).map(page_of);
            let heads: Vec<_> = blocks.filter(|page| page.kind() == PageKind::Hugetlb).collect();
            assert_eq!(heads.len(), 1);
            for tail in (1..512).map(|n| heads[0].nth(n)) {
                assert_eq!(tail.head(encoding), heads[0], "{tail:?}");
            }
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
        });
    }
}

/// A small page that was written before reads as zeros when it is mapped anew, though a write maps it.
#[test]
fn small_pages_are_zeroed() {
    with_space(&Builder::new().config(|config| config.thp = ThpMode::Never), |mm, _, space| {
        for _ in 0..2 {
            let va = mm.mmap(space, &MmapRequest::anonymous(64 * PAGE, RW)).unwrap();
            for page in (0..64).map(|n| va.add(n * PAGE)) {
                user_store(page, 0x5a).unwrap();
                assert_eq!(user_load(page.add(8)), Ok(0));
                user_store(page.add(8), 0x5a).unwrap();
            }
            mm.munmap(space, va.raw(), 64 * PAGE).unwrap();
        }
    });
}

/// The kernel, on the user's behalf, gets no further than the user: what a mapping without rights keeps can be
/// neither read nor written through the linear map.
#[test]
fn the_kernel_has_the_rights_of_the_user() {
    with_space(&Builder::new(), |mm, _, space| {
        let va = mm.mmap(space, &MmapRequest::anonymous(PAGE, RW)).unwrap();
        user_store(va, 7).unwrap();
        mm.mprotect(space, va.raw(), PAGE, MapProt::empty()).unwrap();
        let mut word = [0; 8];
        assert_eq!(
            mm.read_user(space, va, &mut word).map_err(|error| error.reason),
            Err(FaultReason::Rights)
        );
        assert_eq!(mm.write_user(space, va, &word).map_err(|error| error.reason), Err(FaultReason::Rights));
        mm.mprotect(space, va.raw(), PAGE, MapProt::READ).unwrap();
        assert_eq!(mm.write_user(space, va, &word).map_err(|error| error.reason), Err(FaultReason::Rights));
        mm.read_user(space, va, &mut word).unwrap();
        assert_eq!(u64::from_le_bytes(word), 7);
    });
}

/// A CPU that runs a space through two rollovers shares its ASID with whoever takes the space up after either: the
/// space never has two, though the second rollover no longer finds it in the slot of the CPU.
#[test]
fn a_space_has_one_asid_through_two_rollovers() {
    Builder::new().features(Features { asid_bits: 8, ..Features::BASE }).boot(|mm, _| {
        let space = mm.new_space().unwrap();
        run_as(CpuId::new(1), || mm.activate_space(Some(&space)));
        let number = space.asid.asid();
        for rollovers in 1..=2 {
            while mm.stats.get(Counter::AsidRollover) < rollovers {
                let other = mm.new_space().unwrap();
                mm.activate_space(Some(&other));
                mm.activate_space(None);
                mm.destroy_space(&other);
            }
            let other = mm.new_space().unwrap();
            mm.activate_space(Some(&space));
            assert_eq!(space.asid.asid(), number, "after {rollovers} rollovers");
            mm.activate_space(Some(&other));
            mm.activate_space(None);
            mm.destroy_space(&other);
        }
        run_as(CpuId::new(1), || mm.activate_space(None));
        mm.destroy_space(&space);
    });
}
