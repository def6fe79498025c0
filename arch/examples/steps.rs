//! How fast the model is: steps and switches per second of four virtual CPUs that contend for a lock and look
//! through page tables, and runs per second of an exploration.
//!
//! ```text
//! cargo run --release -p arch --example steps
//! ```

use std::time::Instant;

use arch::contract::{Access, Cpu, Dsb, FlushScope, Mmu, PhysMem, Tlbi};
use arch::model::{Bounds, Job, MachineDesc, explore, run_on_cpus, steps, with_machine};
use arch::pte::{Desc, PteFlags};
use arch::sync::{Rank, SpinLock};
use arch::{Level, Machine, PhysAddr, VirtAddr};

const DESC: MachineDesc = MachineDesc { cpus: 4, ..MachineDesc::DEFAULT };
const VA: VirtAddr = VirtAddr::new(0xffff_9000_0020_0000);
const ROOT: PhysAddr = MachineDesc::DEFAULT.ram_base;
const PAGE: PhysAddr = ROOT.add(16 << 20);

/// Installs tables for [`VA`]; returns where its entry stands.
fn tables() -> PhysAddr {
    let table = |n: u64| ROOT.add(n * 4096);
    let at = |n: u64, level| table(n).add(8 * VA.index(level) as u64);
    for (n, level) in [(0, Level::L0), (1, Level::L1), (2, Level::L2)] {
        Machine::write_desc(at(n, level), Desc::table(table(n + 1)));
    }
    Machine::dsb(Dsb::IshSt);
    Machine::set_kernel_root(ROOT);
    at(3, Level::L3)
}

/// Maps and unmaps under a lock, and accesses what is mapped.
fn work(lock: &SpinLock<()>, at: PhysAddr, rounds: u64) {
    for _ in 0..rounds {
        let _guard = lock.lock();
        Machine::write_desc(at, Desc::leaf(PAGE, Level::L3, PteFlags::KERNEL_RW));
        Machine::dsb(Dsb::IshSt);
        Machine::isb();
        Machine::kernel_access(VA, Access::Read);
        Machine::write_desc(at, Desc::INVALID);
        Machine::dsb(Dsb::IshSt);
        Machine::tlbi(Tlbi::All, FlushScope::Broadcast);
        Machine::dsb(Dsb::Ish);
    }
}

fn contend(cpus: usize, job: &(dyn Fn() + Sync)) {
    run_on_cpus((0..cpus).map(|_| -> Job<'_> { Box::new(job) }).collect());
}

fn report(what: &str, run: impl FnOnce()) {
    with_machine(DESC, || {
        let begun = Instant::now();
        run();
        let (seconds, made) = (begun.elapsed().as_secs_f64(), steps());
        let per_second = |n: u64| n as f64 / seconds / 1e6;
        println!(
            "{what}: {:.1} million steps/s, {:.1} million switches/s",
            per_second(made.steps),
            per_second(made.switches)
        );
    });
}

fn main() {
    report("marks", || contend(4, &|| (0..2_000_000).for_each(|_| Machine::interleave())));
    report("spins", || contend(4, &|| (0..30_000).for_each(|_| Machine::relax())));
    report("maps", || {
        let (lock, at) = (SpinLock::new(Rank(1), ()), tables());
        contend(4, &|| work(&lock, at, 20_000));
    });
    let begun = Instant::now();
    let explored = explore(DESC, Bounds { switches: 2, runs: 20_000 }, || {
        let (lock, at) = (SpinLock::new(Rank(1), ()), tables());
        contend(2, &|| work(&lock, at, 1));
    });
    let per_second = explored.runs as f64 / begun.elapsed().as_secs_f64();
    println!("exploration: {per_second:.0} runs/s; {explored:?}");
}
