//! Several CPUs: stale translations, ASIDs, and faults that race.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arch::contract::CpuId;
use arch::model::{Job, run_as, user_load, user_store};
use arch::{Cpu, Machine, Mmu, VirtAddr};
use mm::Mm;
use mm::config::ThpMode;
use mm::kalloc::KArc;
use mm::space::{AddressSpace, Advice, MapFlags, MapProt, MmapRequest};
use mm::stats::Counter;
use mm::testkit::{Builder, HostEnv, Random, check, run_as_user, run_on_cpus, with_space};

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const BASE: u64 = 0x10_0000_0000;

fn thp(mode: ThpMode) -> Builder {
    Builder::new().config(move |config| config.thp = mode)
}

fn map_at(mm: &Mm, space: &KArc<AddressSpace>, addr: u64, len: u64) -> VirtAddr {
    mm.mmap(space, &MmapRequest::anonymous(len, RW).fixed(addr)).unwrap()
}

/// Runs `f` on vCPU 1 with `space` active there.
fn on_other_cpu<R>(mm: &Mm, env: &HostEnv, space: &KArc<AddressSpace>, f: impl FnOnce() -> R) -> R {
    run_as(CpuId::new(1), || run_as_user(mm, env, space, f))
}

/// Goes on when both vCPUs are here.
fn meet(arrived: &AtomicUsize) {
    arrived.fetch_add(1, Ordering::Relaxed);
    while arrived.load(Ordering::Relaxed) < 2 {
        Machine::relax();
    }
}

/// Accesses after which an outdated translation would have been used: at each one the model chooses between what is
/// held and what the tables say.
const TRIES: usize = 24;

/// Runs `f` on vCPU 1, again and again.
fn always_on_other_cpu<R: PartialEq + std::fmt::Debug>(
    (mm, env, space): (&Mm, &HostEnv, &KArc<AddressSpace>),
    f: impl Fn() -> R,
    right: impl Fn(&R) -> bool,
    words: &str,
) {
    for n in 0..TRIES {
        let seen = on_other_cpu(mm, env, space, &f);
        assert!(right(&seen), "access {n}: {words}: {seen:?}");
    }
}

/// The model's TLBs forget nothing by themselves. What another CPU holds of an address is gone when munmap,
/// mprotect or MADV_DONTNEED returns; for pages and for blocks.
#[test]
fn no_stale_translation_is_used_after_a_call() {
    for mode in [ThpMode::Never, ThpMode::Always] {
        with_space(&thp(mode), |mm, env, space| {
            let va = map_at(mm, space, BASE, 2 * HUGE);
            let word = va.add(8 * PAGE);
            user_store(word, 5).unwrap();
            let here = (mm, env, space);
            assert_eq!(on_other_cpu(mm, env, space, || user_load(word)), Ok(5));
            mm.mprotect(space, va.raw(), HUGE, MapProt::READ).unwrap();
            always_on_other_cpu(here, || user_store(word, 6), Result::is_err, "still writable");
            always_on_other_cpu(here, || user_load(word), |seen| *seen == Ok(5), "unreadable");
            mm.mprotect(space, va.raw(), HUGE, RW).unwrap();
            always_on_other_cpu(here, || user_store(word, 6), Result::is_ok, "still read-only");
            mm.madvise(space, word.raw(), PAGE, Advice::DontNeed).unwrap();
            always_on_other_cpu(here, || user_load(word), |seen| *seen == Ok(0), "old contents");
            user_store(word, 7).unwrap();
            mm.munmap(space, va.raw(), HUGE).unwrap();
            always_on_other_cpu(here, || user_load(word), Result::is_err, "still mapped");
        });
    }
}

/// A CPU that has cached the page of zeros sees the page that replaced it on the first write elsewhere.
#[test]
fn the_page_of_zeros_leaves_every_tlb() {
    with_space(&thp(ThpMode::Never), |mm, env, space| {
        let va = map_at(mm, space, BASE, PAGE);
        assert_eq!(on_other_cpu(mm, env, space, || user_load(va)), Ok(0));
        user_store(va, 9).unwrap();
        assert_eq!(on_other_cpu(mm, env, space, || user_load(va)), Ok(9));
    });
}

/// A switch between spaces flushes nothing as long as there are ASIDs.
#[test]
fn a_switch_flushes_nothing() {
    Builder::new().boot(|mm, env| {
        let spaces = [mm.new_space().unwrap(), mm.new_space().unwrap()];
        let va = VirtAddr::new(BASE);
        for space in &spaces {
            map_at(mm, space, BASE, PAGE);
            run_as_user(mm, env, space, || user_store(va, space.id)).unwrap();
        }
        let flushes = || [Counter::TlbiAll, Counter::TlbiAsid, Counter::TlbiVa].map(|n| mm.stats.get(n));
        let before = flushes();
        for space in spaces.iter().cycle().take(20) {
            assert_eq!(run_as_user(mm, env, space, || user_load(va)), Ok(space.id));
        }
        assert_eq!(flushes(), before);
        spaces.iter().for_each(|space| mm.destroy_space(space));
    });
}

/// 600 spaces on 8-bit ASIDs: each sees its own word at the same address on both CPUs, in whatever order they
/// are run, through every rollover.
#[test]
fn asid_rollover_mixes_nothing() {
    let mut random = Random::for_test("asid_rollover_mixes_nothing", 7);
    Builder::new().machine(|desc| desc.features.asid_bits = 8).boot(|mm, env| {
        let spaces: Vec<_> = (0..600).map(|_| mm.new_space().unwrap()).collect();
        let va = VirtAddr::new(BASE);
        for space in &spaces {
            map_at(mm, space, BASE, PAGE);
            run_as_user(mm, env, space, || user_store(va, space.id)).unwrap();
        }
        for _ in 0..1500 {
            let space = &spaces[random.below(600) as usize];
            let load = || user_load(va);
            let seen = match random.below(2) {
                0 => run_as_user(mm, env, space, load),
                _ => on_other_cpu(mm, env, space, load),
            };
            assert_eq!(seen, Ok(space.id));
        }
        assert!(mm.stats.get(Counter::AsidRollover) >= 4, "{}", mm.stats.get(Counter::AsidRollover));
        spaces.iter().for_each(|space| mm.destroy_space(space));
    });
}

/// What a CPU has cached under a number is gone when the number means another space, though that space got it
/// on another CPU and this one has seen nothing of the rollover.
#[test]
fn a_rollover_elsewhere_empties_this_tlb() {
    Builder::new().machine(|desc| desc.features.asid_bits = 8).boot(|mm, env| {
        let spaces: Vec<_> = (0..256).map(|_| mm.new_space().unwrap()).collect();
        let va = VirtAddr::new(BASE);
        let (first, running, last) = (&spaces[0], &spaces[1], &spaces[255]);
        for space in [first, running, last] {
            map_at(mm, space, BASE, PAGE);
            mm.write_user(space, va, &space.id.to_ne_bytes()).unwrap();
        }
        for space in [first, running] {
            assert_eq!(on_other_cpu(mm, env, space, || user_load(va)), Ok(space.id));
        }
        for space in &spaces[2..] {
            run_as_user(mm, env, space, || ());
        }
        assert_eq!(mm.stats.get(Counter::AsidRollover), 1);
        assert_eq!(last.asid.asid(), first.asid.asid(), "the last space has the first one's number");
        assert_eq!(on_other_cpu(mm, env, last, || user_load(va)), Ok(last.id));
        spaces.iter().for_each(|space| mm.destroy_space(space));
    });
}

/// A CPU that runs one space all the time, while the other CPU goes through several generations, keeps its
/// own ASID, and nobody else gets that number.
#[test]
fn a_running_cpu_keeps_its_asid_through_rollovers() {
    Builder::new().machine(|desc| desc.features.asid_bits = 8).boot(|mm, env| {
        let spaces: Vec<_> = (0..300).map(|_| mm.new_space().unwrap()).collect();
        let (va, stop, started) = (VirtAddr::new(BASE), AtomicBool::new(false), AtomicUsize::new(0));
        for space in &spaces {
            map_at(mm, space, BASE, PAGE);
        }
        let own = &spaces[0];
        let runner: Job<'_> = Box::new(|| {
            run_as_user(mm, env, own, || {
                user_store(va, own.id).unwrap();
                let asid = own.asid.asid();
                meet(&started);
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(user_load(va), Ok(own.id));
                    Machine::relax();
                }
                mm.activate_space(Some(own));
                assert_eq!(
                    Machine::user_root(),
                    Some((own.root(), asid)),
                    "a running space keeps its number"
                );
            });
        });
        let roller: Job<'_> = Box::new(|| {
            meet(&started);
            let kept = own.asid.asid();
            for space in spaces[1..].iter().cycle().take(4 * 299) {
                run_as_user(mm, env, space, || user_store(va, space.id)).unwrap();
                assert_ne!(space.asid.asid(), kept, "the number of a running space was given again");
            }
            stop.store(true, Ordering::Relaxed);
        });
        run_on_cpus(env, vec![roller, runner]);
        assert!(mm.stats.get(Counter::AsidRollover) >= 4);
        spaces.iter().for_each(|space| mm.destroy_space(space));
    });
}

/// Two CPUs touch the same untouched pages at the same time: each page is made once, both see both words, and
/// the loser gives its page back.
#[test]
fn concurrent_faults_make_one_page() {
    for mode in ThpMode::ALL {
        let noisy = thp(*mode).machine(|desc| desc.seed = 11);
        noisy.boot(|mm, env| {
            let before = mm.free_page_count();
            let space = mm.new_space().unwrap();
            let va = map_at(mm, &space, BASE, HUGE);
            let started = AtomicUsize::new(0);
            let job = |cpu: u64| -> Job<'_> {
                let (space, started) = (&space, &started);
                let touch = move || {
                    meet(started);
                    for n in 0..512 {
                        let page = va.add(n * PAGE);
                        if n % 3 == 0 {
                            user_load(page).unwrap();
                        }
                        user_store(page.add(8 * cpu), n + cpu).unwrap();
                    }
                };
                Box::new(move || run_as_user(mm, env, space, touch))
            };
            run_on_cpus(env, vec![job(0), job(1)]);
            run_as_user(mm, env, &space, || {
                for (n, cpu) in (0..512).flat_map(|n| [(n, 0), (n, 1)]) {
                    assert_eq!(user_load(va.add(n * PAGE + 8 * cpu)), Ok(n + cpu));
                }
            });
            assert_eq!(mm.usage(&space).anon, 512, "{mode}");
            check(mm);
            mm.destroy_space(&space);
            assert_eq!(mm.free_page_count() + mm.huge_zero.kept_pages(), before, "{mode}");
        });
    }
}

/// One CPU writes and reads back, while the other takes the pages away: a word is what was written last or
/// zero, never another's; and nothing is lost.
#[test]
fn faults_against_dontneed() {
    for mode in [ThpMode::Never, ThpMode::Reserve] {
        thp(mode).machine(|desc| desc.seed = 5).boot(|mm, env| {
            let before = mm.free_page_count();
            let space = mm.new_space().unwrap();
            let va = map_at(mm, &space, BASE, 64 * PAGE);
            let stop = AtomicBool::new(false);
            let write = || {
                for n in 0..4000 {
                    let at = va.add(n % 64 * PAGE);
                    user_store(at, n + 1).unwrap();
                    let word = user_load(at).unwrap();
                    assert!(word == 0 || word == n + 1, "{word} at {at}, where {} was written", n + 1);
                }
            };
            let writer: Job<'_> = Box::new(|| {
                run_as_user(mm, env, &space, write);
                stop.store(true, Ordering::Relaxed);
            });
            let taker: Job<'_> = Box::new(|| {
                while !stop.load(Ordering::Relaxed) {
                    mm.madvise(&space, va.raw() + 16 * PAGE, 40 * PAGE, Advice::DontNeed).unwrap();
                    Machine::relax();
                }
            });
            run_on_cpus(env, vec![writer, taker]);
            check(mm);
            mm.destroy_space(&space);
            assert_eq!(mm.free_page_count() + mm.huge_zero.kept_pages(), before);
        });
    }
}

/// Two threads of a process map, fill and unmap their own ranges side by side in one level-3 table.
#[test]
fn concurrent_calls() {
    Builder::new().machine(|desc| desc.seed = 3).boot(|mm, env| {
        let before = mm.free_page_count();
        let space = mm.new_space().unwrap();
        let job = |cpu: u64| -> Job<'_> {
            let space = &space;
            let live = move || {
                for round in 0..200 {
                    let request = MmapRequest::anonymous(4 * PAGE, RW)
                        .fixed(BASE + cpu * 4 * PAGE)
                        .with(MapFlags::POPULATE);
                    let va = mm.mmap(space, &request).unwrap();
                    (0..4).for_each(|n| user_store(va.add(n * PAGE), round * 8 + cpu).unwrap());
                    mm.mprotect(space, va.raw() + PAGE, PAGE, MapProt::READ).unwrap();
                    (0..4).for_each(|n| assert_eq!(user_load(va.add(n * PAGE)), Ok(round * 8 + cpu)));
                    assert!(user_store(va.add(PAGE), 0).is_err());
                    mm.munmap(space, va.raw(), 4 * PAGE).unwrap();
                    assert!(user_load(va).is_err());
                }
            };
            Box::new(move || run_as_user(mm, env, space, live))
        };
        run_on_cpus(env, vec![job(0), job(1)]);
        assert_eq!(mm.usage(&space).tables, 1);
        mm.destroy_space(&space);
        assert_eq!(mm.free_page_count(), before);
    });
}
