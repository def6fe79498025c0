//! What things cost on this machine.
//!
//! Each measure runs the same work a number of times and prints the shortest and the median time. Under `make bench` the
//! virtual counter counts guest instructions, so the figures are the same at each run.
#![forbid(unsafe_code)]

use arch::Order;
use mm::Mm;
use mm::page::{PageKind, PageRef};
use mm::{hvo, stats::Counter};

use crate::{println, process, time};

const ROUNDS: usize = 15;

/// Prints every figure.
pub fn run(mm: &'static Mm) {
    println!("bench: ns, shortest and median of {ROUNDS}");
    measure("alloc and free one page", || {
        if let Ok(page) = mm.alloc_pages(Order::PAGE, PageKind::Kernel) {
            mm.free_pages(page, Order::PAGE);
        }
    });
    measure("alloc and free 2 MiB", || {
        if let Ok(block) = mm.alloc_pages(Order::PMD, PageKind::Kernel) {
            mm.free_pages(block, Order::PMD);
        }
    });
    measure("stop the machine", || mm.env.stop_machine(&mut || ()));
    measure_hvo(mm);
    measure_program(mm, "run hello", &["hello"]);
    measure_program(mm, "walka: 512 writes, one promotion", &["walka"]);
}

/// Times `work` and prints the figures.
fn measure(what: &str, mut work: impl FnMut()) {
    let mut times = [0; ROUNDS];
    for slot in &mut times {
        let began = time::now_ns();
        work();
        *slot = time::now_ns() - began;
    }
    print_times(what, &mut times);
}

fn print_times(what: &str, times: &mut [u64; ROUNDS]) {
    times.sort_unstable();
    println!("    {what:<36} {:>10} {:>10}", times[0], times[ROUNDS / 2]);
}

/// A folio as it lies in the pool, optimised and restored.
fn measure_hvo(mm: &'static Mm) {
    let Ok(head) = mm.alloc_pages(Order::PMD, PageKind::Hugetlb) else { return };
    head.prep_compound(PageKind::Hugetlb, Order::PMD, mm.config.tails);
    if head.freeze(1) {
        let (mut there, mut back) = ([0; ROUNDS], [0; ROUNDS]);
        let done = there.iter_mut().zip(&mut back).all(|(there, back)| round_trip(mm, *head, there, back));
        if done {
            print_times("HVO: optimise a folio", &mut there);
            print_times("HVO: restore it", &mut back);
        }
    }
    mm.free_pages(head, Order::PMD);
}

/// Whether HVO went there and back.
fn round_trip(mm: &Mm, head: PageRef, there: &mut u64, back: &mut u64) -> bool {
    let began = time::now_ns();
    let optimized = hvo::optimize_folio(mm, head).is_ok();
    let between = time::now_ns();
    let restored = optimized && hvo::restore_folio(mm, head).is_ok();
    (*there, *back) = (between - began, time::now_ns() - between);
    restored
}

/// Runs a program once and prints how long that took and how many faults.
fn measure_program(mm: &Mm, what: &str, args: &[&str]) {
    let (began, faults) = (time::now_ns(), mm.stats.get(Counter::PgFault));
    let Ok(process) = process::run(args[0], args, Some(|_, _| ())) else { return };
    let status = process.wait();
    let (took, faults) = (time::now_ns() - began, mm.stats.get(Counter::PgFault) - faults);
    println!("    {what:<36} {took:>10}            {faults} faults, {status}");
}
