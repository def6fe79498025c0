//! What a fault at a struct page comes to whose entry may be broken: it is answered late or early, on the CPU that has
//! broken the entry or on another, and nobody may have broken it.

use crate::common::{Variant, folio, give_back};
use arch::contract::FaultStatus;
use arch::features::BbmLevel;
use arch::layout::{VMEMMAP_BASE, VMEMMAP_BYTES};
use arch::model::{Bounds, Job, explore_runs, run_on_cpus};
use arch::{Access, Level, VirtAddr};
use mm::Mm;
use mm::config::{HvoStrategy, TailEncoding, VmemmapMap};
use mm::hvo::{self, fault, fault::Verdict};
use mm::steps::StepKind;
use mm::testkit::Builder;

/// A small machine where folios are remapped by breaks while others run.
fn machine() -> Builder {
    let variant = Variant {
        vmemmap: VmemmapMap::Pte,
        tails: TailEncoding::Mask,
        bbm: BbmLevel::Level0,
        hvo: HvoStrategy::Fault,
    };
    variant.builder().ram_mib(8)
}

/// What a translation fault of a read comes to.
fn answer(mm: &Mm, va: VirtAddr) -> Verdict {
    fault::resolve(mm, va, Access::Read, FaultStatus::Translation(Level::L3))
}

/// A CPU that takes a fault and is slow to answer it may look when the window is closed in which it was taken, and
/// another opens: before it has looked at the entry, or after. Whatever comes between what, the access is tried again.
#[test]
fn a_fault_may_be_answered_late() {
    let explored = explore_runs(Bounds { switches: 2, runs: 200_000 }, || {
        machine().boot(|mm, _| {
            let owned = folio(mm);
            let va = owned.nth(100).address();
            let jobs: Vec<Job<'_>> = vec![
                Box::new(|| assert_eq!(answer(mm, va), Verdict::Retry)),
                Box::new(|| hvo::optimize_folio(mm, owned.page()).unwrap()),
            ];
            run_on_cpus(jobs);
            hvo::restore_folio(mm, owned.page()).unwrap();
            give_back(mm, owned);
        });
    });
    println!("a fault answered late: {explored:?}");
    assert!(explored.complete && explored.runs > 50, "{explored:?}");
}

/// Where nobody has broken anything there is nothing to wait for: an address of vmemmap without a struct page ends in a
/// report, though another CPU remaps a folio meanwhile.
#[test]
fn what_nobody_makes_is_not_waited_for() {
    machine().boot(|mm, _| {
        let owned = folio(mm);
        let nowhere = VMEMMAP_BASE.add(VMEMMAP_BYTES - 64);
        let remap = || {
            for _ in 0..20 {
                hvo::optimize_folio(mm, owned.page()).unwrap();
                hvo::restore_folio(mm, owned.page()).unwrap();
            }
        };
        let ask = || (0..20).for_each(|_| assert_eq!(answer(mm, nowhere), Verdict::Unknown));
        run_on_cpus(vec![Box::new(remap) as Job<'_>, Box::new(ask)]);
        assert_eq!(answer(mm, VMEMMAP_BASE.add(VMEMMAP_BYTES)), Verdict::Unknown, "behind vmemmap");
        give_back(mm, owned);
    });
}

/// The CPU that has broken an entry does not wait for itself to make it: that is an end with a report, in a later window
/// as in the first.
#[test]
#[should_panic(expected = "translation fault, level 3")]
fn nobody_waits_for_himself() {
    machine().boot(|mm, env| {
        let owned = folio(mm);
        hvo::optimize_folio(mm, owned.page()).unwrap();
        let tail = owned.nth(100);
        env.on_step(move |step| {
            if step.kind == StepKind::RestoreFlush {
                let _flags = tail.flags();
            }
        });
        let _restored = hvo::restore_folio(mm, owned.page());
    });
}
