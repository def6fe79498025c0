//! `kernel`: the allocator, stopping the machine, HVO, fork, many VMAs, and whole programs, measured within
//! the kernel.

use core::hint::black_box;

use arch::addr::PAGE_SIZE;
use arch::{Order, VirtAddr};
use mm::Mm;
use mm::config::ThpMode;
use mm::page::{PageKind, PageRef};
use mm::space::{Advice, MapProt, MmapRequest};
use mm::trace::Point;
use mm::{hvo, stats::Counter};

use super::Run;
use super::times::Times;
use crate::process::{self, Observer};
use crate::time;

const ROUNDS: usize = 15;
/// Where a block is mapped that is cut.
const BLOCK: u64 = 0x4000_0000;

/// Prints every row.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    measure(run, "alloc_free_4k", || {
        if let Ok(page) = mm.alloc_pages(Order::PAGE, PageKind::Kernel) {
            mm.free_pages(page, Order::PAGE);
        }
    });
    measure(run, "alloc_free_2m", || {
        if let Ok(block) = mm.alloc_pages(Order::PMD, PageKind::Kernel) {
            mm.free_pages(block, Order::PMD);
        }
    });
    measure_point(mm, run);
    measure(run, "stop_machine", || mm.env.stop_machine(&mut || ()));
    measure_hvo(mm, run);
    measure_fork(mm, run);
    measure_groups(mm, run);
    super::vmas::run(mm, run);
    measure_program(mm, run, "run_hello", &["hello"]);
    // 512 writes to a reservation, one promotion.
    measure_program(mm, run, "run_walka", &["walka"]);
    Some(())
}

/// What a tracepoint costs that is off: a loop with one, and the same without. A point that counts costs its counter
/// beside that, which would be there without the point too.
fn measure_point(mm: &'static Mm, run: &mut Run<'_>) {
    const TURNS: u64 = 1000;
    let turns = |turn: &dyn Fn(u64)| {
        let mut least = u64::MAX;
        for _ in 0..ROUNDS {
            let began = time::now_ns();
            turn(TURNS);
            least = least.min(time::now_ns() - began);
        }
        least
    };
    let without = turns(&|turns| {
        (0..turns).for_each(|n| {
            black_box(n);
        })
    });
    let with = turns(&|turns| {
        (0..turns).for_each(|n| {
            mm.stats.note(Point::Make, 1, || [n, 0, 0, 0]);
            black_box(n);
        });
    });
    run.line(format_args!("loop_1000 {without} ns"));
    run.line(format_args!("loop_1000_point_off {with} ns"));
}

/// Times `work` and prints its rows.
fn measure(run: &mut Run<'_>, name: &str, mut work: impl FnMut()) {
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        let began = time::now_ns();
        work();
        times.add(time::now_ns() - began);
    }
    times.say(name, run);
}

/// Pages of the space that forks.
const FORK_PAGES: u64 = 4096;

/// Sharing the pages of a space, the end of the child, and the parent's writes afterwards, in ns a page of 4 KiB;
/// nothing of it is a block.
fn measure_fork(mm: &'static Mm, run: &mut Run<'_>) {
    let Ok(parent) = mm.new_space() else { return };
    let (mut fork, mut end, mut copy, mut reuse) =
        (Times::default(), Times::default(), Times::default(), Times::default());
    let request = MmapRequest::anonymous(FORK_PAGES * PAGE_SIZE, MapProt::READ | MapProt::WRITE);
    if let Ok(start) = mm.mmap(&parent, &request) {
        let write = |times: &mut Times, at: VirtAddr| {
            let began = time::now_ns();
            let written =
                (0..FORK_PAGES).all(|n| mm.write_user(&parent, at.add(n * PAGE_SIZE), &[1]).is_ok());
            times.add((time::now_ns() - began) / FORK_PAGES);
            written
        };
        let no_blocks = mm.madvise(&parent, start.raw(), FORK_PAGES * PAGE_SIZE, Advice::NoHugePage);
        if no_blocks.is_ok() && write(&mut Times::default(), start) {
            for round in 0..ROUNDS {
                let began = time::now_ns();
                let Ok(child) = mm.fork_space(&parent) else { break };
                fork.add((time::now_ns() - began) / FORK_PAGES);
                if round % 3 == 0 {
                    write(&mut copy, start);
                }
                let began = time::now_ns();
                mm.destroy_space(&child);
                end.add((time::now_ns() - began) / FORK_PAGES);
                if round % 3 == 1 {
                    write(&mut reuse, start);
                }
            }
        }
    }
    mm.destroy_space(&parent);
    fork.say("fork_share_4k", run);
    end.say("fork_end_4k", run);
    copy.say("cow_copy_4k", run);
    reuse.say("cow_reuse_4k", run);
}

/// What mprotect of 64 KiB and of its first page costs: where the 16 entries are one contiguous group, and where they
/// are not. Each row beside its time has its stores to descriptors and its TLBI operations.
fn measure_groups(mm: &'static Mm, run: &mut Run<'_>) {
    const GROUP: u64 = 16 * PAGE_SIZE;
    let rw = MapProt::READ | MapProt::WRITE;
    let mode = mm.thp.mode();
    mm.thp.set_mode(ThpMode::Always);
    let rows = [
        ("mprotect_64k_folded", false, GROUP),
        ("mprotect_64k_plain", true, GROUP),
        ("mprotect_4k_folded", false, PAGE_SIZE),
        ("mprotect_4k_plain", true, PAGE_SIZE),
    ];
    for (name, plain, bytes) in rows {
        let (mut times, mut counts) = (Times::default(), [0; 2]);
        let Ok(space) = mm.new_space() else { break };
        let request = MmapRequest::anonymous(2 << 20, rw).fixed(BLOCK);
        let ready = mm.mmap(&space, &request).is_ok()
            && mm.write_user(&space, VirtAddr::new(BLOCK), &[1]).is_ok()
            && mm.mprotect(&space, BLOCK + GROUP * 31, PAGE_SIZE, MapProt::READ).is_ok();
        for group in (0..30).filter(|_| ready) {
            let at = BLOCK + group * GROUP;
            // A part that changes leaves the group plain.
            let cut = |prot| mm.mprotect(&space, at + PAGE_SIZE, PAGE_SIZE, prot).is_ok();
            if plain && !(cut(MapProt::READ) && cut(rw)) {
                break;
            }
            let count = || [Counter::PteStore, Counter::TlbiVa].map(|counter| mm.stats.get(counter));
            let (before, began) = (count(), time::now_ns());
            let changed = mm.mprotect(&space, at, bytes, MapProt::READ).is_ok();
            times.add(time::now_ns() - began);
            let after = count();
            counts = [after[0] - before[0], after[1] - before[1]];
            if !changed {
                break;
            }
        }
        mm.destroy_space(&space);
        times.say(name, run);
        run.line(format_args!("{name}.stores {} count", counts[0]));
        run.line(format_args!("{name}.tlbi {} count", counts[1]));
    }
    mm.thp.set_mode(mode);
}

/// A folio as it lies in the pool, optimised and restored.
fn measure_hvo(mm: &'static Mm, run: &mut Run<'_>) {
    let Ok(head) = mm.alloc_pages(Order::PMD, PageKind::Hugetlb) else { return };
    head.prep_compound(PageKind::Hugetlb, Order::PMD, mm.config.tails);
    if head.freeze(1) {
        let (mut there, mut back) = (Times::default(), Times::default());
        if (0..ROUNDS).all(|_| round_trip(mm, *head, &mut there, &mut back)) {
            there.say("hvo_optimise_2m", run);
            back.say("hvo_restore_2m", run);
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
fn measure_program(mm: &Mm, run: &mut Run<'_>, name: &str, args: &[&str]) {
    let (began, faults) = (time::now_ns(), mm.stats.get(Counter::PgFault));
    let Ok(process) = process::run(args[0], args, Some(Observer::Stops(|_, _| ()))) else { return };
    let status = process.wait();
    let (took, faults) = (time::now_ns() - began, mm.stats.get(Counter::PgFault) - faults);
    run.line(format_args!("{name} {took} ns"));
    run.line(format_args!("{name}_faults {faults} count"));
    if status.shell_code() != 0 {
        run.line(format_args!("error: {}: {status}", args[0]));
    }
}
