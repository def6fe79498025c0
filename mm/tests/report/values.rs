//! The values, against a scan of all tables.

use arch::model::{user_load, user_store};
use arch::{Pfn, VirtAddr};
use mm::config::{HvoStrategy, Mapcount, ThpMode};
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::mapcount::{self, Answer};
use mm::page::page_of;
use mm::report::Reading;
use mm::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use mm::testkit::{Builder, Random, run_as_user, with_space};

use crate::kit::{BASE, HUGE, PAGE, RW, Truth, machine, pages, populated, rollup, sane, smaps};

/// What is resident, and what is not: the page of zeros, addresses without a page, hugetlb.
#[test]
fn rows_say_what_is_mapped() {
    let machine = Builder::new().ram_mib(64).config(|config| {
        config.thp = ThpMode::Never;
        config.hvo = HvoStrategy::Off;
    });
    with_space(&machine, |mm, env, space| {
        let map = |at, bytes| mm.mmap(space, &MmapRequest::anonymous(bytes, RW).fixed(at)).unwrap();
        map(BASE, 10 * PAGE);
        run_as_user(mm, env, space, || {
            (0..3).for_each(|n| user_store(VirtAddr::new(BASE + n * PAGE), 1).unwrap());
            (5..9).for_each(|n| assert_eq!(user_load(VirtAddr::new(BASE + n * PAGE)), Ok(0)));
        });
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
        let hugetlb = MmapRequest::anonymous(HUGE, RW).with(MapFlags::HUGETLB | MapFlags::POPULATE);
        mm.mmap(space, &hugetlb.fixed(BASE + HUGE)).unwrap();
        let records = smaps(mm, space);
        let small = |name| records[0].get(name);
        assert_eq!((small("Size"), small("Rss"), small("Pss")), (40, 12, 12));
        assert_eq!((small("Private_Dirty"), small("Shared_Dirty")), (12, 0));
        assert_eq!((small("Anonymous"), small("Referenced"), small("Pss_Dirty")), (12, 12, 12));
        let huge = |name| records[1].get(name);
        assert_eq!((huge("Size"), huge("Rss"), huge("Pss")), (2048, 0, 0));
        assert_eq!((huge("Private_Hugetlb"), huge("Shared_Hugetlb")), (2048, 0));
        assert_eq!(huge("KernelPageSize"), 2048);
        mm.munmap(space, BASE + HUGE, HUGE).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// A huge page that is mapped whole is in AnonHugePages, whole and private; mapped in pieces it is not in
/// AnonHugePages, and PSS stays what is mapped of it.
#[test]
fn a_huge_page_whole_and_in_pieces() {
    with_space(&machine(ThpMode::Always), |mm, _, space| {
        populated(mm, space, BASE, HUGE);
        let whole = &smaps(mm, space)[0];
        assert_eq!((whole.get("Rss"), whole.get("Pss"), whole.get("AnonHugePages")), (2048, 2048, 2048));
        assert_eq!(whole.get("Private_Dirty"), 2048);
        mm.mprotect(space, BASE, PAGE, MapProt::READ).unwrap();
        let sum = rollup(mm, space);
        assert_eq!((sum.get("Rss"), sum.get("Pss"), sum.get("AnonHugePages")), (2048, 2048, 0));
        mm.munmap(space, BASE + PAGE, HUGE / 2).unwrap();
        let sum = rollup(mm, space);
        assert_eq!((sum.get("Rss"), sum.get("Pss")), (1024, 1024));
        assert_eq!(sum.get("Private_Dirty") + sum.get("Shared_Dirty"), 1024);
    });
}

/// Random layouts of small and huge pages, mapped, cut and discarded: Rss is what a scan finds, every page that the
/// scheme counts exactly has its share, and the sums hold.
#[test]
fn random_layouts_agree_with_a_scan() {
    for mode in [ThpMode::Never, ThpMode::Always] {
        with_space(&machine(mode), |mm, _, space| {
            let mut random = Random::for_test("random_layouts_agree_with_a_scan", 8);
            for _ in 0..40 {
                let at = BASE + random.below(1500) * PAGE;
                let len = (1 + random.below(600)) * PAGE;
                match random.below(4) {
                    0 | 1 => populated(mm, space, at, len),
                    2 => mm.munmap(space, at, len).unwrap(),
                    _ => drop(mm.mprotect(space, at, len, MapProt::READ)),
                }
                let truth = Truth::of(mm);
                let mapped = pages(space);
                let (start, end) = (VirtAddr::new(BASE), VirtAddr::new(BASE + (1 << 30)));
                let sizes = mm.sizes(space, start, end, Reading::Locked);
                sane(&sizes);
                assert_eq!(sizes, mm.sizes(space, start, end, Reading::LockFree));
                assert_eq!(sizes.rss(), mapped.len() as u64 * PAGE);
                let sum = rollup_or_zero(mm, space);
                assert_eq!(sum, (sizes.rss() >> 10, sizes.pss >> 10));
                let scheme = mapcount::scheme(mm);
                let told = |pfn| {
                    let page = page_of(pfn);
                    scheme.page_entries(page.head(mm.config.tails), page)
                };
                let exact = mapped.iter().all(|&(_, pfn)| matches!(told(pfn), Answer::Exact(_)));
                if exact {
                    let share = |pfn| (PAGE << 12) / truth.entries(pfn);
                    let pss: u64 = mapped.iter().map(|&(_, pfn)| share(pfn)).sum();
                    assert_eq!(sizes.pss, pss >> 12);
                }
            }
        });
    }
}

fn rollup_or_zero(mm: &mm::Mm, space: &mm::space::AddressSpace) -> (u64, u64) {
    if space.vma_count() == 0 {
        return (0, 0);
    }
    let sum = rollup(mm, space);
    (sum.get("Rss"), sum.get("Pss"))
}

/// A glance sees all of a space, and nothing of one that has ended.
#[test]
fn a_glance_sees_all_and_then_nothing() {
    machine(ThpMode::Always).boot(|mm, _| {
        let space = mm.new_space().unwrap();
        populated(mm, &space, BASE, HUGE + 3 * PAGE);
        populated(mm, &space, BASE + (1 << 40), PAGE);
        let sizes = mm.glance(&space);
        sane(&sizes);
        assert_eq!((sizes.rss(), sizes.uss()), (HUGE + 4 * PAGE, HUGE + 4 * PAGE));
        mm.destroy_space(&space);
        assert_eq!(mm.glance(&space), mm::report::Sizes::default());
        let end = VirtAddr::new(BASE + HUGE);
        assert_eq!(mm.sizes(&space, VirtAddr::new(BASE), end, Reading::Locked).rss(), 0);
    });
}

/// Writes to random pages of random spaces that fork off each other: each page is divided among those that map it, so
/// the sum of all proportional sizes is the memory in use, but for what rounding loses; and what is private is what no
/// other space maps. Of single pages in every way of counting, of huge pages where pages are counted one by one.
#[test]
fn the_shares_of_all_are_what_is_used() {
    let small = Mapcount::ALL.iter().map(|&scheme| (scheme, ThpMode::Never));
    for (scheme, mode) in small.chain([(Mapcount::ThpLike, ThpMode::Always)]) {
        machine(mode).config(|config| config.mapcount = scheme).boot(|mm, _| {
            let mut random = Random::for_test("the_shares_of_all_are_what_is_used", 21);
            let mut spaces = vec![mm.new_space().unwrap()];
            populated(mm, &spaces[0], BASE, HUGE);
            for _ in 0..60 {
                let n = random.below(spaces.len() as u64) as usize;
                let at = BASE + random.below(512) * PAGE;
                match random.below(8) {
                    0 if spaces.len() < 6 => spaces.push(mm.fork_space(&spaces[n]).unwrap()),
                    1 if spaces.len() > 1 => mm.destroy_space(&spaces.swap_remove(n)),
                    2 => mm.munmap(&spaces[n], at, PAGE).unwrap(),
                    3 => populated(mm, &spaces[n], at, PAGE),
                    _ => drop(mm.write_user(&spaces[n], VirtAddr::new(at), &[1])),
                }
                shares_are_exact(mm, &spaces);
            }
            spaces.iter().for_each(|space| mm.destroy_space(space));
        });
    }
}

fn shares_are_exact(mm: &mm::Mm, spaces: &[KArc<AddressSpace>]) {
    let truth = Truth::of(mm);
    let (start, end) = (VirtAddr::new(BASE), VirtAddr::new(BASE + HUGE));
    let mut sum = 0;
    for space in spaces {
        let sizes = mm.sizes(space, start, end, Reading::Locked);
        sane(&sizes);
        assert_eq!(sizes, mm.sizes(space, start, end, Reading::LockFree));
        let alone = |pfn: Pfn| truth.frames[&pfn.raw()].1.len() == 1;
        let private = pages(space).into_iter().filter(|&(_, pfn)| alone(pfn)).count() as u64;
        assert_eq!((sizes.private, sizes.uss()), (private * PAGE, private * PAGE), "{}", mm.config);
        sum += sizes.pss;
    }
    let used = truth.frames.len() as u64 * PAGE;
    assert!(sum <= used && used - sum <= 2 * spaces.len() as u64, "{sum} of {used} bytes, {}", mm.config);
}
