//! What stays in a TLB, and what makes it leave.

use super::super::run_on_cpus;
use super::*;
use crate::contract::{Depth, Tag};

const DESC: MachineDesc = MachineDesc::DEFAULT;

/// A TLBI for the page or block around `va`, all ASIDs, leaf only, no hint.
fn leaf_of(va: VirtAddr) -> Tlbi {
    Tlbi::Va { va, tag: Tag::AllAsids, depth: Depth::LeafOnly, level: None }
}

/// Maps KVA to PAGE_A, uses it, and takes the descriptor away without a flush.
fn stale(tables: &mut Tables) -> PhysAddr {
    let at = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
    assert_eq!(read(KVA), Ok(PAGE_A));
    Machine::write_desc(at, Desc::INVALID);
    at
}

/// A used translation outlives its descriptor until a flush completes.
#[test]
fn stale_until_flushed() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables);
        assert_eq!(read(KVA), Ok(PAGE_A));
        flush(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(read(KVA), Err(FaultStatus::Translation(Level::L3)));
    });
}

/// A TLBI alone removes nothing; the DSB after it does.
#[test]
fn a_tlbi_completes_at_the_dsb() {
    with_tables(DESC, |mut tables| {
        stale(&mut tables);
        Machine::dsb(Dsb::IshSt);
        Machine::tlbi(leaf_of(KVA), FlushScope::Broadcast);
        assert_eq!(read(KVA), Ok(PAGE_A));
        Machine::dsb(Dsb::Ish);
        assert!(read(KVA).is_err());
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
        other(Err(FaultStatus::Translation(Level::L3)));
    });
}
