//! HVO of every size that has tails to share: 2 MiB, 32 MiB, 1 GiB; by every strategy, through the pool.

use arch::addr::PAGE_SIZE;
use arch::features::BbmLevel;
use mm::Mm;
use mm::config::{HvoSplit, HvoStrategy, TailEncoding, VmemmapMap};
use mm::hugetlb::HugeSize;
use mm::hvo::layout::Layout;
use mm::hvo::{self, HvoError, Switch, describe};
use mm::page::{Flags, PageKind, PageRef, page_of};
use mm::stats::Counter;
use mm::testkit::{Builder, fail_every_allocation};

use crate::common::{LEVELS, Variant, counts, machine};

/// Folios of the pool, in memory.
fn heads(mm: &Mm) -> Vec<PageRef> {
    let heads = mm.ram().iter().flat_map(|bank| bank.iter()).map(page_of);
    heads.filter(|page| page.kind() == PageKind::Hugetlb && page.flags().contains(Flags::HEAD)).collect()
}

fn builder(size: HugeSize, variant: Variant) -> Builder {
    let machine = match size {
        // Its struct pages are many steps.
        HugeSize::G1 => Builder::new().ram_mib(2304).machine(|desc| desc.max_steps = u64::MAX),
        _ => machine(size),
    };
    machine.machine(|desc| desc.features.bbm = variant.bbm).config(|config| {
        (config.vmemmap, config.tails, config.hvo) = (variant.vmemmap, variant.tails, variant.hvo);
    })
}

/// The entry of each vmemmap page of the folio is what its fate says, all that is freed is free, and every tail that is
/// looked at leads to the head.
fn assert_optimised(mm: &Mm, head: PageRef) {
    let layout = Layout::of(head.order()).unwrap();
    let entry = |n| describe::entry(mm, layout.page(head.pfn(), n));
    let shared = entry(1).output();
    assert!(!entry(0).flags().contains(arch::pte::PteFlags::READ_ONLY), "{}", entry(0));
    for n in 1..layout.pages() {
        let entry = entry(n);
        let read_only = entry.flags().contains(arch::pte::PteFlags::READ_ONLY);
        assert!(read_only && entry.output() == shared, "page {n}: {entry}");
    }
    let own = matches!(mm.config.tails, TailEncoding::Pointer);
    assert_eq!(entry(0).output() == shared, own);
    for n in (0..head.order().pages()).step_by(67) {
        assert_eq!(head.nth(n).head(mm.config.tails), head, "page {n}");
    }
    assert_eq!(mm.stats.get(Counter::NrVmemmapFreed), layout.freed());
}

fn there_and_back(size: HugeSize, variant: Variant, rounds: usize) {
    println!("{size} {variant:?}");
    builder(size, variant).boot(|mm, _| {
        let layout = Layout::of(size.order()).unwrap();
        for _ in 0..rounds {
            let free = mm.free_page_count() + mm.hvo.kept_pages(mm);
            let grown = mm.hugetlb.set_nr(mm, size, 1);
            assert_eq!((grown.persistent, grown.unoptimized), (1, None));
            assert_eq!(
                mm.free_page_count() + mm.hvo.kept_pages(mm),
                free - size.order().pages() + layout.freed()
            );
            assert_optimised(mm, heads(mm)[0]);
            mm.check_all().unwrap();
            assert_eq!(mm.hugetlb.restore_free(mm).done, 1);
            assert_eq!(mm.stats.get(Counter::NrVmemmapFreed), 0);
            assert_eq!(mm.hugetlb.optimize_free(mm).done, 1);
            assert_eq!(mm.hugetlb.set_nr(mm, size, 0).unrestored, None);
            assert_eq!(mm.free_page_count() + mm.hvo.kept_pages(mm), free);
        }
        let blocks = if variant.vmemmap == VmemmapMap::Pmd { layout.pages().div_ceil(512) } else { 0 };
        assert_eq!(mm.stats.get(Counter::HvoSplitPmd), blocks);
    });
}

/// Folios of 2 MiB and 32 MiB free 7 of 8 and 127 of 128 pages of vmemmap, by every strategy, at every level of FEAT_BBM,
/// and get them back; a second time what is split stays so.
#[test]
fn smaller_folios_there_and_back() {
    for variant in LEVELS.into_iter().flat_map(Variant::at) {
        there_and_back(HugeSize::M2, variant, 2);
        there_and_back(HugeSize::M32, variant, 2);
    }
}

/// A folio of 1 GiB frees 4095 of 4096 pages, in eight tables, and gets them back: by rights and equal bytes with both
/// encodings, and by breaks.
#[test]
fn giants_there_and_back() {
    for (hvo, tails) in [
        (HvoStrategy::Alias, TailEncoding::Mask),
        (HvoStrategy::Bbml2, TailEncoding::Pointer),
        (HvoStrategy::Fault, TailEncoding::Mask),
    ] {
        there_and_back(
            HugeSize::G1,
            Variant { hvo, tails, vmemmap: VmemmapMap::Pmd, bbm: BbmLevel::Level2 },
            1,
        );
    }
}

/// A folio of 64 KiB has no page of tails: it stays as it is, in a pool where others are optimised, and is refused with
/// the reason.
#[test]
fn the_smallest_stay_as_they_are() {
    machine(HugeSize::K64).boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::K64, 3).unoptimized, None);
        let head = heads(mm)[0];
        let refused = hvo::optimize_folio(mm, head).unwrap_err();
        assert!(matches!(refused, HvoError::Layout(_)), "{refused}");
        assert_eq!(mm.hugetlb.optimize_free(mm).done, 0);
        assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 0);
    });
}

/// A pool may be mixed: what came while the switch was off is not optimised, goes as it came, and demotes like the
/// rest.
#[test]
fn a_mixed_pool() {
    for variant in Variant::at(BbmLevel::Level0) {
        builder(HugeSize::M32, variant).ram_mib(192).boot(|mm, _| {
            let free = mm.free_page_count();
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M32, 1).persistent, 1);
            mm.hvo.set_switch(mm, Switch::Off).unwrap();
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M32, 2).persistent, 2);
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 1);
            mm.check_all().unwrap();
            assert_eq!(mm.hugetlb.demote(mm, HugeSize::M32, 2).folios, 2);
            assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(32, 32, 0));
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), 0);
            mm.hvo.set_switch(mm, Switch::On).unwrap();
            assert_eq!(mm.hugetlb.optimize_free(mm).done, 32);
            assert_eq!(mm.stats.get(Counter::NrVmemmapFreed), 32 * 7);
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).unrestored, None);
            assert_eq!(mm.free_page_count(), free - mm.hvo.kept_pages(mm));
        });
    }
}

/// An optimised folio becomes optimised ones for a page a head and one on the way, which comes back; by rights nothing is
/// broken. Where tails differ, it is restored first. Every tail leads to the head of its piece then.
#[test]
fn pieces_take_pages_for_their_heads() {
    for variant in LEVELS.into_iter().flat_map(Variant::at) {
        println!("{variant:?}");
        builder(HugeSize::M32, variant).boot(|mm, _| {
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M32, 1).unoptimized, None);
            let (free, head) = (mm.free_page_count() + mm.hvo.kept_pages(mm), heads(mm)[0]);
            let breaks = mm.stats.get(Counter::PteBreak);
            assert_eq!(mm.hugetlb.demote(mm, HugeSize::M32, 1).folios, 1);
            assert_eq!(free - (mm.free_page_count() + mm.hvo.kept_pages(mm)), 15);
            assert_eq!(mm.stats.get(Counter::NrVmemmapFreed), 16 * 7);
            let by_rights = matches!(variant.hvo, HvoStrategy::Alias | HvoStrategy::Bbml2);
            assert_eq!(mm.stats.get(Counter::PteBreak) == breaks, by_rights);
            for n in 0..head.order().pages() {
                let piece = head.nth(n & !511);
                assert_eq!(head.nth(n).head(mm.config.tails), piece, "page {n}");
            }
            mm.check_all().unwrap();
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).unrestored, None);
        });
    }
}

/// Whichever allocation fails on the way to smaller folios, the folio is whole, optimised and in its pool, or wholly
/// divided.
#[test]
fn every_allocation_of_a_division_may_fail() {
    for hvo in [HvoStrategy::Alias, HvoStrategy::Fault] {
        let machine = machine(HugeSize::M32).config(|config| config.hvo = hvo);
        let setup = |mm: &Mm| assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M32, 1).unoptimized, None);
        let failed = fail_every_allocation(&machine, setup, |mm, ()| {
            let outcome = mm.hugetlb.demote(mm, HugeSize::M32, 1);
            mm.check_all().unwrap();
            let (large, small) = (1 - outcome.folios, 16 * outcome.folios);
            assert_eq!(mm.hugetlb.counts(HugeSize::M32), counts(large, large, 0));
            assert_eq!(mm.hugetlb.counts(HugeSize::M2), counts(small, small, 0));
            assert_eq!(mm.stats.get(Counter::NrHvoOptimized), large + small);
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).unrestored, None);
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M32, 0).unrestored, None);
            if outcome.folios == 1 { Ok(()) } else { Err(outcome) }
        });
        assert!(failed >= 4, "{failed}: the relay, the shared page, pages of heads");
    }
}

/// A block that is not to be split leaves its folios as they are, with the reason; once another way has split it, the
/// strategy that breaks nothing goes on from there.
#[test]
fn blocks_that_are_not_split() {
    let choices = |config: &mut mm::config::MmConfig| {
        (config.hvo, config.hvo_split, config.vmemmap) =
            (HvoStrategy::Alias, HvoSplit::Refuse, VmemmapMap::Pmd);
    };
    machine(HugeSize::M2).config(choices).boot(|mm, env| {
        let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, 1);
        let head = heads(mm)[0];
        let va = head.address().add(PAGE_SIZE);
        assert_eq!((grown.persistent, grown.unoptimized), (1, Some(HvoError::Unsplit(va))));
        assert_eq!(
            HvoError::Unsplit(va).to_string(),
            format!("vmemmap at {va} is mapped by a block, and hvo_split=refuse does not split it")
        );
        assert_eq!((env.stops(), env.pauses(), mm.stats.get(Counter::HvoSplitPmd)), (0, 0, 0));
    });
}
