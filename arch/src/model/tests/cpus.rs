//! Virtual CPUs: who the calling thread is, interrupt masks, several at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::{irqs_masked, run_as, run_on_cpus};
use super::*;
use crate::contract::{Cpu, CpuId};
use crate::sync::{Rank, SpinLock};

const DESC: MachineDesc = MachineDesc { cpus: 4, ..MachineDesc::DEFAULT };

/// Each job is the vCPU of its place in the list.
#[test]
fn jobs_are_cpus() {
    with_machine(DESC, || {
        let job = |n| -> super::super::Job<'_> { Box::new(move || assert_eq!(Machine::id(), CpuId::new(n))) };
        run_on_cpus((0..4).map(job).collect());
        assert_eq!(Machine::id(), CpuId::BOOT);
    });
}

/// A spinlock excludes vCPUs that run at once, with and without a seed.
#[test]
fn a_spinlock_excludes() {
    for seed in [0, 1] {
        with_machine(MachineDesc { seed, ..DESC }, || {
            let lock = SpinLock::new(Rank(1), 0u64);
            let job = || -> super::super::Job<'_> { Box::new(|| (0..1000).for_each(|_| *lock.lock() += 1)) };
            run_on_cpus((0..4).map(|_| job()).collect());
            assert_eq!(*lock.lock(), 4000);
        });
    }
}

/// Masks nest, and belong to their vCPU.
#[test]
fn interrupt_masks_nest() {
    with_machine(DESC, || {
        assert!(!irqs_masked());
        let outer = Machine::mask_irqs();
        let inner = Machine::mask_irqs();
        run_on_cpus(vec![Box::new(|| assert!(irqs_masked())), Box::new(|| assert!(!irqs_masked()))]);
        Machine::restore_irqs(inner);
        assert!(irqs_masked());
        Machine::restore_irqs(outer);
        assert!(!irqs_masked());
    });
}

/// A panic on one vCPU ends another that waits for it, and is the one that the test sees.
#[test]
#[should_panic(expected = "the first failure")]
fn one_panic_ends_all() {
    with_machine(DESC, || {
        let never = AtomicBool::new(false);
        run_on_cpus(vec![
            Box::new(|| {
                while !never.load(Ordering::Relaxed) {
                    Machine::relax();
                }
            }),
            Box::new(|| panic!("the first failure")),
        ]);
    });
}

/// A vCPU that spins while no other runs is told so.
#[test]
#[should_panic(expected = "model: vCPU 0 spins for ever")]
fn a_lonely_spin_ends() {
    with_machine(DESC, || {
        loop {
            Machine::relax();
        }
    });
}

/// A machine has the vCPUs it was described with.
#[test]
#[should_panic(expected = "model: no vCPU 4 on a machine of 4")]
fn no_such_vcpu() {
    with_machine(DESC, || run_as(CpuId::new(4), || ()));
}

/// A thread outside every machine is told what to do.
#[test]
#[should_panic(expected = "model: this thread is no vCPU of any machine")]
fn outside_every_machine() {
    let _id = Machine::id();
}

/// A further vCPU starts with the boot CPU's kernel root.
#[test]
fn a_secondary_inherits_the_kernel_root() {
    with_tables(DESC, |tables| {
        run_on_cpus(vec![Box::new(|| ()), Box::new(|| assert_eq!(Machine::kernel_root(), tables.kernel))]);
    });
}

/// Readers on other vCPUs see either the old or the new page of a break-before-make or a fault, and never the
/// old one once the flush has completed.
#[test]
fn remap_under_readers() {
    with_tables(MachineDesc { seed: 7, ..DESC }, |mut tables| {
        let at = tables.map(KVA, PAGE_A, Level::L3, PteFlags::KERNEL_RW);
        let (flushed, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let pages = [PAGE_A, PAGE_B];
        let reader = || {
            while !stop.load(Ordering::Acquire) {
                let round = flushed.load(Ordering::Acquire);
                let seen = read(KVA);
                if flushed.load(Ordering::Acquire) == round {
                    let stale = pages[(round as usize + 1) % 2];
                    assert!(round == 0 || seen != Ok(stale), "round {round}: {seen:?}");
                }
            }
        };
        let writer = || {
            for round in 1..200 {
                Machine::write_desc(at, Desc::INVALID);
                flush(Tlbi::All, FlushScope::Broadcast);
                flushed.store(round, Ordering::Release);
                let page = pages[round as usize % 2];
                Machine::write_desc(at, Desc::leaf(page, Level::L3, PteFlags::KERNEL_RW));
                Machine::dsb(Dsb::IshSt);
                while read(KVA) != Ok(page) {
                    Machine::relax();
                }
            }
            stop.store(true, Ordering::Release);
        };
        run_on_cpus(vec![Box::new(writer), Box::new(reader), Box::new(reader), Box::new(reader)]);
    });
}
