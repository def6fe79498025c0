//! What stays in a TLB, and what makes it leave.

use super::super::{counters, run_on_cpus};
use super::*;
use crate::contract::{Depth, MAX_RANGE_PAGES, Tag};
use crate::features::{BbmLevel, Features};

const DESC: MachineDesc = MachineDesc::DEFAULT;
const GONE: Result<PhysAddr, FaultStatus> = Err(FaultStatus::Translation(Level::L3));

/// A TLBI for the page or block around `va`, all ASIDs, leaf only, no hint.
fn leaf_of(va: VirtAddr) -> Tlbi {
    Tlbi::Va { va, tag: Tag::AllAsids, depth: Depth::LeafOnly, level: None }
}

/// As [`leaf_of`], with a level hint.
fn hinted(va: VirtAddr, level: Level) -> Tlbi {
    Tlbi::Va { va, tag: Tag::AllAsids, depth: Depth::LeafOnly, level: Some(level) }
}

/// A TLBI for a range, all ASIDs, leaf only, no hint.
fn range(start: VirtAddr, pages: u64) -> Tlbi {
    Tlbi::Range { start, pages, tag: Tag::AllAsids, depth: Depth::LeafOnly, level: None }
}

/// Maps `pages` pages from `va` on PAGE_A and onwards, uses them, and takes the descriptors away.
fn stale(tables: &mut Tables, va: VirtAddr, pages: u64, flags: PteFlags) {
    for n in 0..pages {
        let (va, pa) = (va.add(n * PAGE_SIZE), PAGE_A.add(n * PAGE_SIZE));
        let at = tables.map(va, pa, Level::L3, flags);
        assert_eq!(probe(va), Ok(pa));
        Machine::write_desc(at, Desc::INVALID);
    }
}

/// Translates with the rights that fit the half.
fn probe(va: VirtAddr) -> Result<PhysAddr, FaultStatus> {
    let privilege = if va.is_user() { Privilege::User } else { Privilege::Kernel };
    Machine::translate(va, Access::Read, privilege)
}

/// Which of `pages` pages from `va` still translate.
fn alive(va: VirtAddr, pages: u64) -> Vec<bool> {
    (0..pages).map(|n| probe(va.add(n * PAGE_SIZE)).is_ok()).collect()
}

/// A used translation outlives its descriptor until a flush completes.
#[test]
fn stale_until_flushed() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(read(KVA), GONE);
    });
}

/// A translation that was never used is not held.
#[test]
fn unused_is_not_held() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        Machine::write_desc(at, Desc::INVALID);
        assert_eq!(read(KVA), GONE);
    });
}

/// What faulted was not held: a first make is seen without any flush.
#[test]
fn faults_are_not_held() {
    with_tables(DESC, |mut tables| {
        tables.at(KVA, Level::L3);
        assert_eq!(read(KVA), GONE);
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
    });
}

/// A block with nT is not held.
#[test]
fn nt_blocks_are_not_held() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L2, PteFlags::KERNEL_RW | PteFlags::NT);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::write_desc(at, Desc::INVALID);
        assert_eq!(read(KVA), Err(FaultStatus::Translation(Level::L2)));
    });
}

/// Wider rights are not seen before the flush, nor are narrower ones.
#[test]
fn rights_are_held_too() {
    let write = || Machine::translate(KVA, Access::Write, Privilege::Kernel);
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RO);
        assert_eq!(write(), Err(FaultStatus::Permission(Level::L3)));
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(write(), Err(FaultStatus::Permission(Level::L3)));
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(write(), Ok(PAGE_A));
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RO);
        assert_eq!(write(), Ok(PAGE_A));
    });
}

/// A TLBI alone removes nothing; the DSB after it does.
#[test]
fn a_tlbi_completes_at_the_dsb() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        Machine::dsb(Dsb::IshSt);
        Machine::tlbi(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::dsb(Dsb::IshSt);
        Machine::dsb(Dsb::Nsh);
        assert_eq!(read(KVA), Ok(PAGE_A), "neither waits for a broadcast");
        Machine::dsb(Dsb::Ish);
        assert_eq!(read(KVA), GONE);
    });
}

/// A local TLBI completes at a DSB NSH.
#[test]
fn a_local_tlbi_completes_at_dsb_nsh() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        Machine::dsb(Dsb::Nsh);
        Machine::tlbi(leaf_of(KVA), FlushScope::Local);
        Machine::dsb(Dsb::Nsh);
        assert_eq!(read(KVA), GONE);
    });
}

/// A TLBI that no DSB separates from the store does not remove what was made from it, and is counted.
#[test]
fn a_tlbi_not_ordered_behind_the_store_is_lost() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        Machine::tlbi(leaf_of(KVA), FlushScope::Broadcast);
        Machine::dsb(Dsb::Ish);
        assert_eq!(read(KVA), Ok(PAGE_A));
        assert_eq!(counters().tlbi_unordered, 1);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(read(KVA), GONE);
        assert_eq!(counters().tlbi_unordered, 1);
    });
}

/// DSB NSH orders a store before local TLBIs, not before broadcasts.
#[test]
fn dsb_nsh_does_not_order_a_broadcast() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        Machine::dsb(Dsb::Nsh);
        Machine::tlbi(leaf_of(KVA), FlushScope::Broadcast);
        Machine::dsb(Dsb::Ish);
        assert_eq!(read(KVA), Ok(PAGE_A));
    });
}

/// What is filled after the TLBI was issued stays: the TLBI may have been done by then.
#[test]
fn a_later_fill_survives() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        Machine::tlbi(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::dsb(Dsb::Ish);
        Machine::write_desc(at, Desc::INVALID);
        assert_eq!(read(KVA), Ok(PAGE_A));
    });
}

/// Another vCPU's TLB keeps the entry through a local flush and loses it by a broadcast.
#[test]
fn local_flush_stays_local() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        let other = |expected| {
            run_on_cpus(vec![Box::new(|| ()), Box::new(move || assert_eq!(read(KVA), expected))]);
        };
        other(Ok(PAGE_A));
        Machine::write_desc(at, Desc::INVALID);
        flush(leaf_of(KVA), FlushScope::Local);
        other(Ok(PAGE_A));
        flush(leaf_of(KVA), FlushScope::Broadcast);
        other(GONE);
    });
}

/// A TLBI by address reaches its own page and not the neighbours.
#[test]
fn by_address_reaches_one_page() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 3, PteFlags::KERNEL_RW);
        flush(leaf_of(KVA.add(PAGE_SIZE + 0xfff)), FlushScope::Broadcast);
        assert_eq!(alive(KVA, 3), [true, false, true]);
    });
}

/// Any address inside a block names the block.
#[test]
fn by_address_anywhere_in_a_block() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L2, PteFlags::KERNEL_RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::write_desc(at, Desc::INVALID);
        flush(leaf_of(KVA.add(0x1f_f000)), FlushScope::Broadcast);
        assert_eq!(read(KVA), Err(FaultStatus::Translation(Level::L2)));
    });
}

/// A range reaches its first and its last page and neither page beside it, however few entries are held.
#[test]
fn a_range_has_exact_edges() {
    for held in [6, 40] {
        with_tables(DESC, |mut tables| {
            stale(&mut tables, KVA, held, PteFlags::KERNEL_RW);
            flush(range(KVA.add(2 * PAGE_SIZE), 3), FlushScope::Broadcast);
            let expected: Vec<_> = (0..held).map(|n| !(2..5).contains(&n)).collect();
            assert_eq!(alive(KVA, held), expected);
        });
    }
}

/// A range that begins inside a block reaches the block; one that ends below it does not.
#[test]
fn a_range_that_touches_a_block() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L2, PteFlags::KERNEL_RW);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::write_desc(at, Desc::INVALID);
        flush(range(VirtAddr::new(KVA.raw() - 0x10_0000), 0x100), FlushScope::Broadcast);
        assert_eq!(read(KVA), Ok(PAGE_A));
        flush(range(KVA.add(0x1f_f000), 0x100), FlushScope::Broadcast);
        assert_eq!(read(KVA), Err(FaultStatus::Translation(Level::L2)));
    });
}

/// The largest range is accepted, one page more is not.
#[test]
#[should_panic(expected = "model: TLBI range of 2097153 pages")]
fn a_range_has_a_limit() {
    with_tables(DESC, |_| {
        Machine::tlbi(range(KVA, MAX_RANGE_PAGES), FlushScope::Broadcast);
        Machine::tlbi(range(KVA, MAX_RANGE_PAGES + 1), FlushScope::Broadcast);
    });
}

/// With FEAT_TTL a wrong level hint removes nothing; without it hints are not looked at.
#[test]
fn a_wrong_level_hint_removes_nothing() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        flush(hinted(KVA, Level::L2), FlushScope::Broadcast);
        assert_eq!(read(KVA), Ok(PAGE_A));
        flush(hinted(KVA, Level::L3), FlushScope::Broadcast);
        assert_eq!(read(KVA), GONE);
    });
    let features = Features { ttl: false, ..DESC.features };
    with_tables(MachineDesc { features, ..DESC }, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        flush(hinted(KVA, Level::L2), FlushScope::Broadcast);
        assert_eq!(read(KVA), GONE);
    });
}

/// Only a TLBI of all levels removes held tables: until then a walk goes through the table that was taken
/// out.
#[test]
fn tables_are_held_until_all_levels_go() {
    with_tables(DESC, |mut tables| {
        let leaf = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        let parent = tables.at(KVA, Level::L2);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::write_desc(parent, Desc::INVALID);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(read(KVA), Ok(PAGE_A), "walked again through the held table");
        Machine::write_desc(leaf, Desc::INVALID);
        let all_levels = |level| Tlbi::Va { va: KVA, tag: Tag::AllAsids, depth: Depth::AllLevels, level };
        flush(all_levels(Some(Level::L2)), FlushScope::Broadcast);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(read(KVA), GONE, "a hint says that there is no table at its level");
        flush(all_levels(Some(Level::L3)), FlushScope::Broadcast);
        assert_eq!(read(KVA), Err(FaultStatus::Translation(Level::L2)));
    });
}

/// A TLBI by one ASID does not remove what another ASID holds of the kernel's tables, though it does remove
/// global leaves.
#[test]
fn held_kernel_tables_belong_to_an_asid() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        let parent = tables.at(KVA, Level::L2);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::write_desc(parent, Desc::INVALID);
        let by = |tag| Tlbi::Va { va: KVA, tag, depth: Depth::AllLevels, level: None };
        flush(by(Tag::Asid(Asid::new(2))), FlushScope::Broadcast);
        assert_eq!(read(KVA), Ok(PAGE_A));
        flush(by(Tag::AllAsids), FlushScope::Broadcast);
        assert_eq!(read(KVA), Err(FaultStatus::Translation(Level::L2)));
    });
}

/// ASIDs keep non-global translations apart, and a TLBI reaches the ASID that it names.
#[test]
fn asids_are_apart() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, UVA, 1, PteFlags::USER_RW);
        let [own, other] = [1, 2].map(|n| Some((tables.user, Asid::new(n))));
        Machine::set_user_root(other);
        assert_eq!(probe(UVA), GONE);
        Machine::set_user_root(own);
        for asid in [2, 1] {
            assert_eq!(probe(UVA), Ok(PAGE_A));
            let tag = Tag::Asid(Asid::new(asid));
            let op = Tlbi::Va { va: UVA, tag, depth: Depth::LeafOnly, level: None };
            flush(op, FlushScope::Broadcast);
        }
        assert_eq!(probe(UVA), GONE);
    });
}

/// A TLBI of an ASID leaves global entries and other ASIDs alone.
#[test]
fn by_asid_spares_global_entries() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, UVA, 1, PteFlags::USER_RW);
        stale(&mut tables, UVA.add(PAGE_SIZE), 1, PteFlags::USER_RW.difference(PteFlags::NOT_GLOBAL));
        flush(Tlbi::Asid(Asid::new(2)), FlushScope::Broadcast);
        assert_eq!(alive(UVA, 2), [true, true]);
        flush(Tlbi::Asid(Asid::new(1)), FlushScope::Broadcast);
        assert_eq!(alive(UVA, 2), [false, true]);
        flush(Tlbi::All, FlushScope::Broadcast);
        assert_eq!(alive(UVA, 2), [false, false]);
    });
}

/// An ASID that is given to another root without a flush brings the old translations along.
#[test]
fn an_asid_reused_without_a_flush() {
    with_tables(DESC, |mut tables| {
        tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RW);
        assert_eq!(probe(UVA), Ok(PAGE_A));
        let empty = TABLES.add(0x80000);
        Machine::set_user_root(Some((empty, Asid::new(1))));
        assert_eq!(probe(UVA), Ok(PAGE_A));
        flush(Tlbi::Asid(Asid::new(1)), FlushScope::Local);
        assert_eq!(probe(UVA), Err(FaultStatus::Translation(Level::L0)));
    });
}

/// A page and a block held for one address conflict below BBM 2; from there on one of the two is used.
#[test]
fn two_sizes_conflict_below_bbm_2() {
    for (bbm, expected) in [
        (BbmLevel::Level0, Err(FaultStatus::TlbConflict)),
        (BbmLevel::Level1, Err(FaultStatus::TlbConflict)),
        (BbmLevel::Level2, Ok(PAGE_A)),
        (BbmLevel::Level3, Ok(PAGE_A)),
    ] {
        let features = Features { bbm, ..DESC.features };
        with_tables(MachineDesc { features, ..DESC }, |mut tables| {
            tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RW);
            assert_eq!(probe(UVA), Ok(PAGE_A));
            // The block stands in another root, which then takes over the ASID: no single store is at
            // fault.
            tables.user = TABLES.add(0x80000);
            tables.map(UVA, PAGE_B, Level::L2, PteFlags::USER_RW);
            Machine::set_user_root(Some((tables.user, Asid::new(1))));
            let next = UVA.add(PAGE_SIZE);
            flush(
                Tlbi::Va { va: next, tag: Tag::AllAsids, depth: Depth::AllLevels, level: None },
                FlushScope::Broadcast,
            );
            assert_eq!(probe(next), Ok(PAGE_B.add(PAGE_SIZE)));
            assert_eq!(probe(UVA), expected);
        });
    }
}

/// Installing a kernel root flushes this vCPU.
#[test]
fn a_new_kernel_root_flushes() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        Machine::set_kernel_root(tables.kernel);
        assert_eq!(read(KVA), GONE);
    });
}

/// Counters count each kind of operation once.
#[test]
fn counters_count() {
    with_tables(DESC, |mut tables| {
        let before = counters();
        let at = tables.at(KVA, Level::L3);
        Machine::write_desc(at, Desc::leaf(PAGE_A, Level::L3, PteFlags::KERNEL_RW));
        flush(leaf_of(KVA), FlushScope::Broadcast);
        flush(Tlbi::All, FlushScope::Local);
        Machine::isb();
        let seen = counters().since(&before);
        assert_eq!([seen.desc_stores, seen.dsb, seen.isb], [4, 4, 1]);
        assert_eq!([seen.tlbi_va, seen.tlbi_all, seen.tlbi_broadcast, seen.tlbi_local], [1, 1, 1, 1]);
    });
}
