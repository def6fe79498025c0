//! The suite `kernel`: the allocator, stopping the machine, HVO, and whole programs, measured within the kernel.

use arch::Order;
use mm::Mm;
use mm::page::{PageKind, PageRef};
use mm::{hvo, stats::Counter};

use super::End;
use crate::{println, process, time};

const ROUNDS: usize = 15;

/// Prints every row.
pub(super) fn run(mm: &'static Mm, _: &[&str]) -> End {
    measure("alloc_free_4k", || {
        if let Ok(page) = mm.alloc_pages(Order::PAGE, PageKind::Kernel) {
            mm.free_pages(page, Order::PAGE);
        }
    });
    measure("alloc_free_2m", || {
        if let Ok(block) = mm.alloc_pages(Order::PMD, PageKind::Kernel) {
            mm.free_pages(block, Order::PMD);
        }
    });
    measure("stop_machine", || mm.env.stop_machine(&mut || ()));
    measure_hvo(mm);
    measure_program(mm, "run_hello", &["hello"]);
    // 512 writes to a reservation, one promotion.
    measure_program(mm, "run_walka", &["walka"]);
    End::Complete
}

/// Times `work` and prints its rows.
fn measure(name: &str, mut work: impl FnMut()) {
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let began = time::now_ns();
        work();
        times.add(time::now_ns() - began);
    }
    times.print(name);
}

/// Of a series: how many, their sum, the shortest, all in ns.
struct Times {
    count: u64,
    sum: u64,
    min: u64,
}

impl Default for Times {
    fn default() -> Self {
        Times { count: 0, sum: 0, min: u64::MAX }
    }
}

impl Times {
    fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum += ns;
        self.min = self.min.min(ns);
    }

    fn print(&self, name: &str) {
        if self.count > 0 {
            println!("{name} {} ns", self.sum / self.count);
            println!("{name}.min {} ns", self.min);
        }
    }
}

/// A folio as it lies in the pool, optimised and restored.
fn measure_hvo(mm: &'static Mm) {
    let Ok(head) = mm.alloc_pages(Order::PMD, PageKind::Hugetlb) else { return };
    head.prep_compound(PageKind::Hugetlb, Order::PMD, mm.config.tails);
    if head.freeze(1) {
        let (mut there, mut back) = (Times::default(), Times::default());
        if (0..ROUNDS).all(|_| round_trip(mm, *head, &mut there, &mut back)) {
            there.print("hvo_optimise_2m");
            back.print("hvo_restore_2m");
        }
    }
    mm.free_pages(head, Order::PMD);
}

/// Whether HVO went there and back.
fn round_trip(mm: &Mm, head: PageRef, there: &mut Times, back: &mut Times) -> bool {
    let began = time::now_ns();
    let optimized = hvo::optimize_folio(mm, head).is_ok();
    let between = time::now_ns();
    let restored = optimized && hvo::restore_folio(mm, head).is_ok();
    there.add(between - began);
    back.add(time::now_ns() - between);
    restored
}

/// Runs a program once and prints how long that took and how many faults it had.
fn measure_program(mm: &Mm, name: &str, args: &[&str]) {
    let (began, faults) = (time::now_ns(), mm.stats.get(Counter::PgFault));
    let Ok(process) = process::run(args[0], args, Some(|_, _| ())) else { return };
    let status = process.wait();
    let (took, faults) = (time::now_ns() - began, mm.stats.get(Counter::PgFault) - faults);
    println!("{name} {took} ns");
    println!("{name}_faults {faults} count");
    if status.shell_code() != 0 {
        println!("error: {}: {status}", args[0]);
    }
}
