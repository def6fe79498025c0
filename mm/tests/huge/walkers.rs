//! Walkers of physical memory on other vCPUs, all the time, while folios are optimised and restored.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::{LEVELS, Variant, folio, give_back, is_writable};
use arch::contract::{Cpu, FaultStatus, Privilege};
use arch::features::BbmLevel;
use arch::model::{Job, possible, run_on_cpus};
use arch::{Access, Machine, Order, Pfn};
use mm::Mm;
use mm::config::{HvoStrategy, TailEncoding, VmemmapMap};
use mm::hugetlb::HugeSize;
use mm::hvo;
use mm::page::{PageKind, page_of};
use mm::stats::Counter;
use mm::steps::StepKind;
use mm::testkit::Random;

/// Folios that come and go.
const FOLIOS: u64 = 4;
/// Times that they do.
const ROUNDS: u64 = 12;

/// What the vCPUs of the test share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// References that walkers got.
    visits: AtomicU64,
    /// The pfn of the hugetlb folio that a walker saw last; 0: none.
    hot: AtomicU64,
}

/// Takes a reference to the folio of `pfn`, reads what a walker reads, and drops it.
fn visit(mm: &Mm, pfn: Pfn, shared: &Shared) {
    let page = page_of(pfn);
    let _ = (page.flags(), page.refcount(), page.head(mm.config.tails));
    if page.kind() == PageKind::Hugetlb {
        shared.hot.store(pfn.align_down(Order::PMD).raw(), Ordering::Relaxed);
    }
    if let Some(head) = mm.try_get_folio(pfn) {
        assert!(head.refcount() != 0);
        mm.put_folio(head);
        shared.visits.fetch_add(1, Ordering::Relaxed);
    }
}

/// Walks stretches of memory until told to stop: where a hugetlb folio was seen last, and anywhere.
fn walk(mm: &Mm, seed: u64, shared: &Shared) {
    let mut random = Random::for_test("walker", seed);
    let bank = mm.ram()[0];
    while !shared.stop.load(Ordering::Acquire) {
        let hot = shared.hot.load(Ordering::Relaxed);
        let first = match random.below(4) {
            0 => bank.start.add(random.below(bank.len())),
            _ => Pfn::new(hot.max(bank.start.raw())).add(64 * random.below(8)),
        };
        for pfn in (0..256).map(|n| first.add(n)).take_while(|&pfn| pfn < bank.end) {
            visit(mm, pfn, shared);
        }
    }
}

/// The pool grows and shrinks again and again while two vCPUs try to get every page there is: none of them
/// ever faults, and no folio, page or reference is lost. A walker may be held between any two accesses
/// outside of a try-get.
#[test]
fn walkers_never_fault() {
    for variant in LEVELS.into_iter().step_by(2).flat_map(Variant::at) {
        let builder = variant.builder().cpus(3).machine(|desc| desc.seed = 42);
        builder.boot(|mm, env| {
            let shared = Shared::default();
            let resize = || {
                for _ in 0..ROUNDS {
                    resize_once(mm, &shared);
                }
                shared.stop.store(true, Ordering::Release);
            };
            let jobs: Vec<Job<'_>> =
                vec![Box::new(resize), Box::new(|| walk(mm, 1, &shared)), Box::new(|| walk(mm, 2, &shared))];
            run_on_cpus(jobs);
            let visits = shared.visits.load(Ordering::Relaxed);
            println!("{variant:?}: {visits} references taken, {} stops", env.stops());
            let (optimized, restored) =
                (mm.stats.get(Counter::HvoOptimize), mm.stats.get(Counter::HvoRestore));
            assert_eq!(optimized, restored);
            assert!(optimized > FOLIOS * ROUNDS / 2, "{optimized}");
        });
    }
}

/// The pool grows and shrinks, with some walking in between.
fn resize_once(mm: &Mm, shared: &Shared) {
    let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, FOLIOS);
    assert_eq!((grown.persistent, grown.unoptimized), (FOLIOS, None));
    let begun = shared.visits.load(Ordering::Relaxed);
    while shared.visits.load(Ordering::Relaxed) < begun + 20 {
        Machine::relax();
    }
    // A new folio to which a walker held a reference for long is not in the pool before it is dropped.
    while mm.hugetlb.counts(HugeSize::M2).nr != 0 {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).unrestored, None);
        Machine::relax();
    }
}

/// Whoever has read a count with interrupts masked, and is about to swap it, finds the struct page writable until he is
/// done: no strategy makes it read-only before, whether it holds that CPU or waits for it.
#[test]
fn nothing_becomes_read_only_under_a_walker() {
    for variant in Variant::at(BbmLevel::Level2) {
        variant.builder().boot(|mm, _| {
            let owned = folio(mm);
            let tail = owned.nth(100).address();
            let (inside, writable) = (AtomicBool::new(false), AtomicBool::new(false));
            let walker = || {
                let irqs = Machine::mask_irqs();
                inside.store(true, Ordering::Release);
                (0..5000).for_each(|_| Machine::relax());
                writable.store(is_writable(tail), Ordering::Release);
                Machine::restore_irqs(irqs);
            };
            let optimise = || {
                while !inside.load(Ordering::Acquire) {
                    Machine::relax();
                }
                hvo::optimize_folio(mm, owned.page()).unwrap();
            };
            let jobs: Vec<Job<'_>> = vec![Box::new(optimise), Box::new(walker)];
            run_on_cpus(jobs);
            assert!(writable.load(Ordering::Acquire), "{variant:?}");
            assert!(!is_writable(tail), "{variant:?}");
            hvo::restore_folio(mm, owned.page()).unwrap();
            give_back(mm, owned);
        });
    }
}

/// While a block of vmemmap is replaced directly at FEAT_BBM level 2, a TLB may hold it and a page of the table: whoever
/// gets a TLB conflict abort for that drops both, tries again, and has no other after it.
#[test]
fn conflicts_are_dropped() {
    for hvo in [HvoStrategy::Alias, HvoStrategy::Bbml2] {
        let variant =
            Variant { vmemmap: VmemmapMap::Pmd, tails: TailEncoding::Mask, bbm: BbmLevel::Level2, hvo };
        variant.builder().boot(|mm, env| {
            let owned = folio(mm);
            let page = owned.nth(70);
            env.on_step(move |step| {
                if step.kind == StepKind::HvoSplitReplace {
                    let may_conflict = || {
                        let all = possible(page.address(), Access::Read, Privilege::Kernel);
                        all.contains(&Err(FaultStatus::TlbConflict))
                    };
                    assert!(may_conflict());
                    (0..1000).take_while(|_| may_conflict()).for_each(|_| {
                        let _read = page.flags();
                    });
                    assert!(!may_conflict());
                }
            });
            hvo::optimize_folio(mm, owned.page()).unwrap();
            assert!(mm.stats.get(Counter::HvoConflict) >= 1);
            hvo::restore_folio(mm, owned.page()).unwrap();
            give_back(mm, owned);
        });
    }
}
