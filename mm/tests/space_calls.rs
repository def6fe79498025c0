//! mmap, munmap, mprotect, madvise, brk: what they do to VMAs, and the error number of every way to get them
//! wrong.

use arch::layout::{USER_END, USER_START};
use arch::model::{user_execute, user_load, user_store};
use arch::{UserFault, VirtAddr};
use mm::Mm;
use mm::config::HvoStrategy;
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::pgtable::visit::visit_leaves;
use mm::space::{AddressSpace, Advice, Errno, HugeAdvice, MAX_VMAS, MapFlags, MapProt, MmapRequest, VmaKind};
use mm::stats::Counter;
use mm::testkit::{Builder, check, with_space};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const R: MapProt = MapProt::READ;
const W: MapProt = MapProt::WRITE;
const X: MapProt = MapProt::EXEC;
const NONE: MapProt = MapProt::empty();
/// A multiple of 2 MiB in the middle of nowhere.
const BASE: u64 = 0x10_0000_0000;

fn rw() -> MapProt {
    R | W
}

fn map(mm: &Mm, space: &KArc<AddressSpace>, addr: u64, len: u64) -> VirtAddr {
    mm.mmap(space, &MmapRequest::anonymous(len, rw()).fixed(addr)).unwrap()
}

/// The VMAs as text, one an element, without the base.
fn vmas(space: &AddressSpace) -> Vec<String> {
    let mut all = Vec::new();
    space.for_each_vma(|vma| {
        let page = |va: VirtAddr| (va.raw() - BASE) / PAGE;
        all.push(format!("{}..{} {}", page(vma.start), page(vma.end), vma.prot));
    });
    all
}

/// Entries that map the page of zeros.
fn zeros(mm: &Mm, space: &AddressSpace) -> u64 {
    let mut zeros = 0;
    visit_leaves(space.root(), VirtAddr::new(0), |leaf| {
        zeros += u64::from(mm.zero_page.is_at(leaf.desc.output(leaf.level)));
    });
    zeros
}

/// Every argument that mmap refuses, with the error number of Linux on arm64 for it, in the order of its
/// checks.
#[test]
fn mmap_errors() {
    with_space(&Builder::new(), |mm, _, space| {
        map(mm, space, BASE, PAGE);
        let (private, shared) = (0x22, 0x21);
        let (fixed, noreplace, huge) = (0x10, 0x10_0000, 0x4_0000);
        let high = USER_END.raw();
        for (what, addr, len, prot, flags, offset, errno) in [
            ("no length", 0, 0, 3, private, 0, Errno::Inval),
            ("a length that wraps", 0, u64::MAX, 3, private, 0, Errno::NoMem),
            ("more than the user half", 0, 1 << 48, 3, private, 0, Errno::NoMem),
            ("an offset inside a page", 0, PAGE, 3, private, 1, Errno::Inval),
            ("neither private nor shared", 0, PAGE, 3, 0x20, 0, Errno::Inval),
            ("MAP_SHARED_VALIDATE", 0, PAGE, 3, 0x23, 0, Errno::Inval),
            ("shared hugetlb, an empty pool", 0, PAGE, 3, shared | 0x4_0000, 0, Errno::NoMem),
            ("a file", 0, PAGE, 1, 0x02, 0, Errno::NoDev),
            ("write and execute", 0, PAGE, 7, private, 0, Errno::Acces),
            ("fixed, not aligned", BASE + 1, PAGE, 3, private | fixed, 0, Errno::Inval),
            ("fixed, too low", PAGE, PAGE, 3, private | fixed, 0, Errno::Perm),
            ("fixed, at zero", 0, PAGE, 3, private | fixed, 0, Errno::Perm),
            ("fixed, too high", high, PAGE, 3, private | fixed, 0, Errno::NoMem),
            ("fixed, in the kernel", 0xffff_8000_0000_0000, PAGE, 3, private | fixed, 0, Errno::NoMem),
            ("fixed, over the end", high - PAGE, 2 * PAGE, 3, private | fixed, 0, Errno::NoMem),
            ("noreplace, in the way", BASE - PAGE, 2 * PAGE, 3, private | noreplace, 0, Errno::Exist),
            ("more than all of RAM", 0, 1 << 30, 3, private, 0, Errno::NoMem),
            ("1 GiB huge pages, an empty pool", 0, HUGE, 3, private | huge | 30 << 26, 0, Errno::NoMem),
            ("16 KiB huge pages", 0, HUGE, 3, private | huge | 14 << 26, 0, Errno::Inval),
            ("huge pages, fixed inside one", BASE + PAGE, HUGE, 3, private | huge | fixed, 0, Errno::Inval),
            ("more huge pages than there are", 0, 64 * HUGE, 3, private | huge, 0, Errno::NoMem),
        ] {
            let request = MmapRequest::from_raw(addr, len, prot, flags, offset);
            let error = mm.mmap(space, &request).map_err(|error| error.errno());
            assert_eq!(error, Err(errno), "{what}");
            assert_eq!(vmas(space), ["0..1 rw-"], "{what}: something changed");
        }
    });
}

/// Every argument that munmap, mprotect and madvise refuse.
#[test]
fn other_errors() {
    with_space(&Builder::new(), |mm, _, space| {
        map(mm, space, BASE, 4 * PAGE);
        map(mm, space, BASE + 5 * PAGE, PAGE);
        let high = USER_END.raw();
        for (addr, len, errno) in [
            (BASE + 1, PAGE, Errno::Inval),
            (BASE, 0, Errno::Inval),
            (BASE, u64::MAX, Errno::Inval),
            (high, PAGE, Errno::Inval),
            (0xffff_8000_0000_0000, PAGE, Errno::Inval),
        ] {
            assert_eq!(
                mm.munmap(space, addr, len).map_err(|e| e.errno()),
                Err(errno),
                "munmap {addr:#x} {len:#x}"
            );
        }
        let grows = MapProt::GROWSDOWN;
        for (addr, len, prot, errno) in [
            (BASE + 1, PAGE, R, Errno::Inval),
            (BASE, u64::MAX, R, Errno::NoMem),
            (BASE, PAGE, R | MapProt::from_bits_retain(0x40), Errno::Inval),
            (BASE, PAGE, R | grows | MapProt::GROWSUP, Errno::Inval),
            (BASE, PAGE, R | grows, Errno::Inval),
            (BASE, PAGE, W | X, Errno::Acces),
            (BASE + 4 * PAGE, PAGE, R, Errno::NoMem),
            (BASE - PAGE, 2 * PAGE, R, Errno::NoMem),
            (0xffff_8000_0000_0000, PAGE, R, Errno::NoMem),
        ] {
            let error = mm.mprotect(space, addr, len, prot).map_err(|e| e.errno());
            assert_eq!(error, Err(errno), "mprotect {addr:#x} {len:#x} {prot:?}");
        }
        for (addr, len, errno) in
            [(BASE + 1, PAGE, Errno::Inval), (BASE, u64::MAX, Errno::Inval), (BASE, 6 * PAGE, Errno::NoMem)]
        {
            let error = mm.madvise(space, addr, len, Advice::DontNeed).map_err(|e| e.errno());
            assert_eq!(error, Err(errno), "madvise {addr:#x} {len:#x}");
        }
        assert_eq!(Advice::from_raw(7).map_err(|e| e.errno()), Err(Errno::Inval));
        assert_eq!(vmas(space), ["0..4 rw-", "5..6 rw-"]);
        assert_eq!(mm.mprotect(space, BASE, 0, R), Ok(()));
        assert_eq!(mm.munmap(space, BASE + 8 * PAGE, PAGE), Ok(()));
    });
}

/// VMAs that are equal and touch become one; a call in the middle cuts out its part, and undoing it merges
/// again.
#[test]
fn vmas_split_and_merge() {
    with_space(&Builder::new(), |mm, _, space| {
        map(mm, space, BASE, 2 * PAGE);
        map(mm, space, BASE + 4 * PAGE, 2 * PAGE);
        assert_eq!(vmas(space), ["0..2 rw-", "4..6 rw-"]);
        map(mm, space, BASE + 2 * PAGE, 2 * PAGE);
        assert_eq!(vmas(space), ["0..6 rw-"]);
        mm.mprotect(space, BASE + PAGE, 2 * PAGE, R).unwrap();
        assert_eq!(vmas(space), ["0..1 rw-", "1..3 r--", "3..6 rw-"]);
        mm.mprotect(space, BASE + PAGE, PAGE, rw()).unwrap();
        assert_eq!(vmas(space), ["0..2 rw-", "2..3 r--", "3..6 rw-"]);
        mm.mprotect(space, BASE, 6 * PAGE, rw()).unwrap();
        assert_eq!(vmas(space), ["0..6 rw-"]);
        mm.munmap(space, BASE + 2 * PAGE, PAGE).unwrap();
        assert_eq!(vmas(space), ["0..2 rw-", "3..6 rw-"]);
        let text = MmapRequest::anonymous(3 * PAGE, R | X).fixed(BASE + PAGE);
        mm.mmap(space, &text).unwrap();
        assert_eq!(vmas(space), ["0..1 rw-", "1..4 r-x", "4..6 rw-"]);
        mm.munmap(space, BASE - PAGE, 100 * PAGE).unwrap();
        assert_eq!(space.vma_count(), 0);
    });
}

/// A mapping without a fixed address goes below the last one; one of 2 MiB begins at a multiple of it; a hint
/// is taken where it is free, and passed over where it is not.
#[test]
fn placement() {
    with_space(&Builder::new(), |mm, _, space| {
        let any = |len| mm.mmap(space, &MmapRequest::anonymous(len, rw())).unwrap();
        let first = any(PAGE);
        assert_eq!(any(PAGE).raw(), first.raw() - PAGE);
        let huge = any(HUGE + PAGE);
        assert!(huge.is_aligned(HUGE) && huge.raw() + HUGE + PAGE <= first.raw() - PAGE, "{huge}");
        let hinted = |addr| {
            let request = MmapRequest { addr, ..MmapRequest::anonymous(PAGE, rw()) };
            mm.mmap(space, &request).unwrap().raw()
        };
        assert_eq!(hinted(BASE + 5), BASE + PAGE);
        assert_ne!(hinted(BASE + 5), BASE + PAGE);
        assert_eq!(hinted(1), USER_START.raw());
    });
}

/// An unfixed mapping leaves the guard gap of a stack free, and a stack does not grow beyond its limit.
#[test]
fn a_stack_keeps_its_guard_gap() {
    with_space(&Builder::new(), |mm, _, space| {
        let stack = MmapRequest::anonymous(8 << 20, rw()).with(MapFlags::GROWSDOWN | MapFlags::STACK);
        let top = mm.mmap(space, &stack).unwrap();
        let below = mm.mmap(space, &MmapRequest::anonymous(PAGE, rw())).unwrap();
        assert_eq!(top.raw() - below.raw(), (1 << 20) + PAGE);
        assert_eq!(user_store(top, 1), Ok(()));
        let under = VirtAddr::new(top.raw() - 8);
        assert_eq!(user_store(under, 1), Err(UserFault(under)));
        let at = top.raw() + (4 << 20);
        mm.mprotect(space, at, PAGE, R | MapProt::GROWSDOWN).unwrap();
        let protected = space.vma_at(top).unwrap();
        assert_eq!(protected.end.raw(), at + PAGE, "PROT_GROWSDOWN reaches down to the stack's start");
    });
}

/// An access below a stack makes it grow, by as much as is needed, to 8 MiB at most, and never nearer than 256 pages to
/// a mapping that can be accessed.
#[test]
fn a_stack_grows() {
    let limit = 8 << 20;
    let gap = 256 * PAGE;
    // What lies 1024 pages below the stack's end, and how far the stack may grow.
    for (what, neighbour, most) in [
        ("nothing", None, limit),
        ("a page", Some(rw()), 1023 * PAGE - gap),
        ("a page without rights", Some(NONE), 1023 * PAGE),
    ] {
        with_space(&Builder::new(), |mm, _, space| {
            let end = BASE + 64 * HUGE;
            let stack =
                MmapRequest::anonymous(2 * PAGE, rw()).with(MapFlags::GROWSDOWN).fixed(end - 2 * PAGE);
            mm.mmap(space, &stack).unwrap();
            user_store(VirtAddr::new(end - 8), 1).unwrap();
            if let Some(prot) = neighbour {
                let below = MmapRequest::anonymous(PAGE, prot).fixed(end - 1024 * PAGE);
                mm.mmap(space, &below).unwrap();
            }
            let near = VirtAddr::new(end - 3 * PAGE);
            assert_eq!((user_load(near), user_store(near, 2)), (Ok(0), Ok(())), "{what}");
            let start = || space.vma_at(VirtAddr::new(end - 8)).unwrap().start.raw();
            assert_eq!(start(), end - 3 * PAGE, "{what}");
            for far in [end - most - PAGE, end - limit - PAGE, 8] {
                let far = VirtAddr::new(far);
                let beyond = space.vma_at(far).is_none_or(|vma| vma.prot.is_empty());
                assert!(!beyond || user_store(far, 3) == Err(UserFault(far)), "{what}: {far}");
            }
            assert_eq!(start(), end - 3 * PAGE, "{what}");
            let last = VirtAddr::new(end - most);
            assert_eq!(user_store(last, 3), Ok(()), "{what}");
            let vma = space.vma_at(last).unwrap();
            assert_eq!((start(), vma.pgoff), (end - most, (end - most) / PAGE), "{what}");
            assert_eq!((user_load(near), user_load(VirtAddr::new(end - 8))), (Ok(2), Ok(1)), "{what}");
        });
    }
}

/// mprotect over a hole changes what lies before it, and then fails.
#[test]
fn mprotect_up_to_a_hole() {
    with_space(&Builder::new(), |mm, _, space| {
        map(mm, space, BASE, 2 * PAGE);
        map(mm, space, BASE + 3 * PAGE, 2 * PAGE);
        user_store(VirtAddr::new(BASE), 1).unwrap();
        let error = mm.mprotect(space, BASE + PAGE, 3 * PAGE, R).map_err(|e| e.errno());
        assert_eq!(
            (error, vmas(space)),
            (Err(Errno::NoMem), vec!["0..1 rw-".into(), "1..2 r--".into(), "3..5 rw-".into()])
        );
        let error = mm.mprotect(space, BASE - PAGE, 9 * PAGE, R).map_err(|e| e.errno());
        assert_eq!((error, space.vma_count()), (Err(Errno::NoMem), 3), "the hole comes first");
    });
}

/// MADV_POPULATE: the pages are there and no access faults any more; the errors of Linux.
#[test]
fn populating() {
    with_space(&Builder::new().config(|config| config.hvo = HvoStrategy::Off), |mm, _, space| {
        let errno = |addr, len, advice| mm.madvise(space, addr, len, advice).map_err(|e| e.errno());
        let (read, write) = (Advice::PopulateRead, Advice::PopulateWrite);
        map(mm, space, BASE, 4 * HUGE);
        assert_eq!(errno(BASE, 3 * PAGE, read), Ok(()));
        assert_eq!((zeros(mm, space), mm.usage(space).anon), (3, 0));
        assert_eq!(errno(BASE, 2 * HUGE, write), Ok(()));
        assert_eq!((zeros(mm, space), mm.usage(space).anon), (0, 1024));
        let faults = mm.stats.get(Counter::PgFault);
        (0..1024).for_each(|n| user_store(VirtAddr::new(BASE + n * PAGE), n).unwrap());
        assert_eq!(errno(BASE, 2 * HUGE, write), Ok(()));
        assert_eq!(mm.stats.get(Counter::PgFault), faults);
        mm.mprotect(space, BASE + 3 * HUGE, HUGE, R).unwrap();
        assert_eq!(errno(BASE + 3 * HUGE, PAGE, read), Ok(()));
        assert_eq!(errno(BASE + 3 * HUGE, PAGE, write), Err(Errno::Inval), "not writable");
        for (prot, of_read, of_write) in [
            (W, Err(Errno::Inval), Ok(())),
            (X, Err(Errno::Inval), Err(Errno::Inval)),
            (R | X, Ok(()), Err(Errno::Inval)),
        ] {
            mm.mprotect(space, BASE + 3 * HUGE, HUGE, prot).unwrap();
            assert_eq!(
                errno(BASE + 3 * HUGE, PAGE, read),
                of_read,
                "{prot:?}: the right itself is asked for"
            );
            assert_eq!(errno(BASE + 3 * HUGE, PAGE, write), of_write, "{prot:?}");
        }
        assert_eq!(
            errno(BASE + 2 * HUGE - PAGE, 2 * HUGE, write),
            Err(Errno::Inval),
            "up to a VMA that is not"
        );
        assert_eq!(mm.usage(space).anon, 1536 + 1, "what lies below is there");
        mm.mprotect(space, BASE + 3 * HUGE, HUGE, NONE).unwrap();
        assert_eq!(errno(BASE + 3 * HUGE, PAGE, read), Err(Errno::Inval), "not readable");
        assert_eq!(errno(BASE + 4 * HUGE, PAGE, read), Err(Errno::NoMem), "a hole");
        assert_eq!(errno(BASE + 1, PAGE, read), Err(Errno::Inval));
        assert_eq!(errno(BASE, u64::MAX, write), Err(Errno::Inval));
        assert_eq!(errno(0xffff_8000_0000_0000, PAGE, write), Err(Errno::NoMem));
        let huge = MmapRequest::anonymous(HUGE, rw()).with(MapFlags::HUGETLB | MapFlags::NORESERVE);
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
        let va = mm.mmap(space, &huge).unwrap();
        assert_eq!(errno(va.raw(), HUGE, write), Err(Errno::Fault), "SIGBUS");
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
        assert_eq!(errno(va.raw(), HUGE, write), Ok(()));
        mm.munmap(space, va.raw(), HUGE).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// MADV_DONTNEED and MADV_FREE: the next access finds zeros; a part of a huge page of the pool stays, and its promise
/// stays with what goes.
#[test]
fn discarding() {
    with_space(&Builder::new().config(|config| config.hvo = HvoStrategy::Off), |mm, _, space| {
        map(mm, space, BASE, HUGE);
        for advice in [Advice::DontNeed, Advice::Free] {
            user_store(VirtAddr::new(BASE), 1).unwrap();
            user_store(VirtAddr::new(BASE + PAGE), 2).unwrap();
            mm.madvise(space, BASE, PAGE, advice).unwrap();
            assert_eq!(
                (user_load(VirtAddr::new(BASE)), user_load(VirtAddr::new(BASE + PAGE))),
                (Ok(0), Ok(2))
            );
        }
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 3).persistent, 3);
        let huge = MmapRequest::anonymous(2 * HUGE, rw()).with(MapFlags::HUGETLB).fixed(BASE + 8 * HUGE);
        let va = mm.mmap(space, &huge).unwrap();
        let pages = [0, 1].map(|n| va.add(n * HUGE));
        pages.iter().for_each(|&va| user_store(va, 3).unwrap());
        let errno = |addr, len, advice| mm.madvise(space, addr, len, advice).map_err(|e| e.errno());
        assert_eq!(errno(va.raw() + PAGE, HUGE, Advice::DontNeed), Err(Errno::Inval));
        assert_eq!(errno(va.raw(), HUGE, Advice::Free), Err(Errno::Inval));
        assert_eq!(errno(va.raw(), HUGE + PAGE, Advice::DontNeed), Ok(()));
        assert_eq!(mm.usage(space).hugetlb, 512);
        check(mm);
        let third = MmapRequest::anonymous(HUGE, rw()).with(MapFlags::HUGETLB).fixed(BASE + 16 * HUGE);
        mm.mmap(space, &third).unwrap();
        assert_eq!(mm.mmap(space, &third.fixed(BASE + 20 * HUGE)).map_err(|e| e.errno()), Err(Errno::NoMem));
        assert_eq!(pages.map(user_load), [Ok(0), Ok(3)]);
        mm.munmap(space, BASE, 64 * HUGE).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// The rights of a VMA are those that an access has: reads of anything but PROT_NONE, writes, fetches.
#[test]
fn rights_are_enforced() {
    with_space(&Builder::new(), |mm, _, space| {
        for (prot, read, write, fetch) in [
            (NONE, false, false, false),
            (R, true, false, false),
            (W, true, true, false),
            (R | W, true, true, false),
            (X, true, false, true),
            (R | X, true, false, true),
        ] {
            let fresh = mm.mmap(space, &MmapRequest::anonymous(PAGE, prot)).unwrap();
            let changed = mm.mmap(space, &MmapRequest::anonymous(PAGE, rw())).unwrap();
            user_store(changed, 5).unwrap();
            mm.mprotect(space, changed.raw(), PAGE, prot).unwrap();
            for va in [fresh, changed] {
                assert_eq!(user_load(va).is_ok(), read, "{prot:?} read");
                assert_eq!(user_store(va, 6).is_ok(), write, "{prot:?} write");
                assert_eq!(user_execute(va).is_ok(), fetch, "{prot:?} fetch");
            }
        }
    });
}

/// The heap grows, keeps what it held when it grows again, is zero where it comes back, and stops at a
/// mapping.
#[test]
fn brk_moves_the_end_of_the_heap() {
    with_space(&Builder::new(), |mm, _, space| {
        assert_eq!(mm.brk(space, BASE), VirtAddr::new(0), "a space without a heap");
        mm.set_brk_start(space, VirtAddr::new(BASE + 0x123));
        assert_eq!(mm.brk(space, 0).raw(), BASE + 0x123);
        assert_eq!(mm.brk(space, BASE + 3 * PAGE).raw(), BASE + 3 * PAGE);
        assert_eq!(vmas(space), ["1..3 rw-"]);
        let word = VirtAddr::new(BASE + 2 * PAGE);
        user_store(word, 9).unwrap();
        assert_eq!(mm.brk(space, BASE + 4 * PAGE + 1).raw(), BASE + 4 * PAGE + 1);
        assert_eq!((user_load(word), vmas(space)), (Ok(9), vec!["1..5 rw-".to_string()]));
        assert_eq!(mm.brk(space, BASE + 2 * PAGE).raw(), BASE + 2 * PAGE);
        assert_eq!(user_load(word), Err(UserFault(word)));
        mm.brk(space, BASE + 3 * PAGE);
        assert_eq!(user_load(word), Ok(0));
        map(mm, space, BASE + 6 * PAGE, PAGE);
        assert_eq!(mm.brk(space, BASE + 7 * PAGE).raw(), BASE + 3 * PAGE, "a mapping is in the way");
        assert_eq!(mm.brk(space, BASE + (1 << 40)).raw(), BASE + 3 * PAGE, "more than there is");
        assert_eq!(mm.brk(space, BASE).raw(), BASE + 3 * PAGE, "below the start");
    });
}

/// MAP_NORESERVE may be larger than RAM, and so may what cannot be written, until mprotect asks for it.
#[test]
fn overcommit() {
    with_space(&Builder::new(), |mm, _, space| {
        let large = 1 << 40;
        let noreserve = MmapRequest::anonymous(large, rw()).with(MapFlags::NORESERVE);
        let va = mm.mmap(space, &noreserve).unwrap();
        user_store(va.add(large / 2), 1).unwrap();
        mm.mprotect(space, va.raw(), large, R).unwrap();
        mm.mprotect(space, va.raw(), large, rw()).unwrap();
        let readable = mm.mmap(space, &MmapRequest::anonymous(large, R)).unwrap();
        assert_eq!(user_load(readable), Ok(0));
        let error = mm.mprotect(space, readable.raw(), large, rw()).map_err(|e| e.errno());
        assert_eq!(error, Err(Errno::NoMem));
        mm.munmap(space, va.raw(), large).unwrap();
    });
}

/// An address space has at most 65530 VMAs; a call that needs one more is refused and changes nothing.
#[test]
fn vma_limit() {
    with_space(&Builder::new(), |mm, _, space| {
        let one = |n: u64| MmapRequest::anonymous(PAGE, R).fixed(BASE + n * 4 * PAGE);
        map(mm, space, BASE - 16 * PAGE, 3 * PAGE);
        (1..MAX_VMAS as u64).for_each(|n| {
            mm.mmap(space, &one(n)).unwrap();
        });
        assert_eq!(space.vma_count(), MAX_VMAS);
        assert_eq!(mm.mmap(space, &one(0)).map_err(|e| e.errno()), Err(Errno::NoMem));
        let middle = BASE - 15 * PAGE;
        assert_eq!(mm.munmap(space, middle, PAGE).map_err(|e| e.errno()), Err(Errno::NoMem));
        assert_eq!(mm.mprotect(space, middle, PAGE, R).map_err(|e| e.errno()), Err(Errno::NoMem));
        let advised = mm.madvise(space, middle, PAGE, Advice::HugePage).map_err(|e| e.errno());
        assert_eq!(advised, Err(Errno::Again));
        assert_eq!(space.vma_count(), MAX_VMAS);
        assert_eq!(mm.munmap(space, BASE - 16 * PAGE, 3 * PAGE), Ok(()));
    });
}

/// Advice is noted in the part of the VMA that it was given for.
#[test]
fn huge_page_advice() {
    with_space(&Builder::new(), |mm, _, space| {
        map(mm, space, BASE, 4 * HUGE);
        mm.madvise(space, BASE + HUGE, HUGE, Advice::HugePage).unwrap();
        mm.madvise(space, BASE + 2 * HUGE, HUGE, Advice::NoHugePage).unwrap();
        let advice = |n| space.vma_at(VirtAddr::new(BASE + n * HUGE)).unwrap().advice;
        assert_eq!(
            [0, 1, 2, 3].map(advice),
            [HugeAdvice::None, HugeAdvice::Huge, HugeAdvice::NoHuge, HugeAdvice::None]
        );
    });
}

/// hugetlb mappings take their promises from the pool when they are made and give them back, used or not;
/// they are cut only between their pages.
#[test]
fn hugetlb_mappings() {
    with_space(&Builder::new().config(|config| config.hvo = HvoStrategy::Off), |mm, _, space| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 4).persistent, 4);
        let huge = MmapRequest::anonymous(3 * HUGE - 1, rw()).with(MapFlags::HUGETLB);
        let va = mm.mmap(space, &huge).unwrap();
        assert!(va.is_aligned(HUGE));
        let vma = space.vma_at(va).unwrap();
        assert_eq!((vma.kind, vma.bytes()), (VmaKind::Hugetlb(HugeSize::M2), 3 * HUGE));
        assert_eq!(mm.mmap(space, &huge).map_err(|e| e.errno()), Err(Errno::NoMem), "one is not promised");
        user_store(va.add(HUGE + 8), 3).unwrap();
        assert_eq!(user_load(va.add(HUGE + 8)), Ok(3));
        assert_eq!(mm.usage(space).hugetlb, 512);
        for cut in [
            mm.munmap(space, va.raw() + PAGE, HUGE),
            mm.munmap(space, va.raw(), PAGE),
            mm.mprotect(space, va.raw(), PAGE, R),
            mm.madvise(space, va.raw() + PAGE, HUGE, Advice::DontNeed),
        ] {
            assert_eq!(cut.map_err(|e| e.errno()), Err(Errno::Inval));
        }
        mm.mprotect(space, va.raw() + HUGE, HUGE, R).unwrap();
        assert_eq!(user_load(va.add(HUGE + 8)), Ok(3));
        assert!(user_store(va.add(HUGE + 8), 4).is_err());
        mm.munmap(space, va.raw() + HUGE, HUGE).unwrap();
        mm.munmap(space, va.raw(), 3 * HUGE).unwrap();
        assert!(mm.mmap(space, &MmapRequest { len: 4 * HUGE, ..huge }).is_ok(), "all four are free again");
        assert!(mm.munmap(space, 0, USER_END.raw()).is_ok());
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}
