//! `kernel`: the allocator, stopping the machine, HVO, fork, many VMAs, and whole programs, measured within
//! the kernel.

use core::hint::black_box;

use arch::addr::PAGE_SIZE;
use arch::{Order, VirtAddr};
use mm::Mm;
use mm::config::ThpMode;
use mm::hvo::{self, HvoError};
use mm::kalloc::KArc;
use mm::page::{Flags, PageKind, PageRef};
use mm::space::{AddressSpace, Advice, MapProt, MmapRequest};
use mm::stats::Counter;
use mm::trace::Point;

use super::Run;
use super::times::Times;
use crate::process::{self, Observer};
use crate::time;

const ROUNDS: usize = 15;
/// Where a block is mapped that is cut.
const BLOCK: u64 = 0x4000_0000;

/// Prints every row. What there is no memory for is said, and ends it.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let mut missing = 0;
    measure(run, "alloc_free_4k", || match mm.alloc_pages(Order::PAGE, PageKind::Kernel) {
        Ok(page) => mm.free_pages(page, Order::PAGE),
        Err(_) => missing += 1,
    });
    measure(run, "alloc_free_2m", || match mm.alloc_pages(Order::PMD, PageKind::Kernel) {
        Ok(block) => mm.free_pages(block, Order::PMD),
        Err(_) => missing += 1,
    });
    if missing != 0 {
        return run.fail(format_args!("memory had no page, or no block of 2 MiB, {missing} times"));
    }
    measure_point(mm, run);
    measure(run, "stop_machine", || mm.env.stop_machine(&mut || ()));
    measure_hvo(mm, run)?;
    measure_fork(mm, run)?;
    measure_groups(mm, run)?;
    super::vmas::run(mm, run)?;
    measure_program(mm, run, "run_hello", &["hello"])?;
    // 512 writes to a reservation, one promotion.
    measure_program(mm, run, "run_walka", &["walka"])
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

/// Series of a space that forks: sharing its pages, the end of the child, and the parent's writes afterwards.
#[derive(Default)]
struct Fork {
    fork: Times,
    end: Times,
    copy: Times,
    reuse: Times,
}

/// Sharing the pages of a space, the end of the child, and the parent's writes afterwards, in ns a page of 4 KiB;
/// nothing of it is a block.
fn measure_fork(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let Ok(parent) = mm.new_space() else { return run.fail("there is no memory for a space that forks") };
    let mut times = Fork::default();
    let measured = fork_rounds(mm, &parent, &mut times);
    mm.destroy_space(&parent);
    if measured.is_none() {
        return run.fail(format_args!("there is too little memory to fork a space of {FORK_PAGES} pages"));
    }
    times.fork.say("fork_share_4k", run);
    times.end.say("fork_end_4k", run);
    times.copy.say("cow_copy_4k", run);
    times.reuse.say("cow_reuse_4k", run);
    Some(())
}

/// `None`: memory is out.
fn fork_rounds(mm: &'static Mm, parent: &KArc<AddressSpace>, times: &mut Fork) -> Option<()> {
    let request = MmapRequest::anonymous(FORK_PAGES * PAGE_SIZE, MapProt::READ | MapProt::WRITE);
    let start = mm.mmap(parent, &request).ok()?;
    let write = |times: &mut Times| {
        let began = time::now_ns();
        let written = (0..FORK_PAGES).all(|n| mm.write_user(parent, start.add(n * PAGE_SIZE), &[1]).is_ok());
        times.add((time::now_ns() - began) / FORK_PAGES);
        written.then_some(())
    };
    mm.madvise(parent, start.raw(), FORK_PAGES * PAGE_SIZE, Advice::NoHugePage).ok()?;
    write(&mut Times::default())?;
    for round in 0..ROUNDS {
        let began = time::now_ns();
        let child = mm.fork_space(parent).ok()?;
        times.fork.add((time::now_ns() - began) / FORK_PAGES);
        let copied = if round % 3 == 0 { write(&mut times.copy) } else { Some(()) };
        let began = time::now_ns();
        mm.destroy_space(&child);
        times.end.add((time::now_ns() - began) / FORK_PAGES);
        copied?;
        if round % 3 == 1 {
            write(&mut times.reuse)?;
        }
    }
    Some(())
}

/// A row of [`measure_groups`]: its name, whether its groups are plain, and of how many bytes the rights change.
type Group = (&'static str, bool, u64);

const GROUP: u64 = 16 * PAGE_SIZE;

/// What mprotect of 64 KiB and of its first page costs: where the 16 entries are one contiguous group, and where they
/// are not. Each row beside its time has its stores to descriptors and its TLBI operations.
fn measure_groups(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    const ROWS: [Group; 4] = [
        ("mprotect_64k_folded", false, GROUP),
        ("mprotect_64k_plain", true, GROUP),
        ("mprotect_4k_folded", false, PAGE_SIZE),
        ("mprotect_4k_plain", true, PAGE_SIZE),
    ];
    let mode = mm.thp.mode();
    mm.thp.set_mode(ThpMode::Always);
    let measured = ROWS.iter().try_for_each(|row| {
        let (mut times, mut counts) = (Times::default(), [0; 2]);
        let Ok(space) = mm.new_space() else { return run.fail("there is no memory for a space of groups") };
        let done = group_rounds(mm, &space, row, &mut times, &mut counts);
        mm.destroy_space(&space);
        let name = row.0;
        if done.is_none() {
            return run.fail(format_args!("{name}: there is too little memory for its groups"));
        }
        times.say(name, run);
        run.line(format_args!("{name}.stores {} count", counts[0]));
        run.line(format_args!("{name}.tlbi {} count", counts[1]));
        Some(())
    });
    mm.thp.set_mode(mode);
    measured
}

/// `None`: memory is out.
fn group_rounds(
    mm: &'static Mm,
    space: &KArc<AddressSpace>,
    &(_, plain, bytes): &Group,
    times: &mut Times,
    counts: &mut [u64; 2],
) -> Option<()> {
    let rw = MapProt::READ | MapProt::WRITE;
    mm.mmap(space, &MmapRequest::anonymous(2 << 20, rw).fixed(BLOCK)).ok()?;
    mm.write_user(space, VirtAddr::new(BLOCK), &[1]).ok()?;
    mm.mprotect(space, BLOCK + GROUP * 31, PAGE_SIZE, MapProt::READ).ok()?;
    for group in 0..30 {
        let at = BLOCK + group * GROUP;
        // A part that changes leaves the group plain.
        let cut = |prot| mm.mprotect(space, at + PAGE_SIZE, PAGE_SIZE, prot).ok();
        if plain {
            cut(MapProt::READ)?;
            cut(rw)?;
        }
        let count = || [Counter::PteStore, Counter::TlbiVa].map(|counter| mm.stats.get(counter));
        let (before, began) = (count(), time::now_ns());
        let changed = mm.mprotect(space, at, bytes, MapProt::READ);
        times.add(time::now_ns() - began);
        let after = count();
        *counts = [after[0] - before[0], after[1] - before[1]];
        changed.ok()?;
    }
    Some(())
}

/// A folio as it lies in the pool, optimised and restored. Where the boot has no HVO its rows are left out.
fn measure_hvo(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let Ok(head) = mm.alloc_pages(Order::PMD, PageKind::Hugetlb) else {
        return run.fail("memory has no folio of 2 MiB for HVO");
    };
    head.prep_compound(PageKind::Hugetlb, Order::PMD, mm.config.tails);
    if !head.freeze(1) {
        mm.put_folio(head);
        return run.fail("somebody else holds the folio for HVO");
    }
    let (mut there, mut back) = (Times::default(), Times::default());
    let measured = (0..ROUNDS).try_for_each(|_| round_trip(mm, *head, &mut there, &mut back));
    // One that cannot be restored is lost, which the count of free pages shows.
    if !head.flags().contains(Flags::HVO) {
        mm.free_pages(head, Order::PMD);
    }
    match measured {
        Ok(()) => {
            there.say("hvo_optimise_2m", run);
            back.say("hvo_restore_2m", run);
        }
        Err(HvoError::Off) => run.line("HVO is left out: the kernel was booted with hvo=off"),
        Err(error) => return run.fail(format_args!("HVO: {error}")),
    }
    Some(())
}

/// HVO there and back.
fn round_trip(mm: &Mm, head: PageRef, there: &mut Times, back: &mut Times) -> Result<(), HvoError> {
    let began = time::now_ns();
    hvo::optimize_folio(mm, head)?;
    let between = time::now_ns();
    hvo::restore_folio(mm, head)?;
    there.add(between - began);
    back.add(time::now_ns() - between);
    Ok(())
}

/// Runs a program once and prints how long that took and how many faults it had.
fn measure_program(mm: &Mm, run: &mut Run<'_>, name: &str, args: &[&str]) -> Option<()> {
    let (began, faults) = (time::now_ns(), mm.stats.get(Counter::PgFault));
    let process = match process::run(args[0], args, Some(Observer::Stops(|_, _| ()))) {
        Ok(process) => process,
        Err(error) => return run.fail(format_args!("{}: {error}", args[0])),
    };
    let status = process.wait();
    let (took, faults) = (time::now_ns() - began, mm.stats.get(Counter::PgFault) - faults);
    if status.shell_code() != 0 {
        return run.fail(format_args!("{}: {status}", args[0]));
    }
    run.line(format_args!("{name} {took} ns"));
    run.line(format_args!("{name}_faults {faults} count"));
    Some(())
}
