//! pagemap, kpagecount and kpageflags, word by word.

use arch::model::user_load;
use arch::{Order, Pfn, VirtAddr};
use mm::config::{TailEncoding, ThpMode};
use mm::hugetlb::HugeSize;
use mm::page::PageKind;
use mm::report::frames::kpf;
use mm::report::pagemap::{EXCLUSIVE, FILE, PFN, PRESENT, WORDS};
use mm::space::{MapFlags, MmapRequest};
use mm::testkit::{Builder, run_as_user, with_space};

use crate::kit::{BASE, HUGE, PAGE, RW, Truth, machine, pages, populated, rollup, smaps};

fn pagemap(mm: &mm::Mm, space: &mm::space::AddressSpace, first: u64, n: usize) -> Vec<u64> {
    let mut words = vec![u64::MAX; n];
    let got = mm.read_pagemap(space, first, &mut words);
    words.truncate(got);
    words
}

/// Every page of a block, of pages and of holes has its word, wherever a read begins and however long it is.
#[test]
fn pagemap_has_a_word_for_each_page() {
    with_space(&machine(ThpMode::Always), |mm, env, space| {
        populated(mm, space, BASE + HUGE, HUGE);
        populated(mm, space, BASE + 2 * HUGE, 3 * PAGE);
        mm.mmap(space, &MmapRequest::anonymous(PAGE, RW).fixed(BASE)).unwrap();
        run_as_user(mm, env, space, || assert_eq!(user_load(VirtAddr::new(BASE)), Ok(0)));
        let first = BASE / PAGE;
        let mut expected = vec![0; 1600];
        for (va, pfn) in pages(space) {
            expected[(va.raw() / PAGE - first) as usize] = PRESENT | EXCLUSIVE | pfn.raw();
        }
        expected[0] = PRESENT | mm.zero_page.pfn().raw();
        assert_eq!(pagemap(mm, space, first, 1600), expected);
        for (from, n) in [(0, 1), (1, 511), (511, 1), (511, 2), (700, 400), (1023, 3), (1025, 575), (3, 1200)]
        {
            assert_eq!(
                pagemap(mm, space, first + from as u64, n),
                expected[from..from + n],
                "{n} from {from}"
            );
        }
        assert!(expected.iter().all(|word| word & FILE == 0));
        assert_eq!(expected[600] & PFN, (expected[512] & PFN) + 88);
    });
}

/// A page of shared memory is a file's for pagemap, shared as soon as two spaces map it, and not anonymous.
#[test]
fn shared_memory_is_told_apart() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        let request =
            MmapRequest { flags: MapFlags::SHARED | MapFlags::ANONYMOUS, ..MmapRequest::anonymous(PAGE, RW) };
        let va = mm.mmap(space, &request).unwrap();
        mm.write_user(space, va, &[1]).unwrap();
        let word = |space| pagemap(mm, space, va.raw() / PAGE, 1)[0];
        let pfn = pages(space)[0].1;
        assert_eq!(word(space), PRESENT | FILE | EXCLUSIVE | pfn.raw());
        assert_eq!((count(mm, pfn), flags(mm, pfn)), (1, kpf::MMAP | kpf::SWAPBACKED));
        let child = mm.fork_space(space).unwrap();
        mm.write_user(&child, va, &[2]).unwrap();
        assert_eq!((word(space), word(&child)), (PRESENT | FILE | pfn.raw(), PRESENT | FILE | pfn.raw()));
        assert_eq!(count(mm, pfn), 2);
        for space in [space, &child] {
            let record = &smaps(mm, space)[0];
            let rows =
                ["Rss", "Pss", "Shared_Dirty", "Private_Dirty", "Anonymous"].map(|name| record.get(name));
            assert_eq!(rows, [4, 2, 4, 0, 0]);
            assert!(
                record.line.contains(" rw-s 00000000 00:01 ") && record.line.ends_with("/dev/zero (deleted)")
            );
            assert_eq!(record.flags.as_deref(), Some("rd wr sh mr mw me ms "));
            assert_eq!(rollup(mm, space).get("Pss_Shmem"), 2);
        }
        mm.destroy_space(&child);
    });
}

/// The file ends where the user half ends.
#[test]
fn pagemap_ends() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        assert_eq!(pagemap(mm, space, WORDS - 2, 5), [0, 0]);
        assert_eq!(pagemap(mm, space, WORDS, 5), []);
        assert_eq!(pagemap(mm, space, u64::MAX, 1), []);
        assert_eq!(pagemap(mm, space, 0, 0), []);
    });
}

fn count(mm: &mm::Mm, pfn: Pfn) -> u64 {
    let mut word = [u64::MAX];
    assert_eq!(mm.read_kpagecount(pfn.raw(), &mut word), 1);
    word[0]
}

fn flags(mm: &mm::Mm, pfn: Pfn) -> u64 {
    let mut word = [u64::MAX];
    assert_eq!(mm.read_kpageflags(pfn.raw(), &mut word), 1);
    word[0]
}

/// Every frame of RAM: counts are those of a scan, and flags agree with what the frame is.
#[test]
fn frames_are_told() {
    for &tails in TailEncoding::ALL {
        let machine = machine(ThpMode::Always).config(|config| config.tails = tails);
        with_space(&machine, |mm, _, space| {
            populated(mm, space, BASE, HUGE);
            populated(mm, space, BASE + 2 * HUGE, 9 * PAGE);
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
            let truth = Truth::of(mm);
            let block = pages(space)[0].1;
            let free = mm.alloc_pages(Order::new(3), PageKind::Kernel).unwrap();
            let inner = free.pfn().add(5);
            assert_eq!(
                (flags(mm, free.pfn()), flags(mm, inner)),
                (0, 0),
                "{tails}: inside of a block in use"
            );
            let pair = free.pfn();
            mm.free_pages(free, Order::new(3));
            assert_eq!((flags(mm, pair), flags(mm, inner)), (kpf::BUDDY, kpf::BUDDY), "{tails}");
            let mut free_pages = 0;
            for pfn in (0..mm.end_of_ram()).map(Pfn::new) {
                let flags = flags(mm, pfn);
                if !mm.pfn_valid(pfn) {
                    assert_eq!((flags, count(mm, pfn)), (kpf::NOPAGE, 0));
                    continue;
                }
                assert_eq!(count(mm, pfn), truth.entries(pfn), "{tails}: {pfn}");
                assert_eq!(flags & kpf::MMAP != 0, truth.entries(pfn) != 0, "{tails}: {pfn}");
                free_pages += u64::from(flags & kpf::BUDDY != 0);
            }
            assert!(free_pages <= mm.free_page_count() && free_pages + 256 > mm.free_page_count());
            let anon = kpf::MMAP | kpf::ANON | kpf::SWAPBACKED;
            let thp = anon | kpf::THP;
            assert_eq!(flags(mm, block), thp | kpf::COMPOUND_HEAD);
            assert_eq!(flags(mm, block.add(1)), thp | kpf::COMPOUND_TAIL);
            assert_eq!(flags(mm, block.add(511)), thp | kpf::COMPOUND_TAIL);
            assert_eq!(flags(mm, block.add(64)), thp | kpf::COMPOUND_TAIL);
            let small = pages(space)[512].1;
            assert_eq!(flags(mm, small), anon);
            assert_eq!(flags(mm, space.root().pfn()), kpf::PGTABLE);
            assert_eq!(flags(mm, mm.zero_page.pfn()), kpf::ZERO_PAGE | kpf::RESERVED);
            let hugetlb: Vec<_> = (0..mm.end_of_ram())
                .map(|pfn| flags(mm, Pfn::new(pfn)))
                .filter(|flags| flags & kpf::HUGE != 0)
                .collect();
            assert_eq!(hugetlb.len(), 512, "{tails}");
            assert_eq!(hugetlb[0], kpf::HUGE | kpf::COMPOUND_HEAD);
            assert!(hugetlb[1..].iter().all(|&flags| flags == kpf::HUGE | kpf::COMPOUND_TAIL));
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
        });
    }
}

/// Both files end with RAM, and a hole between banks has words of its own.
#[test]
fn frames_end_with_ram() {
    let machine = Builder::new().ram_mib(64).bank(0x4000_0000, 0x4180_0000).bank(0x4200_0000, 0x4400_0000);
    machine.boot(|mm, _| {
        let end = mm.end_of_ram();
        assert_eq!(end, 0x4400_0000 >> 12);
        let mut words = [u64::MAX; 4];
        assert_eq!(mm.read_kpageflags(end - 1, &mut words), 1);
        assert_eq!(mm.read_kpageflags(end, &mut words), 0);
        assert_eq!(mm.read_kpagecount(u64::MAX, &mut words), 0);
        assert_eq!(mm.read_kpageflags((0x4180_0000 >> 12) - 1, &mut words[..2]), 2);
        assert_eq!(words[1], kpf::NOPAGE);
        assert_eq!(mm.read_kpageflags(0, &mut words), 4);
        assert_eq!(words, [kpf::NOPAGE; 4]);
    });
}
