//! Starting the other CPUs, one after another.

use core::sync::atomic::{AtomicU32, Ordering};

use arch::aarch64::gic::Affinity;
use arch::aarch64::percpu::{STACK_BYTES, STACK_PAGES, set_emergency_stack};
use arch::aarch64::{boot, probe};
use arch::contract::{Cpu, CpuId, MAX_CPUS};
use arch::{Machine, Mmu, VirtAddr};
use mm::Mm;

use crate::dt::Platform;
use crate::{irq, println, sched, stop, time};

/// How long a CPU may take from its start to [`further_cpu`]'s answer.
const PATIENCE_NS: u64 = 2_000_000_000;

/// What the CPU that is being started has said.
static ANSWER: AtomicU32 = AtomicU32::new(NONE);
const NONE: u32 = 0;
const ONLINE: u32 = 1;
const LACKS_FEATURES: u32 = 2;
const NO_INTERRUPTS: u32 = 3;

/// Starts every CPU of the device tree but this one. One that cannot be used is reported and stays off.
pub fn start_others(mm: &Mm, platform: &Platform) {
    if platform.cpus_left_off > 0 {
        println!("warning: {} CPUs stay off: at most {MAX_CPUS} are used", platform.cpus_left_off);
    }
    let others = platform.cpus.iter().filter(|&&affinity| affinity != Affinity::this_cpu());
    for (index, &affinity) in others.enumerate().take(MAX_CPUS - 1) {
        let cpu = CpuId::new(index + 1);
        if let Err(why) = start(mm, platform, cpu, affinity) {
            println!("error: CPU {cpu} ({:#x}) stays off: {why}", affinity.raw());
        }
    }
    give_emergency_stack(mm, CpuId::BOOT);
}

/// Stack overflows of `cpu` are reported on a stack with a guard page of its own.
fn give_emergency_stack(mm: &Mm, cpu: CpuId) {
    if let Some(top) = new_stack(mm) {
        set_emergency_stack(cpu, top);
    }
}

/// The top of a new kernel stack.
fn new_stack(mm: &Mm) -> Option<VirtAddr> {
    mm.alloc_stack(STACK_PAGES).ok().map(|base| base.add(STACK_BYTES))
}

fn start(mm: &Mm, platform: &Platform, cpu: CpuId, affinity: Affinity) -> Result<(), &'static str> {
    let (stack, emergency) = new_stack(mm).zip(new_stack(mm)).ok_or("no memory for its stacks")?;
    set_emergency_stack(cpu, emergency);
    sched::make_stopper(cpu).map_err(|_| "no memory for its stopper")?;
    ANSWER.store(NONE, Ordering::Relaxed);
    boot::start_cpu(platform.conduit, affinity, cpu, stack, further_cpu)
        .map_err(|_| "the firmware does not start it")?;
    let until = time::now_ns() + PATIENCE_NS;
    loop {
        match ANSWER.load(Ordering::Acquire) {
            ONLINE => return Ok(()),
            LACKS_FEATURES => return Err("it lacks features of the first CPU"),
            NO_INTERRUPTS => return Err("its interrupt controller cannot be used"),
            _ if time::now_ns() > until => return Err("it does not answer"),
            _ => Machine::relax(),
        }
    }
}

/// The first Rust code of a further CPU, on its own stack and the final tables, interrupts masked.
extern "C" fn further_cpu() -> ! {
    boot::init_further_cpu();
    let features = Machine::features();
    let answer = if features.meet(probe()) != features {
        LACKS_FEATURES
    } else if irq::init_this_cpu().is_err() {
        NO_INTERRUPTS
    } else {
        stop::join();
        ONLINE
    };
    ANSWER.store(answer, Ordering::Release);
    if answer != ONLINE {
        Machine::halt();
    }
    Machine::unmask_irqs();
    sched::idle_loop()
}
