//! A walker that is caught between reading a count and swapping it, while the page becomes a read-only tail.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::contract::Cpu;
use arch::model::{Job, MachineDesc, run_on_cpus, stop_others, with_machine};
use arch::{Machine, Order, Pfn};
use mm::Mm;
use mm::boot::{BootMem, PhysRange};
use mm::config::{MmConfig, TailEncoding, VmemmapMap};
use mm::env::{KernelEnv, Killed, SpawnError};
use mm::hugetlb::HugeSize;
use mm::page::{FolioRef, PageKind};
use mm::steps::Step;

/// Times that the walker is held somewhere, at least.
const ROUNDS: usize = 8;

thread_local!(static STOPPED: Cell<bool> = const { Cell::new(false) });

/// A kernel whose machine may be stopped for longer than one remap, so that a walker that was held before the
/// page was even freed goes on when its struct page is read-only: on the machine, a long-winded interrupt.
struct Env;

impl Env {
    fn long_stop(&self, f: &mut dyn FnMut()) {
        stop_others(&mut || {
            STOPPED.set(true);
            f();
            STOPPED.set(false);
        });
    }
}

impl KernelEnv for Env {
    fn online_cpus(&self) -> usize {
        2
    }
    fn stop_machine(&self, f: &mut dyn FnMut()) {
        if STOPPED.get() { f() } else { stop_others(f) }
    }
    fn pause_others(&self, f: &mut dyn FnMut()) {
        if STOPPED.get() { f() } else { stop_others(f) }
    }
    fn grace_period(&self) {}
    fn run_on_each_cpu(&self, _: &(dyn Fn() + Sync)) {
        unreachable!("nothing here needs every CPU")
    }
    fn park(&self, _: usize, _: &dyn Fn() -> bool) {
        Machine::relax();
    }
    fn park_killable(&self, _: usize, _: &dyn Fn() -> bool) -> Result<(), Killed> {
        Machine::relax();
        Ok(())
    }
    fn park_until(&self, _: usize, _: u64, _: &dyn Fn() -> bool) {
        Machine::relax();
    }
    fn unpark_all(&self, _: usize) {}
    fn spawn(&self, _: &'static str, _: fn(&Mm)) -> Result<(), SpawnError> {
        Err(SpawnError)
    }
    fn now_ns(&self) -> u64 {
        0
    }
    fn at_step(&self, _: &Step) {}
}

/// 512 single pages of one aligned block, each with one reference.
fn singles(mm: &Mm) -> Vec<FolioRef> {
    let block = mm.alloc_pages(Order::PMD, PageKind::Kernel).unwrap();
    mm.split_page(block, Order::PMD).collect()
}

/// The walker is held anywhere; meanwhile the page that it is about to take a reference to is freed, becomes
/// the tail of a hugetlb folio, and the folio is optimised. When it goes on, it must not store to what is
/// read-only now, whichever the encoding and whether or not the struct page stands where a fake head appears.
#[test]
fn a_held_walker_does_not_write_to_a_tail() {
    for &tails in TailEncoding::ALL {
        for tail in [100, 128] {
            let desc = MachineDesc { ram_bytes: 24 << 20, seed: 7, ..MachineDesc::DEFAULT };
            with_machine(desc, || race(tails, tail, desc));
        }
    }
}

fn race(tails: TailEncoding, tail: usize, desc: MachineDesc) {
    let ram = [PhysRange { start: desc.ram_base, end: desc.ram_base.add(desc.ram_bytes) }];
    let boot = BootMem { ram: &ram, reserved: &[], image: &[], mapped: ram[0] };
    let config = MmConfig { tails, vmemmap: VmemmapMap::Pte, ..MmConfig::default() };
    let mm = &Mm::boot(&boot, config, &Env).unwrap();
    let (target, stop) = (&AtomicU64::new(0), &AtomicBool::new(false));
    let walker = move || {
        while !stop.load(Ordering::Acquire) {
            match target.load(Ordering::Acquire) {
                0 => Machine::relax(),
                pfn => mm.try_get_folio(Pfn::new(pfn)).into_iter().for_each(|head| mm.put_folio(head)),
            }
        }
    };
    let stopper = move || {
        // The block of single pages comes to hold struct pages of others for good, so every round leaves one less.
        for round in 0.. {
            let mut taken = 0;
            let mut singles = singles(mm);
            target.store(singles[tail].pfn().raw(), Ordering::Release);
            (0..200).for_each(|_| Machine::relax());
            Env.long_stop(&mut || {
                singles.drain(..).for_each(|page| mm.free_pages(page, Order::PAGE));
                mm.drain_cpu_lists();
                taken = mm.hugetlb.set_nr(mm, HugeSize::M2, u64::MAX).persistent;
            });
            (0..50).for_each(|_| Machine::relax());
            target.store(0, Ordering::Release);
            assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
            mm.drain_cpu_lists();
            if taken == 0 {
                assert!(round >= ROUNDS, "the pool had something in {round} rounds");
                break;
            }
        }
        stop.store(true, Ordering::Release);
    };
    let jobs: Vec<Job<'_>> = vec![Box::new(stopper), Box::new(walker)];
    run_on_cpus(jobs);
    mm.check_all().unwrap_or_else(|wrong| panic!("{wrong}"));
}
