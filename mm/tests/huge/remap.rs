//! HVO on the model: what the tables, the struct pages and the allocator say before, during and after.

use crate::common::{Variant, contents, folio, give_back, is_shared, is_writable};
use arch::contract::FaultStatus;
use arch::features::BbmLevel;
use arch::model::{Job, run_on_cpus, try_kernel_access};
use arch::{Access, Level, Order};
use mm::Mm;
use mm::config::{HvoStrategy, TailEncoding, VmemmapMap};
use mm::hvo::{self, HvoError, Switch, describe};
use mm::page::{Flags, FolioRef, PageKind, PageRef, page_of};
use mm::stats::Counter;
use mm::steps::{Owed, Step, StepKind};
use mm::testkit::{self, Builder, fail_every_allocation};

/// Every page of the folio leads to its head.
fn assert_heads(mm: &Mm, head: PageRef) {
    for n in 0..512 {
        assert_eq!(head.nth(n).head(mm.config.tails), head, "page {n}");
    }
}

/// Entries 1..=7 are read-only at level 3 and map one page; entry 0 is writable.
fn assert_optimized(mm: &Mm, head: PageRef) {
    let entries = describe(mm, head.pfn());
    let shared = entries[1].output().unwrap();
    assert!(!is_shared(&entries[0]), "{}", entries[0]);
    for entry in &entries[1..] {
        assert!(is_shared(entry) && entry.output() == Some(shared), "{entry}");
    }
    match mm.config.tails {
        TailEncoding::Pointer => assert_eq!(entries[0].output(), Some(shared)),
        TailEncoding::Mask => assert_eq!(mm.hvo.kept_pages(mm) - mm.stats.get(Counter::HvoSplitPmd), 1),
    }
    assert!(head.flags().contains(Flags::HVO));
    assert_heads(mm, head);
}

/// All eight entries are writable and map frames of their own.
fn assert_private(mm: &Mm, head: PageRef) {
    let entries = describe(mm, head.pfn());
    let mut outputs: Vec<_> = entries.iter().map(|entry| entry.output().unwrap()).collect();
    outputs.sort();
    outputs.dedup();
    assert_eq!(outputs.len(), 8);
    assert!(entries.iter().all(|entry| is_writable(entry.va)));
    assert!(!head.flags().contains(Flags::HVO));
    assert_heads(mm, head);
}

/// A folio goes there and back on every variant of the machine: entries, rights, free pages and the bytes of
/// all struct pages are as they must be after each, and the way back ends where the way there began.
#[test]
fn round_trip() {
    for variant in Variant::all() {
        println!("{variant:?}");
        variant.builder().boot(|mm, _| {
            let owned = folio(mm);
            let head = owned.page();
            let (before, free) = (contents(mm, head), mm.free_page_count());
            for round in 0..2 {
                hvo::optimize_folio(mm, head).unwrap();
                assert_optimized(mm, head);
                assert_eq!(mm.free_page_count(), free + 7 - variant.kept_pages(), "round {round}");
                assert_eq!(mm.hvo.kept_pages(mm), variant.kept_pages());
                assert_eq!(mm.stats.get(Counter::NrVmemmapFreed), 7);
                let shown = contents(mm, head);
                match variant.tails {
                    TailEncoding::Mask => assert_eq!(shown[1..], before[1..]),
                    TailEncoding::Pointer => assert!(shown[1..].iter().all(|page| *page == shown[0])),
                }

                hvo::restore_folio(mm, head).unwrap();
                assert_private(mm, head);
                assert_eq!(mm.free_page_count(), free - variant.kept_pages(), "round {round}");
                assert_eq!(contents(mm, head), before, "round {round}");
            }
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 0);
            assert_eq!((mm.stats.get(Counter::HvoOptimize), mm.stats.get(Counter::HvoRestore)), (2, 2));
            give_back(mm, owned);
        });
    }
}

/// A store to any struct page but those beside the head faults by permission while the folio is optimised;
/// the head's count can be changed all the time.
#[test]
fn tails_are_read_only_and_the_head_is_not() {
    for variant in Variant::all() {
        variant.builder().boot(|mm, _| {
            let owned = folio(mm);
            let head = owned.page();
            hvo::optimize_folio(mm, head).unwrap();
            for n in 0..512 {
                let store = try_kernel_access(head.nth(n).address(), Access::Write);
                let expected = if n < 64 { Ok(()) } else { Err(FaultStatus::Permission(Level::L3)) };
                assert_eq!(store.map(|_| ()), expected, "page {n}");
            }
            head.set_refcount(1);
            assert!(head.try_get().is_some());
            assert_eq!((head.refcount(), head.freeze(2)), (2, true));
            hvo::restore_folio(mm, head).unwrap();
            give_back(mm, owned);
        });
    }
}

/// A wild write to a tail is reported with the address, and not lost in a page that all folios share.
#[test]
#[should_panic(expected = "permission fault, level 3")]
fn wild_write_to_a_tail_faults() {
    testkit::boot(|mm| {
        let owned = folio(mm);
        let head = owned.page();
        hvo::optimize_folio(mm, head).unwrap();
        head.nth(100).set_private(1);
    });
}

/// A try-get of a tail fails without a store, also where the `pointer` encoding shows the head's live count
/// there; the search for the folio finds the head in either encoding.
#[test]
fn speculative_references_find_the_head() {
    for variant in Variant::all() {
        variant.builder().boot(|mm, _| {
            let owned = folio(mm);
            let head = owned.page();
            hvo::optimize_folio(mm, head).unwrap();
            for n in 0..512 {
                assert_eq!(mm.try_get_folio(head.pfn().add(n)), None, "frozen, page {n}");
            }
            head.set_refcount(1);
            for n in 0..512 {
                let got = mm.try_get_folio(head.pfn().add(n)).map(|folio| folio.page());
                assert_eq!(got, Some(head), "page {n}");
            }
            assert_eq!(head.refcount(), 513);
            assert!(head.freeze(513));
            hvo::restore_folio(mm, head).unwrap();
            give_back(mm, owned);
        });
    }
}

/// The steps that a strategy announces on the way there, without those of a split, and on the way back.
fn expected_steps(hvo: HvoStrategy) -> (Vec<StepKind>, Vec<StepKind>) {
    use StepKind::*;
    match hvo {
        HvoStrategy::Alias => (
            vec![HvoBegin, HvoReadOnly, HvoFlush, HvoRepoint, HvoFlush, HvoEnd],
            vec![RestoreBegin, RestoreRepoint, RestoreFlush, RestoreRelax, RestoreFlush, RestoreEnd],
        ),
        HvoStrategy::Bbml2 => (
            vec![HvoBegin, HvoReadOnly, HvoFlush, HvoCopy, HvoRepoint, HvoFlush, HvoEnd],
            vec![
                RestoreBegin,
                RestoreRepoint,
                RestoreFlush,
                RestoreCopy,
                RestoreRelax,
                RestoreFlush,
                RestoreEnd,
            ],
        ),
        _ => (
            vec![HvoBegin, HvoBreak, HvoFlush, HvoMake, HvoEnd],
            vec![RestoreBegin, RestoreBreak, RestoreFlush, RestoreMake, RestoreEnd],
        ),
    }
}

/// The steps of a remap are announced in order, one for each run of entries, with what is owed after it; a block is
/// split only once, before anything else, and directly where FEAT_BBM lets a strategy that breaks nothing do so.
#[test]
fn steps_are_announced_in_order() {
    use StepKind::{HvoSplitBreak, HvoSplitFlush, HvoSplitMake, HvoSplitReplace};
    for variant in Variant::all() {
        println!("{variant:?}");
        variant.builder().boot(|mm, env| {
            let owned = folio(mm);
            let head = owned.page();
            hvo::optimize_folio(mm, head).unwrap();
            let (there, back) = expected_steps(variant.hvo);
            let by_rights = matches!(variant.hvo, HvoStrategy::Alias | HvoStrategy::Bbml2);
            let split = match variant.vmemmap {
                VmemmapMap::Pte => vec![],
                VmemmapMap::Pmd if by_rights && variant.bbm >= BbmLevel::Level2 => {
                    vec![HvoSplitReplace, HvoSplitFlush]
                }
                VmemmapMap::Pmd => vec![HvoSplitBreak, HvoSplitFlush, HvoSplitMake],
            };
            let kinds = |steps: &[Step]| steps.iter().map(|step| step.kind).collect::<Vec<_>>();
            let steps = env.steps();
            assert_eq!(kinds(&steps), [split, there].concat());
            for (n, step) in steps.iter().enumerate() {
                let flushed_to_make =
                    steps.get(n + 1).is_some_and(|s| matches!(s.kind, HvoSplitMake | StepKind::HvoMake));
                let owed = match step.kind {
                    HvoSplitBreak | StepKind::HvoBreak => Owed::FlushThenMake,
                    HvoSplitReplace | StepKind::HvoReadOnly | StepKind::HvoRepoint => Owed::Flush,
                    HvoSplitFlush | StepKind::HvoFlush if flushed_to_make => Owed::Make,
                    _ => Owed::Nothing,
                };
                assert_eq!(step.owed, owed, "{:?}", step.kind);
                let entries = if step.level == Level::L2 { 1 } else { 7 };
                assert_eq!(step.entries, entries, "{:?}", step.kind);
            }
            env.clear_steps();

            hvo::restore_folio(mm, head).unwrap();
            assert_eq!(kinds(&env.steps()), back);
            give_back(mm, owned);
        });
    }
}

/// What the window must not do would be seen: after the flush of a split no struct page of the block can be
/// read, after the flush of a run none of the folio's tails, and always those of the head's page.
#[test]
fn broken_entries_fault() {
    let builder = Builder::new().config(|config| {
        (config.vmemmap, config.hvo) = (VmemmapMap::Pmd, HvoStrategy::StopMachine);
    });
    builder.boot(|mm, env| {
        let owned = folio(mm);
        let head = owned.page();
        let (own, tail) = (head.address(), head.nth(64).address());
        let elsewhere = page_of(head.pfn().align_down(Order::new(15)).add(5)).address();
        env.on_step(move |step| {
            let read = |va| try_kernel_access(va, Access::Read).map(|_| ());
            match step.kind {
                StepKind::HvoSplitFlush => {
                    let broken = Err(FaultStatus::Translation(Level::L2));
                    assert_eq!([read(own), read(tail), read(elsewhere)], [broken; 3]);
                }
                StepKind::HvoFlush | StepKind::RestoreFlush => {
                    let broken = Err(FaultStatus::Translation(Level::L3));
                    assert_eq!([read(own), read(tail), read(elsewhere)], [Ok(()), broken, Ok(())]);
                }
                _ => {}
            }
        });
        hvo::optimize_folio(mm, head).unwrap();
        hvo::restore_folio(mm, head).unwrap();
        assert!(env.steps().iter().any(|step| step.kind == StepKind::HvoSplitFlush));
        give_back(mm, owned);
    });
}

/// The frames that an optimised folio gives up are still in use when its remap ends: they are freed after it,
/// not during it.
#[test]
fn frames_are_freed_after_the_remap() {
    Builder::new().boot(|mm, env| {
        let owned = folio(mm);
        let head = owned.page();
        let frames = describe(mm, head.pfn()).map(|entry| entry.output().unwrap().pfn());
        env.on_step(move |step| {
            if step.kind == StepKind::HvoEnd {
                let in_use =
                    |&pfn: &_| page_of(pfn).kind() == PageKind::Vmemmap && page_of(pfn).refcount() == 1;
                assert!(frames.iter().all(in_use), "freed while the machine is stopped");
            }
        });
        hvo::optimize_folio(mm, head).unwrap();
        assert!(frames[1..].iter().all(|&pfn| page_of(pfn).kind() == PageKind::Free));
        hvo::restore_folio(mm, head).unwrap();
        give_back(mm, owned);
    });
}

/// A list is remapped with one stop or pause, or one grace period and none on the way back, however many folios are on
/// it, and with as many flushes as one folio; folios whose struct pages lie in one block of vmemmap need one table.
#[test]
fn lists_cost_what_one_folio_costs() {
    for variant in Variant::at(BbmLevel::Level2) {
        println!("{variant:?}");
        variant.builder().ram_mib(256).boot(|mm, env| {
            let owned: Vec<FolioRef> = (0..20).map(|_| folio(mm)).collect();
            let folios: Vec<PageRef> = owned.iter().map(FolioRef::page).collect();
            let mut blocks: Vec<u64> = folios.iter().map(|head| head.pfn().raw() >> 15).collect();
            blocks.dedup();
            let splits = if variant.vmemmap == VmemmapMap::Pmd { blocks.len() as u64 } else { 0 };
            let disturbed = || (env.stops(), env.pauses(), env.grace_periods());
            let flushes = || mm.stats.get(Counter::DsbIsh);
            let (lists, flushed) = (|n| n + u64::from(splits != 0), flushes());
            let outcome = hvo::optimize_folios(mm, folios.iter().copied());
            assert_eq!((outcome.done, outcome.first_error), (20, None));
            let (there, rounds) = match variant.hvo {
                HvoStrategy::StopMachine => ((lists(1), 0, 0), 1),
                HvoStrategy::Pause => ((0, lists(1), 0), 1),
                HvoStrategy::Fault => ((0, 0, 1), 1),
                _ => ((0, 0, 1), 2),
            };
            assert_eq!((disturbed(), flushes() - flushed), (there, lists(rounds)));
            assert_eq!(mm.stats.get(Counter::HvoSplitPmd), splits);
            folios.iter().for_each(|&head| assert_optimized(mm, head));

            let flushed = flushes();
            let outcome = hvo::restore_folios(mm, folios.iter().copied());
            assert_eq!((outcome.done, outcome.first_error), (20, None));
            let (stops, pauses, grace) = there;
            let back = match variant.hvo {
                HvoStrategy::StopMachine => (stops + 1, pauses, grace),
                HvoStrategy::Pause => (stops, pauses + 1, grace),
                _ => there,
            };
            assert_eq!((disturbed(), flushes() - flushed), (back, rounds));
            folios.iter().for_each(|&head| assert_private(mm, head));
            owned.into_iter().for_each(|head| give_back(mm, head));
        });
    }
}

/// Two CPUs that optimise folios in one block of vmemmap at once split it once; the table that the slower one
/// had ready goes back.
#[test]
fn a_block_is_split_once() {
    for round in 0..20 {
        let builder = Builder::new().ram_mib(16).machine(|desc| desc.seed = round + 1);
        builder.boot(|mm, _| {
            let owned = [folio(mm), folio(mm)];
            let folios = owned.each_ref().map(FolioRef::page);
            let (free, tables) = (mm.free_page_count(), mm.stats.get(Counter::NrPageTable));
            let job = |head| -> Job<'_> { Box::new(move || hvo::optimize_folio(mm, head).unwrap()) };
            run_on_cpus(folios.map(job).into());
            assert_eq!(mm.stats.get(Counter::HvoSplitPmd), 1);
            assert_eq!(mm.stats.get(Counter::NrPageTable), tables + 1);
            assert_eq!(mm.free_page_count(), free + 2 * 7 - mm.hvo.kept_pages(mm));
            folios.iter().for_each(|&head| assert_optimized(mm, head));
            let _ = hvo::restore_folios(mm, folios);
            owned.into_iter().for_each(|head| give_back(mm, head));
        });
    }
}

/// What cannot be optimised or restored is refused with the reason, and stays as it was.
#[test]
fn refusals_change_nothing() {
    for variant in Variant::all() {
        variant.builder().boot(|mm, env| {
            let owned = folio(mm);
            let head = owned.page();
            let pfn = head.pfn();
            assert_eq!(hvo::restore_folio(mm, head), Err(HvoError::NotOptimized(pfn)));
            let tail = head.nth(1);
            assert_eq!(hvo::optimize_folio(mm, tail), Err(HvoError::NotHugetlb(pfn.add(1))));
            head.set_refcount(2);
            assert_eq!(hvo::optimize_folio(mm, head), Err(HvoError::NotFrozen(pfn, 2)));
            head.set_refcount(0);
            for (n, page) in [(1, 0), (63, 0), (64, 1), (300, 4), (511, 7)] {
                head.nth(n).set_private(0x5a);
                let refused = HvoError::NotPristine(head.address().add(page * 4096));
                assert_eq!(hvo::optimize_folio(mm, head), Err(refused), "page {n}");
                head.nth(n).set_private(0);
            }
            assert_eq!(env.stops(), 0);
            assert_private(mm, head);

            hvo::optimize_folio(mm, head).unwrap();
            assert_eq!(hvo::optimize_folio(mm, head), Err(HvoError::Optimized(pfn)));
            head.set_refcount(1);
            assert_eq!(hvo::restore_folio(mm, head), Err(HvoError::NotFrozen(pfn, 1)));
            head.set_refcount(0);
            assert_optimized(mm, head);
            hvo::restore_folio(mm, head).unwrap();
            give_back(mm, owned);
        });
    }
}

/// Folios of 64 KiB have no vmemmap page of tails only, and are refused with the figures.
#[test]
fn small_folios_are_refused() {
    testkit::boot(|mm| {
        let order = Order::new(4);
        let owned = mm.alloc_pages(order, PageKind::Hugetlb).unwrap();
        let head = owned.page();
        head.prep_compound(PageKind::Hugetlb, order, mm.config.tails);
        assert!(head.freeze(1));
        let refused = hvo::optimize_folio(mm, head).unwrap_err();
        assert!(refused.to_string().contains("a folio of 64 KiB has 1024 bytes"), "{refused}");
        mm.free_pages(owned, order);
    });
}

/// With `hvo=off` nothing is optimised and the switch cannot be set.
#[test]
fn off_is_off() {
    Builder::new().config(|config| config.hvo = HvoStrategy::Off).boot(|mm, _| {
        assert_eq!(mm.hvo.switch(), Switch::Off);
        assert_eq!(mm.hvo.set_switch(mm, Switch::On), Err(HvoError::Off));
        assert_eq!(mm.hvo.switch(), Switch::Off);
        let owned = folio(mm);
        let head = owned.page();
        assert_eq!(hvo::optimize_folio(mm, head), Err(HvoError::Off));
        give_back(mm, owned);
    });
}

/// Whichever allocation of optimise or restore fails: the folio is wholly as before or wholly remapped, and
/// no page is lost.
#[test]
fn every_allocation_may_fail() {
    for variant in Variant::at(BbmLevel::Level2) {
        let failed = fail_every_allocation(&variant.builder(), folio, |mm, owned| {
            let head = owned.page();
            let result = there_and_back(mm, head);
            if head.flags().contains(Flags::HVO) {
                assert_optimized(mm, head);
                assert_eq!(mm.stats.get(Counter::HvoRestoreFailed), 1);
                hvo::restore_folio(mm, head).unwrap();
            }
            assert_private(mm, head);
            give_back(mm, owned);
            result
        });
        // The pages of a restore; each way the lists of plans, of runs and of frames; and those of blocks to be split.
        let lists = 2 * 3 + if variant.vmemmap == VmemmapMap::Pmd { 2 } else { 0 };
        assert_eq!(failed, 7 + lists + variant.kept_pages(), "{variant:?}");
    }
}

fn there_and_back(mm: &Mm, head: PageRef) -> Result<(), HvoError> {
    hvo::optimize_folio(mm, head)?;
    hvo::restore_folio(mm, head)
}
