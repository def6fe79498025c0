//! mremap: the error number of every way to get it wrong, what it does to VMAs, and that every byte is where the user
//! expects it, whatever was moved where.

use std::collections::BTreeMap;

use arch::layout::USER_END;
use arch::model::{user_load, user_store};
use arch::{UserFault, VirtAddr};
use mm::Mm;
use mm::config::{HvoStrategy, MmConfig, PromotionThreshold, ThpMode};
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::space::{
    AddressSpace, Advice, Errno, MAX_VMAS, MapFlags, MapProt, MmapError, MmapRequest, MremapRequest, VmaKind,
};
use mm::stats::Counter;
use mm::testkit::{Builder, Random, check, exhaust, with_space};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const BASE: u64 = 0x10_0000_0000;
const FAR: u64 = 0x20_0000_0000;
const MAYMOVE: u32 = 1;
const FIXED: u32 = 3;
const DONTUNMAP: u32 = 5;

fn rw() -> MapProt {
    MapProt::READ | MapProt::WRITE
}

fn map(mm: &Mm, space: &KArc<AddressSpace>, addr: u64, len: u64) {
    mm.mmap(space, &MmapRequest::anonymous(len, rw()).fixed(addr)).unwrap();
}

fn remap(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    addr: u64,
    lens: (u64, u64),
    flags: u32,
    to: u64,
) -> Result<u64, MmapError> {
    mm.mremap(space, &MremapRequest::from_raw(addr, lens.0, lens.1, flags, to)).map(VirtAddr::raw)
}

/// The VMAs as text: pages from [`BASE`], or from [`FAR`] with an F.
fn vmas(space: &AddressSpace) -> Vec<String> {
    let mut all = Vec::new();
    space.for_each_vma(|vma| {
        let (name, base) = if vma.start.raw() >= FAR { ("F", FAR) } else { ("", BASE) };
        let page = |va: VirtAddr| (va.raw() - base) / PAGE;
        all.push(format!("{name}{}..{} {}", page(vma.start), page(vma.end), vma.prot));
    });
    all
}

fn config(thp: ThpMode) -> MmConfig {
    MmConfig { thp, promotion_threshold: PromotionThreshold::new(64).unwrap(), ..MmConfig::default() }
}

fn machine(thp: ThpMode) -> Builder {
    Builder::new().config(|boot| *boot = config(thp))
}

/// Every argument that mremap refuses, with Linux's number for it; nothing changes, whatever stands at the new place.
#[test]
fn errors() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        map(mm, space, BASE, 4 * PAGE);
        map(mm, space, BASE + 5 * PAGE, PAGE);
        map(mm, space, FAR, 8 * PAGE);
        user_store(VirtAddr::new(FAR), 77).unwrap();
        let (high, kernel) = (USER_END.raw(), 0xffff_8000_0000_0000);
        let all = (4 * PAGE, 4 * PAGE);
        for (what, addr, lens, flags, to, errno) in [
            ("an unknown flag", BASE, all, 8, 0, Errno::Inval),
            ("FIXED without MAYMOVE", BASE, all, 2, FAR, Errno::Inval),
            ("DONTUNMAP without MAYMOVE", BASE, all, 4, 0, Errno::Inval),
            ("DONTUNMAP and another length", BASE, (4 * PAGE, 8 * PAGE), DONTUNMAP, 0, Errno::Inval),
            ("an address inside a page", BASE + 1, all, MAYMOVE, 0, Errno::Inval),
            ("no new length", BASE, (PAGE, 0), MAYMOVE, 0, Errno::Inval),
            ("a new length that wraps", BASE, (PAGE, u64::MAX), MAYMOVE, 0, Errno::Inval),
            ("nothing mapped", BASE + 4 * PAGE, (PAGE, PAGE), MAYMOVE, 0, Errno::Fault),
            ("nothing mapped, and smaller", BASE + 4 * PAGE, (2 * PAGE, PAGE), 0, 0, Errno::Fault),
            ("an address of the kernel", kernel, all, MAYMOVE, 0, Errno::Fault),
            ("private memory twice", BASE, (0, PAGE), MAYMOVE, 0, Errno::Inval),
            ("an old length that wraps", BASE, (u64::MAX, PAGE), MAYMOVE, 0, Errno::Inval),
            ("grows, beyond the mapping", BASE, (5 * PAGE, 6 * PAGE), MAYMOVE, 0, Errno::Fault),
            ("grows, and may not move", BASE, (4 * PAGE, 6 * PAGE), 0, 0, Errno::NoMem),
            ("grows in its middle, and may not move", BASE, (PAGE, 2 * PAGE), 0, 0, Errno::NoMem),
            ("more than RAM", BASE, (4 * PAGE, 1 << 30), MAYMOVE, 0, Errno::NoMem),
            ("more than the user half", BASE, (4 * PAGE, 1 << 50), MAYMOVE, 0, Errno::NoMem),
            ("shrinks, from beyond the user half", BASE, (1 << 48, PAGE), 0, 0, Errno::Inval),
            ("fixed, unaligned", BASE, all, FIXED, FAR + 1, Errno::Inval),
            ("fixed, in the kernel", BASE, all, FIXED, kernel, Errno::Inval),
            ("fixed, over the end", BASE, all, FIXED, high - 3 * PAGE, Errno::Inval),
            ("fixed, too large", BASE, (PAGE, 1 << 50), FIXED, FAR, Errno::Inval),
            ("fixed, onto itself", BASE, all, FIXED, BASE, Errno::Inval),
            ("fixed, up by a page", BASE, all, FIXED, BASE + PAGE, Errno::Inval),
            ("fixed, down by a page", BASE, all, FIXED, BASE - PAGE, Errno::Inval),
            (
                "fixed, the old end in the new place",
                BASE,
                (4 * PAGE, PAGE),
                FIXED,
                BASE + 3 * PAGE,
                Errno::Inval,
            ),
            ("fixed, the new end in the old place", BASE, (PAGE, 4 * PAGE), FIXED, BASE - PAGE, Errno::Inval),
            ("fixed, too low", BASE, all, FIXED, PAGE, Errno::Perm),
            ("fixed, beyond the mapping", BASE, (5 * PAGE, 5 * PAGE), FIXED, FAR, Errno::Fault),
            ("fixed, of a hole", BASE + 4 * PAGE, (PAGE, PAGE), FIXED, FAR, Errno::Fault),
            ("fixed, private memory twice", BASE, (0, PAGE), FIXED, FAR, Errno::Inval),
            ("kept, beyond the mapping", BASE, (5 * PAGE, 5 * PAGE), DONTUNMAP, 0, Errno::Fault),
            ("kept, an unaligned hint", BASE, all, DONTUNMAP, 1, Errno::Inval),
        ] {
            let error = remap(mm, space, addr, lens, flags, to).map_err(MmapError::errno);
            assert_eq!(error, Err(errno), "{what}");
            assert_eq!(vmas(space), ["0..4 rw-", "5..6 rw-", "F0..8 rw-"], "{what}: something changed");
            assert_eq!(user_load(VirtAddr::new(FAR)), Ok(77), "{what}: the new place");
        }
        check(mm);
    });
}

/// hugetlb mappings move and shrink by whole pages, with their promises, and do not grow.
#[test]
fn hugetlb_moves_by_its_pages() {
    with_space(&Builder::new().config(|config| config.hvo = HvoStrategy::Off), |mm, _, space| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 4).persistent, 4);
        let huge = MmapRequest::anonymous(4 * HUGE, rw()).with(MapFlags::HUGETLB);
        mm.mmap(space, &huge.fixed(BASE)).unwrap();
        user_store(VirtAddr::new(BASE + HUGE), 5).unwrap();
        for (what, addr, lens, flags, to) in [
            ("inside a page", BASE + PAGE, (HUGE, HUGE), FIXED, FAR),
            ("to inside a page", BASE, (HUGE, HUGE), FIXED, FAR + PAGE),
            ("grows", BASE + 3 * HUGE, (HUGE, HUGE + 1), MAYMOVE, 0),
        ] {
            let error = remap(mm, space, addr, lens, flags, to).map_err(MmapError::errno);
            assert_eq!(error, Err(Errno::Inval), "{what}");
        }
        assert_eq!(remap(mm, space, BASE, (2 * HUGE, HUGE + PAGE), FIXED, FAR), Ok(FAR));
        assert_eq!((user_load(VirtAddr::new(FAR + HUGE)), mm.usage(space).hugetlb), (Ok(5), 512));
        user_store(VirtAddr::new(FAR), 6).unwrap();
        assert_eq!(remap(mm, space, FAR, (2 * HUGE, HUGE), 0, 0), Ok(FAR));
        user_store(VirtAddr::new(BASE + 2 * HUGE), 7).unwrap();
        assert_eq!(
            remap(mm, space, BASE + 2 * HUGE, (2 * HUGE, 2 * HUGE), DONTUNMAP, FAR + 8 * HUGE),
            Ok(FAR + 8 * HUGE)
        );
        assert_eq!(user_load(VirtAddr::new(FAR + 8 * HUGE)), Ok(7));
        check(mm);
        assert_eq!(space.vma_at(VirtAddr::new(FAR)).unwrap().kind, VmaKind::Hugetlb(HugeSize::M2));
        mm.munmap(space, BASE, FAR).unwrap();
        check(mm);
        mm.munmap(space, FAR, 16 * HUGE).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// Shrinking unmaps the end, also where that is other mappings or none; growing takes the addresses behind, and merges.
#[test]
fn in_place() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        map(mm, space, BASE, 6 * PAGE);
        (0..6).for_each(|n| user_store(VirtAddr::new(BASE + n * PAGE), n).unwrap());
        assert_eq!(remap(mm, space, BASE, (6 * PAGE, 4 * PAGE - 5), 0, 0), Ok(BASE));
        assert_eq!(vmas(space), ["0..4 rw-"]);
        let gone = VirtAddr::new(BASE + 4 * PAGE);
        assert_eq!(user_load(gone), Err(UserFault(gone)));
        assert_eq!(remap(mm, space, BASE, (4 * PAGE, 6 * PAGE), 0, 0), Ok(BASE));
        assert_eq!((vmas(space), user_load(gone)), (vec!["0..6 rw-".to_string()], Ok(0)));
        assert_eq!(remap(mm, space, BASE + 2 * PAGE, (PAGE, PAGE), 0, 0), Ok(BASE + 2 * PAGE));
        map(mm, space, BASE + 8 * PAGE, PAGE);
        assert_eq!(remap(mm, space, BASE + PAGE, (5 * PAGE, 7 * PAGE), MAYMOVE, 0), Ok(BASE + PAGE));
        assert_eq!(vmas(space), ["0..9 rw-"], "the hole is closed");
        mm.munmap(space, BASE + 6 * PAGE, PAGE).unwrap();
        assert_eq!(remap(mm, space, BASE + PAGE, (20 * PAGE, PAGE), 0, 0), Ok(BASE + PAGE));
        assert_eq!(vmas(space), ["0..2 rw-"]);
        assert_eq!(user_load(VirtAddr::new(BASE + PAGE)), Ok(1));
    });
}

/// What moves keeps its linear index if it was ever touched, and merges with its neighbours at the new place if not.
#[test]
fn linear_indexes() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        map(mm, space, FAR, PAGE);
        map(mm, space, BASE, 4 * PAGE);
        assert_eq!(remap(mm, space, BASE + 3 * PAGE, (PAGE, PAGE), FIXED, FAR + PAGE), Ok(FAR + PAGE));
        assert_eq!(vmas(space), ["0..3 rw-", "F0..2 rw-"]);
        user_store(VirtAddr::new(BASE + 2 * PAGE), 1).unwrap();
        assert_eq!(
            remap(mm, space, BASE + 2 * PAGE, (PAGE, PAGE), FIXED, FAR + 2 * PAGE),
            Ok(FAR + 2 * PAGE)
        );
        assert_eq!(vmas(space), ["0..2 rw-", "F0..2 rw-", "F2..3 rw-"]);
        let moved = space.vma_at(VirtAddr::new(FAR + 2 * PAGE)).unwrap();
        assert_eq!(moved.pgoff, BASE / PAGE + 2);
        check(mm);
        let back = BASE + 2 * PAGE;
        assert_eq!(remap(mm, space, FAR + 2 * PAGE, (PAGE, PAGE), FIXED, back), Ok(back));
        assert_eq!(
            (vmas(space), user_load(VirtAddr::new(back))),
            (vec!["0..3 rw-".into(), "F0..2 rw-".into()], Ok(1))
        );
    });
}

/// MREMAP_DONTUNMAP: the pages are at the new place, the old mapping is there and reads as zeros.
#[test]
fn dontunmap() {
    for thp in [ThpMode::Never, ThpMode::Always, ThpMode::Reserve] {
        with_space(&machine(thp), |mm, _, space| {
            map(mm, space, BASE, 3 * HUGE);
            (0..3 * 512).for_each(|n| user_store(VirtAddr::new(BASE + n * PAGE), n + 1).unwrap());
            let (from, len) = (BASE + 7 * PAGE, 2 * HUGE);
            let to = remap(mm, space, from, (len, len), DONTUNMAP, 0).unwrap();
            check(mm);
            for n in 0..3 * 512 {
                let old = VirtAddr::new(BASE + n * PAGE);
                let moved = old.raw() >= from && old.raw() < from + len;
                if moved {
                    assert_eq!(user_load(VirtAddr::new(to + old.raw() - from)), Ok(n + 1));
                }
                assert_eq!(user_load(old), Ok(if moved { 0 } else { n + 1 }), "page {n}");
            }
        });
    }
}

/// Shared memory moves, grows, stays with MREMAP_DONTUNMAP, and is mapped twice with no old length: always the same
/// pages.
#[test]
fn shared_memory() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        let shared = MmapRequest::from_raw(BASE, 4 * PAGE, 3, 0x31, 0);
        mm.mmap(space, &shared).unwrap();
        (0..4).for_each(|n| user_store(VirtAddr::new(BASE + n * PAGE), n + 1).unwrap());
        let twin = FAR + 64 * PAGE;
        assert_eq!(remap(mm, space, BASE + PAGE, (0, 2 * PAGE), FIXED, twin), Ok(twin));
        assert_eq!(user_load(VirtAddr::new(twin + PAGE)), Ok(3));
        assert_eq!(remap(mm, space, BASE, (4 * PAGE, 4 * PAGE), FIXED, FAR + PAGE), Ok(FAR + PAGE));
        user_store(VirtAddr::new(FAR + 2 * PAGE), 20).unwrap();
        assert_eq!(user_load(VirtAddr::new(twin)), Ok(20));
        check(mm);
        assert_eq!(remap(mm, space, FAR + 2 * PAGE, (2 * PAGE, 2 * PAGE), DONTUNMAP, BASE), Ok(BASE));
        let places = [FAR + 2 * PAGE, BASE, twin].map(|va| user_load(VirtAddr::new(va)));
        assert_eq!(places, [Ok(20); 3]);
        check(mm);
        assert_eq!(remap(mm, space, FAR + PAGE, (4 * PAGE, 2 * PAGE), MAYMOVE, 0), Ok(FAR + PAGE));
        assert_eq!(remap(mm, space, FAR + PAGE, (2 * PAGE, 4 * PAGE), 0, 0), Ok(FAR + PAGE));
        assert_eq!(user_load(VirtAddr::new(FAR + 4 * PAGE)), Ok(4), "the pages are the object's");
        check(mm);
        assert_eq!(remap(mm, space, BASE, (2 * PAGE, PAGE), FIXED, FAR + 9 * PAGE), Ok(FAR + 9 * PAGE));
        check(mm);
        let private = MmapRequest::from_raw(BASE, PAGE, 3, 0x31 | 0x100, 0);
        assert_eq!(mm.mmap(space, &private).map_err(MmapError::errno), Err(Errno::Inval), "a shared stack");
    });
}

/// Where source and destination lie alike in their 2 MiB, level-2 entries go: blocks stay blocks, tables stay tables,
/// and the number of stores does not depend on how many pages are mapped.
#[test]
fn whole_slots_go_as_they_are() {
    for (thp, split) in [(ThpMode::Never, 0), (ThpMode::Always, 0)] {
        with_space(&machine(thp), |mm, _, space| {
            map(mm, space, BASE, 8 * HUGE);
            (0..8 * 512).for_each(|n| user_store(VirtAddr::new(BASE + n * PAGE), n).unwrap());
            map(mm, space, FAR, HUGE);
            let (stores, tables) = (mm.stats.get(Counter::PteStore), mm.stats.get(Counter::NrPageTable));
            assert_eq!(remap(mm, space, BASE, (8 * HUGE, 8 * HUGE), FIXED, FAR), Ok(FAR));
            assert!(mm.stats.get(Counter::PteStore) - stores < 30);
            assert_eq!(mm.stats.get(Counter::ThpSplitPmd), split);
            assert!(mm.stats.get(Counter::NrPageTable) <= tables + 2);
            (0..8 * 512).for_each(|n| assert_eq!(user_load(VirtAddr::new(FAR + n * PAGE)), Ok(n)));
            let gone = VirtAddr::new(BASE);
            assert_eq!(user_load(gone), Err(UserFault(gone)));
        });
    }
}

/// An address space with all the VMAs that it may have: no mapping moves, none is lost, and unmapping still works.
#[test]
fn too_many_vmas() {
    with_space(&machine(ThpMode::Never), |mm, _, space| {
        let one = |n: u64| MmapRequest::anonymous(PAGE, MapProt::READ).fixed(BASE + n * 4 * PAGE);
        map(mm, space, BASE - 16 * PAGE, 3 * PAGE);
        let made = (1..100_000).take_while(|&n| match mm.mmap(space, &one(n)) {
            Ok(_) => true,
            Err(error) => {
                assert_eq!((n, error.errno()), (MAX_VMAS as u64, Errno::NoMem));
                false
            }
        });
        assert_eq!((made.count() + 1, space.vma_count()), (MAX_VMAS, MAX_VMAS));
        for (what, addr, lens, flags, to) in [
            ("the middle goes", BASE - 15 * PAGE, (PAGE, PAGE), FIXED, FAR),
            ("all of one goes", BASE - 16 * PAGE, (3 * PAGE, 3 * PAGE), FIXED, FAR),
            ("one stays", BASE - 16 * PAGE, (3 * PAGE, 3 * PAGE), DONTUNMAP, 0),
            ("one grows and moves", BASE + 4 * PAGE, (PAGE, 8 * PAGE), MAYMOVE, 0),
        ] {
            let error = remap(mm, space, addr, lens, flags, to).map_err(MmapError::errno);
            assert_eq!((error, space.vma_count()), (Err(Errno::NoMem), MAX_VMAS), "{what}");
        }
        assert_eq!(remap(mm, space, BASE + 4 * PAGE, (PAGE, 3 * PAGE), 0, 0), Ok(BASE + 4 * PAGE));
        assert_eq!(space.vma_count(), MAX_VMAS);
        check(mm);
    });
}

/// Pages and what the user stored in them, as a model of the address space.
#[derive(Default)]
struct Contents(BTreeMap<u64, u64>);

impl Contents {
    fn unmap(&mut self, start: u64, end: u64) {
        self.0.retain(|&va, _| va < start || va >= end);
    }
    fn is_mapped(&self, start: u64, end: u64) -> bool {
        (start..end).step_by(PAGE as usize).all(|va| self.0.contains_key(&va))
    }
    fn shift(&mut self, from: u64, to: u64, old: u64, new: u64) {
        let moved: Vec<u64> =
            (from..from + old.min(new)).step_by(PAGE as usize).map(|va| self.0[&va]).collect();
        self.unmap(from, from + old);
        self.unmap(to, to + new);
        for (n, value) in moved.into_iter().enumerate() {
            self.0.insert(to + n as u64 * PAGE, value);
        }
        for va in (to..to + new).step_by(PAGE as usize) {
            self.0.entry(va).or_insert(0);
        }
    }
}

/// Random mappings, stores, and moves of every alignment, under each policy of huge pages: every page of the space
/// holds what was stored there, and what is not mapped faults.
#[test]
fn random_moves_keep_every_byte() {
    for (thp, seed) in
        [(ThpMode::Never, 1), (ThpMode::Always, 2), (ThpMode::Reserve, 3), (ThpMode::Always, 4)]
    {
        let mut random = Random::for_test("random_moves_keep_every_byte", seed);
        with_space(&machine(thp), |mm, _, space| {
            let window = 10 * HUGE / PAGE;
            let mut model = Contents::default();
            for step in 0..120 {
                let unit = if random.below(2) == 0 { 1 } else { 512 };
                let page = |random: &mut Random| BASE + random.below(window / unit) * unit * PAGE;
                let at = page(&mut random);
                let len = (1 + random.below(if unit == 1 { 700 } else { 3 })) * unit * PAGE;
                let len = len.min(BASE + window * PAGE - at);
                match random.below(6) {
                    0 | 1 => {
                        map(mm, space, at, len);
                        model.unmap(at, at + len);
                        (at..at + len).step_by(PAGE as usize).for_each(|va| {
                            model.0.insert(va, 0);
                        });
                    }
                    2 => {
                        let many = random.below(300);
                        for _ in 0..many {
                            let va = at + random.below(len / PAGE) * PAGE;
                            if let Some(value) = model.0.get_mut(&va) {
                                *value = random.bits();
                                user_store(VirtAddr::new(va), *value).unwrap();
                            }
                        }
                    }
                    _ => {
                        let to = page(&mut random).min(BASE + window * PAGE - len);
                        let new = if random.below(3) == 0 { len / 2 / PAGE * PAGE + PAGE } else { len };
                        let vma = space.vma_at(VirtAddr::new(at));
                        let fits = vma.is_some_and(|vma| vma.end.raw() >= at + len.min(new));
                        let overlap = at + len > to && to + new > at;
                        let result = remap(mm, space, at, (len, new), FIXED, to);
                        match (fits, overlap) {
                            (_, true) | (false, _) => assert!(result.is_err(), "step {step}"),
                            (true, false) => {
                                assert_eq!(result, Ok(to), "step {step}");
                                model.shift(at, to, len, new);
                            }
                        }
                    }
                }
                if step % 8 == 7 {
                    check(mm);
                }
            }
            for n in 0..window {
                let va = BASE + n * PAGE;
                let expected = model.0.get(&va).copied().ok_or(UserFault(VirtAddr::new(va)));
                assert_eq!(user_load(VirtAddr::new(va)), expected, "page {n}");
            }
            assert!(model.is_mapped(BASE, BASE));
        });
    }
}

/// Every allocation of a move fails once: nothing has moved, nothing is lost.
#[test]
fn a_move_needs_memory_or_does_nothing() {
    for (what, thp, from, to, least) in [
        ("page by page", ThpMode::Never, BASE, FAR + PAGE, 4),
        ("blocks that must be split", ThpMode::Always, BASE, FAR + 5 * PAGE, 6),
        ("whole slots, cut at the ends", ThpMode::Always, BASE + 3 * PAGE, FAR + 3 * PAGE, 4),
    ] {
        let len = 2 * HUGE + 9 * PAGE;
        let setup = |mm: &Mm| {
            let space = mm.new_space().unwrap();
            map(mm, &space, BASE, 3 * HUGE);
            map(mm, &space, to, PAGE);
            for va in [BASE, BASE + 4 * PAGE, BASE + HUGE, BASE + 2 * HUGE, to] {
                mm.write_user(&space, VirtAddr::new(va), &va.to_le_bytes()).unwrap();
            }
            space
        };
        let run = |mm: &Mm, space: &KArc<AddressSpace>| {
            let result = remap(mm, space, from, (len, len), FIXED, to);
            let mut word = [0; 8];
            let place = if result.is_ok() { to + BASE + HUGE - from } else { BASE + HUGE };
            mm.read_user(space, VirtAddr::new(place), &mut word).unwrap();
            assert_eq!(u64::from_le_bytes(word), BASE + HUGE, "{what}");
            if result.is_err() {
                mm.read_user(space, VirtAddr::new(to), &mut word).unwrap();
                assert_eq!(u64::from_le_bytes(word), to, "{what}: the new place");
            }
            result
        };
        for failing in [mm::kalloc::inject::Failing::Once, mm::kalloc::inject::Failing::Onwards] {
            let small = machine(thp).ram_mib(24);
            let failed = exhaust(&small, failing, setup, run, |mm, space| mm.destroy_space(&space));
            assert!(failed >= least, "{what}: {failed} allocations failed");
        }
    }
}

/// A reservation does not follow its range, and what was populated is used and freed as single pages.
#[test]
fn reservations_are_dropped() {
    with_space(&machine(ThpMode::Reserve), |mm, _, space| {
        map(mm, space, BASE, 2 * HUGE);
        user_store(VirtAddr::new(BASE + HUGE), 9).unwrap();
        assert_eq!(mm.stats.get(Counter::NrThpReserved), 511);
        assert_eq!(remap(mm, space, BASE + HUGE, (HUGE, HUGE), FIXED, FAR), Ok(FAR));
        assert_eq!((mm.stats.get(Counter::NrThpReserved), user_load(VirtAddr::new(FAR))), (0, Ok(9)));
        user_store(VirtAddr::new(FAR + PAGE), 10).unwrap();
        check(mm);
        mm.madvise(space, FAR, HUGE, Advice::DontNeed).unwrap();
        user_store(VirtAddr::new(FAR + 2 * PAGE), 11).unwrap();
        assert_eq!(mm.stats.get(Counter::NrThpReserved), 511, "an empty range is reserved anew");
    });
}
