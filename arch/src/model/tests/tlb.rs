//! What may be held, and what makes it leave.

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

/// Maps `pages` pages from `va` on PAGE_A and onwards, and takes the descriptors away.
fn stale(tables: &mut Tables, va: VirtAddr, pages: u64, flags: PteFlags) {
    for n in 0..pages {
        let (va, pa) = (va.add(n * PAGE_SIZE), PAGE_A.add(n * PAGE_SIZE));
        let at = tables.map(va, pa, Level::L3, flags);
        Machine::write_desc(at, Desc::INVALID);
    }
}

/// Which of `pages` pages from `va` may still translate.
fn alive(va: VirtAddr, pages: u64) -> Vec<bool> {
    (0..pages).map(|n| !held(va.add(n * PAGE_SIZE)).is_empty()).collect()
}

/// A translation outlives its descriptor until a flush completes, whether it was used or not.
#[test]
fn stale_until_flushed() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        assert_eq!(held(KVA), [PAGE_A]);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(held(KVA), []);
    });
}

/// What faulted was not held: a first make is seen without any flush.
#[test]
fn faults_are_not_held() {
    with_tables(DESC, |mut tables| {
        tables.at(KVA, Level::L3);
        assert_eq!(read(KVA), GONE);
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(possible(KVA, Access::Read, Privilege::Kernel), [Ok(PAGE_A)]);
    });
}

/// At BBM 1 a block with nT may cost a translation fault (R_MRRPW); to take it away needs the flush.
#[test]
fn nt_blocks_may_fault() {
    let features = Features { bbm: BbmLevel::Level1, ..DESC.features };
    with_tables(MachineDesc { features, ..DESC }, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L2, PteFlags::KERNEL_RW | PteFlags::NT);
        let fault = Err(FaultStatus::Translation(Level::L2));
        assert_eq!(possible(KVA, Access::Read, Privilege::Kernel), [Ok(PAGE_A), fault]);
        Machine::write_desc(at, Desc::INVALID);
        assert_eq!(possible(KVA, Access::Read, Privilege::Kernel), [fault, Ok(PAGE_A)]);
    });
}

/// Before the flush rights are the old ones or the new ones, wider or narrower.
#[test]
fn rights_are_held_too() {
    let write = || possible(KVA, Access::Write, Privilege::Kernel);
    let denied = Err(FaultStatus::Permission(Level::L3));
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RO);
        assert_eq!(write(), [denied]);
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        assert_eq!(write(), [Ok(PAGE_A), denied]);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(write(), [Ok(PAGE_A)]);
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RO);
        assert_eq!(write(), [denied, Ok(PAGE_A)]);
    });
}

/// A TLBI alone removes nothing; the DSB after it does.
#[test]
fn a_tlbi_completes_at_the_dsb() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        Machine::dsb(Dsb::IshSt);
        Machine::tlbi(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(held(KVA), [PAGE_A]);
        Machine::dsb(Dsb::IshSt);
        Machine::dsb(Dsb::Nsh);
        assert_eq!(held(KVA), [PAGE_A], "neither waits for a broadcast");
        Machine::dsb(Dsb::Ish);
        assert_eq!(held(KVA), []);
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
        assert_eq!(held(KVA), []);
    });
}

/// A TLBI that no DSB separates from the store does not remove what was made from it, and is counted.
#[test]
fn a_tlbi_not_ordered_behind_the_store_is_lost() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        Machine::tlbi(leaf_of(KVA), FlushScope::Broadcast);
        Machine::dsb(Dsb::Ish);
        assert_eq!(held(KVA), [PAGE_A]);
        assert_eq!(counters().tlbi_unordered, 1);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(held(KVA), []);
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
        assert_eq!(held(KVA), [PAGE_A]);
    });
}

/// A TLBI that was issued before the store removes nothing of what the store made stale.
#[test]
fn a_tlbi_before_the_store_is_too_early() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        Machine::tlbi(leaf_of(KVA), FlushScope::Broadcast);
        Machine::write_desc(at, Desc::INVALID);
        Machine::dsb(Dsb::Ish);
        assert_eq!(held(KVA), [PAGE_A]);
    });
}

/// Another vCPU's TLB keeps the entry through a local flush and loses it by a broadcast.
#[test]
fn local_flush_stays_local() {
    with_tables(DESC, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        let other = |expected: &'static [PhysAddr]| {
            run_on_cpus(vec![Box::new(|| ()), Box::new(move || assert_eq!(held(KVA), expected))]);
        };
        other(&[PAGE_A]);
        Machine::write_desc(at, Desc::INVALID);
        flush(leaf_of(KVA), FlushScope::Local);
        assert_eq!(held(KVA), []);
        other(&[PAGE_A]);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        other(&[]);
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
        Machine::write_desc(at, Desc::INVALID);
        flush(leaf_of(KVA.add(0x1f_f000)), FlushScope::Broadcast);
        assert_eq!(held(KVA), []);
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
        Machine::write_desc(at, Desc::INVALID);
        flush(range(VirtAddr::new(KVA.raw() - 0x10_0000), 0x100), FlushScope::Broadcast);
        assert_eq!(held(KVA), [PAGE_A]);
        flush(range(KVA.add(0x1f_f000), 0x100), FlushScope::Broadcast);
        assert_eq!(held(KVA), []);
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
        assert_eq!(held(KVA), [PAGE_A]);
        flush(hinted(KVA, Level::L3), FlushScope::Broadcast);
        assert_eq!(held(KVA), []);
    });
    let features = Features { ttl: false, ..DESC.features };
    with_tables(MachineDesc { features, ..DESC }, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        flush(hinted(KVA, Level::L2), FlushScope::Broadcast);
        assert_eq!(held(KVA), []);
    });
}

/// Only a TLBI of all levels removes held tables: until then a walk goes through the table that was taken
/// out.
#[test]
fn tables_are_held_until_all_levels_go() {
    with_tables(DESC, |mut tables| {
        let leaf = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        let parent = tables.at(KVA, Level::L2);
        assert_eq!(held(KVA), [PAGE_A]);
        Machine::write_desc(parent, Desc::INVALID);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(held(KVA), [PAGE_A], "walked again through the held table");
        Machine::write_desc(leaf, Desc::INVALID);
        let all_levels = |level| Tlbi::Va { va: KVA, tag: Tag::AllAsids, depth: Depth::AllLevels, level };
        flush(all_levels(Some(Level::L2)), FlushScope::Broadcast);
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(held(KVA), [], "a hint says that there is no table at its level");
        flush(all_levels(Some(Level::L3)), FlushScope::Broadcast);
        assert_eq!(held(KVA), []);
    });
}

/// A contiguous group below a table that was taken out is held as one entry too, after the table has left the walk
/// cache: also for the address of a member that is not valid.
#[test]
fn a_group_outlives_its_table() {
    with_tables(DESC, |mut tables| {
        let slot = tables.at(KVA, Level::L3);
        let flags = PteFlags::KERNEL_RW | PteFlags::CONTIGUOUS;
        for n in (0..16).filter(|&n| n != 3) {
            Machine::write_desc(slot.add(8 * n), Desc::leaf(PAGE_A.add(n * PAGE_SIZE), Level::L3, flags));
        }
        Machine::write_desc(tables.at(KVA, Level::L2), Desc::INVALID);
        let beside = KVA.add(64 * PAGE_SIZE);
        let op = Tlbi::Va { va: beside, tag: Tag::AllAsids, depth: Depth::AllLevels, level: None };
        flush(op, FlushScope::Broadcast);
        let hole = KVA.add(3 * PAGE_SIZE);
        assert!(held(hole).contains(&PAGE_A.add(3 * PAGE_SIZE)));
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!((held(KVA).len(), held(hole).len(), held(KVA.add(PAGE_SIZE)).len()), (0, 0, 1));
    });
}

/// Where the members of a contiguous group have different rights, each of them may give the rights for all.
#[test]
fn rights_of_a_group_are_those_of_any_member() {
    with_tables(DESC, |mut tables| {
        let flags = PteFlags::KERNEL_RW | PteFlags::CONTIGUOUS;
        for n in 0..16 {
            let rights = if n == 5 { flags | PteFlags::READ_ONLY } else { flags };
            tables.map(KVA.add(n * PAGE_SIZE), PAGE_A.add(n * PAGE_SIZE), Level::L3, rights);
        }
        let outcomes = possible(KVA.add(5 * PAGE_SIZE), Access::Write, Privilege::Kernel);
        assert_eq!(outcomes, [Err(FaultStatus::Permission(Level::L3)), Ok(PAGE_A.add(5 * PAGE_SIZE))]);
    });
}

/// A TLBI by one ASID does not remove what another ASID holds of the kernel's tables, though it does remove
/// global leaves.
#[test]
fn held_kernel_tables_belong_to_an_asid() {
    with_tables(DESC, |mut tables| {
        tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        let parent = tables.at(KVA, Level::L2);
        assert_eq!(held(KVA), [PAGE_A]);
        Machine::write_desc(parent, Desc::INVALID);
        let by = |tag| Tlbi::Va { va: KVA, tag, depth: Depth::AllLevels, level: None };
        flush(by(Tag::Asid(Asid::new(2))), FlushScope::Broadcast);
        assert_eq!(held(KVA), [PAGE_A]);
        flush(by(Tag::AllAsids), FlushScope::Broadcast);
        assert_eq!(held(KVA), []);
    });
}

/// ASIDs keep non-global translations apart, and a TLBI reaches the ASID that it names.
#[test]
fn asids_are_apart() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, UVA, 1, PteFlags::USER_RW);
        let other = TABLES.add(0x80000);
        Machine::set_user_root(Some((other, Asid::new(2))));
        assert_eq!(held(UVA), []);
        Machine::set_user_root(Some((tables.user, Asid::new(1))));
        for asid in [2, 1] {
            assert_eq!(held(UVA), [PAGE_A]);
            let tag = Tag::Asid(Asid::new(asid));
            let op = Tlbi::Va { va: UVA, tag, depth: Depth::LeafOnly, level: None };
            flush(op, FlushScope::Broadcast);
        }
        assert_eq!(held(UVA), []);
    });
}

/// What a vCPU walked before it left a root is still held when it comes back, unless that was flushed: a change
/// that was made meanwhile needs the flush as any other.
#[test]
fn a_root_that_was_left() {
    with_tables(DESC, |mut tables| {
        let own = Some((tables.user, Asid::new(1)));
        let at = tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RW);
        Machine::set_user_root(None);
        Machine::write_desc(at, Desc::INVALID);
        Machine::set_user_root(own);
        assert_eq!(held(UVA), [PAGE_A]);
        flush(leaf_of(UVA), FlushScope::Broadcast);
        assert_eq!(held(UVA), []);
    });
}

/// What was made after a vCPU had left the root, and taken away before it came back, it cannot hold.
#[test]
fn a_root_that_was_not_there() {
    with_tables(DESC, |mut tables| {
        let own = Some((tables.user, Asid::new(1)));
        tables.at(UVA, Level::L3);
        Machine::set_user_root(None);
        let at = tables.map(UVA, PAGE_A, Level::L3, PteFlags::USER_RW);
        Machine::write_desc(at, Desc::INVALID);
        Machine::set_user_root(own);
        assert_eq!(held(UVA), []);
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

/// An ASID may not be given to another root without a flush.
#[test]
#[should_panic(
    expected = "model: vCPU 0 installs root 0x0000000040080000 under ASID 1, which was that of root \
                0x0000000040001000: what it holds of that was never flushed (D8.16.4)"
)]
fn an_asid_reused_without_a_flush() {
    with_tables(DESC, |_| Machine::set_user_root(Some((TABLES.add(0x80000), Asid::new(1)))));
}

/// After a flush by ASID, or of everything, on this vCPU, it may.
#[test]
fn an_asid_reused_after_a_flush() {
    for op in [Tlbi::Asid(Asid::new(1)), Tlbi::All] {
        with_tables(DESC, |_| {
            Machine::set_user_root(None);
            flush(op, FlushScope::Local);
            Machine::set_user_root(Some((TABLES.add(0x80000), Asid::new(1))));
        });
    }
}

/// A flush of another ASID, or while the root is still there, is not one.
#[test]
#[should_panic(expected = "under ASID 1, which was that of root")]
fn an_asid_reused_after_a_flush_too_early() {
    with_tables(DESC, |_| {
        flush(Tlbi::All, FlushScope::Local);
        Machine::set_user_root(None);
        flush(Tlbi::Asid(Asid::new(2)), FlushScope::Local);
        Machine::set_user_root(Some((TABLES.add(0x80000), Asid::new(1))));
    });
}

/// A page and a block for one address: a conflict abort is possible at BBM 1 and 2, and never at 3.
#[test]
fn two_sizes_may_conflict() {
    for (bbm, conflict) in [(BbmLevel::Level1, true), (BbmLevel::Level2, true), (BbmLevel::Level3, false)] {
        let features = Features { bbm, ..DESC.features };
        with_tables(MachineDesc { features, ..DESC }, |mut tables| {
            let nt = if bbm == BbmLevel::Level1 { PteFlags::NT } else { PteFlags::empty() };
            tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
            let parent = tables.at(KVA, Level::L2);
            Machine::write_desc(parent, Desc::INVALID);
            let next = KVA.add(PAGE_SIZE);
            let op = Tlbi::Va { va: next, tag: Tag::AllAsids, depth: Depth::AllLevels, level: None };
            flush(op, FlushScope::Broadcast);
            tables.map(KVA, PAGE_A, Level::L2, PteFlags::KERNEL_RW | nt);
            let outcomes = possible(KVA, Access::Read, Privilege::Kernel);
            assert_eq!(outcomes.contains(&Err(FaultStatus::TlbConflict)), conflict, "{bbm:?}");
            assert!(outcomes.contains(&Ok(PAGE_A)));
        });
    }
}

/// Installing a kernel root flushes this vCPU.
#[test]
fn a_new_kernel_root_flushes() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables, KVA, 1, PteFlags::KERNEL_RW);
        Machine::set_kernel_root(tables.kernel);
        assert_eq!(held(KVA), []);
    });
}

/// Counters count each kind of operation once.
#[test]
fn counters_count() {
    with_tables(DESC, |mut tables| {
        let at = tables.at(KVA, Level::L3);
        let before = counters();
        Machine::write_desc(at, Desc::leaf(PAGE_A, Level::L3, PteFlags::KERNEL_RW));
        flush(leaf_of(KVA), FlushScope::Broadcast);
        flush(Tlbi::All, FlushScope::Local);
        Machine::isb();
        let seen = counters().since(&before);
        assert_eq!([seen.desc_stores, seen.dsb, seen.isb], [1, 4, 1]);
        assert_eq!([seen.tlbi_va, seen.tlbi_all, seen.tlbi_broadcast, seen.tlbi_local], [1, 1, 1, 1]);
    });
}
