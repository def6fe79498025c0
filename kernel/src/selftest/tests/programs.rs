//! Processes: each program's status is what its source says, and the next one runs.

use core::convert::Infallible;
use core::fmt::Write as _;

use arch::Order;
use arch::aarch64::vectors::TrapFrame;
use arrayvec::ArrayString;
use mm::Mm;
use mm::buddy::MAX_ORDER;
use mm::config::Number;
use mm::config::{Promote, ReserveReclaim, ThpMode};
use mm::stats::Counter;
use mm::thp::khugepaged;

use super::kit::{Blocks, Sleeper, ThpSettings, expect, run};
use crate::process::{self, ForkError};
use crate::sched;
use crate::selftest::{Failure, NotPassed, Verdict, check, check_eq, selftest};

selftest!("programs::hello", hello);
selftest!("programs::badreads_are_killed", badreads_are_killed);
selftest!("programs::badptr_gets_errors", badptr_gets_errors);
selftest!("programs::mprot", mprot);
selftest!("programs::mprot_forbidden_accesses_are_killed", mprot_kills);
selftest!("programs::toomuch_gets_errors", toomuch_gets_errors);
selftest!("programs::touching_more_than_there_is_is_killed", touching_more);
selftest!("programs::a_hot_reservation_survives", a_hot_reservation_survives);
selftest!("programs::underused_huge_pages_are_split", underused);
selftest!("programs::the_largest_is_killed", the_largest_is_killed);
selftest!("programs::promote", promote);
selftest!("programs::snapshot_ends_huge", snapshot_ends_huge);
selftest!("programs::shared", shared);
selftest!("programs::dma", dma);
selftest!("programs::devmap", devmap);
selftest!("programs::vector_registers_are_each_ones_own", vector_registers);
selftest!("programs::thread_pointers_are_each_ones_own", thread_pointers);
selftest!("programs::hogs_are_preempted", hogs_are_preempted);
selftest!("programs::sleepers_wake", sleepers_wake);
selftest!("programs::no_program_no_process", no_program);
selftest!("programs::fork", fork);
selftest!("programs::fork_copies_on_write", fork_copies_on_write);
selftest!("programs::fork_bombs_get_errors", fork_bombs_get_errors);
selftest!("programs::fork_without_memory_leaves_nothing", fork_without_memory);
selftest!("programs::orphans_are_adopted_and_ended", orphans);
selftest!("programs::forks_at_once", forks_at_once);
selftest!("programs::files_and_pipes", files_and_pipes);
selftest!("programs::settings_are_checked", settings_are_checked);
selftest!("programs::memory_goes_to_who_needs_it", memory_goes_to_who_needs_it);
selftest!("programs::ways_of_using_memory", ways_of_using_memory);

const SIGILL: u8 = 132;
const SIGTRAP: u8 = 133;
const SIGBUS: u8 = 135;
const SIGKILL: u8 = 137;
const SIGSEGV: u8 = 139;
const SIGPIPE: u8 = 141;

/// Memory is shared by mapping and by descriptor, and an access beyond its end is a SIGBUS; nothing is left behind.
fn shared(mm: &'static Mm) -> Verdict {
    expect("shared", &["shared"], 0)?;
    expect("shared", &["shared", "beyond"], SIGBUS)?;
    expect("shared", &["shared", "cut"], SIGBUS)?;
    check_eq!(mm.objects.len(), 0, "objects that are left");
    Ok(())
}

/// A device sees the memory that its process sees, across fork, mprotect and munmap; nothing stays pinned.
fn dma(mm: &'static Mm) -> Verdict {
    expect("dma", &["dma"], 0)?;
    let [acquired, released] =
        [Counter::FollPinAcquired, Counter::FollPinReleased].map(|counter| mm.stats.get(counter));
    check_eq!(acquired, released, "pages unpinned");
    Ok(())
}

/// A device maps entries of every kind; what the table says of reads, writes, fork, pins and smaps is so, and what
/// cannot be had is a SIGBUS. Nothing stays pinned.
fn devmap(mm: &'static Mm) -> Verdict {
    expect("devmap", &["devmap"], 0)?;
    expect("devmap", &["devmap", "private"], SIGBUS)?;
    expect("devmap", &["devmap", "dropped"], SIGBUS)?;
    let [acquired, released] =
        [Counter::FollPinAcquired, Counter::FollPinReleased].map(|counter| mm.stats.get(counter));
    check_eq!(acquired, released, "pages unpinned");
    Ok(())
}

/// A process finds arguments, auxiliary vector, break and clocks as on Linux.
fn hello(_: &'static Mm) -> Verdict {
    expect("hello", &["hello", "one", "two"], 0)
}

/// Each forbidden access or instruction ends the process with its signal, and the next program runs.
fn badreads_are_killed(_: &'static Mm) -> Verdict {
    const MODES: [(&str, u8); 32] = [
        ("read-null", SIGSEGV),
        ("read-linear", SIGSEGV),
        ("read-vmemmap", SIGSEGV),
        ("read-image", SIGSEGV),
        ("read-noncanonical", SIGSEGV),
        ("read-unmapped", SIGSEGV),
        ("read-none", SIGSEGV),
        ("write-linear", SIGSEGV),
        ("write-vmemmap", SIGSEGV),
        ("write-image", SIGSEGV),
        ("write-text", SIGSEGV),
        ("write-constant", SIGSEGV),
        ("write-readonly", SIGSEGV),
        ("jump-null", SIGSEGV),
        ("jump-linear", SIGSEGV),
        ("jump-image", SIGSEGV),
        ("jump-misaligned", SIGBUS),
        ("execute-data", SIGSEGV),
        ("execute-stack", SIGSEGV),
        ("stack-overflow", SIGSEGV),
        ("misaligned-sp", 0),
        ("misaligned-exclusive", SIGBUS),
        ("undefined", SIGILL),
        ("read-system-register", SIGILL),
        ("write-system-register", SIGILL),
        ("tlb-invalidate", SIGILL),
        ("mask-interrupts", SIGILL),
        ("exception-return", SIGILL),
        ("hypervisor-call", SIGILL),
        ("monitor-call", SIGILL),
        ("halt", SIGILL),
        ("breakpoint", SIGTRAP),
    ];
    for (mode, code) in MODES {
        // A misaligned sp faults on hardware; TCG does not check it.
        let on_hardware = if mode == "misaligned-sp" { SIGBUS } else { code };
        let status = run("badreads", &["badreads", mode], None)?;
        let seen = status.shell_code();
        check!(seen == code || seen == on_hardware, "badreads {mode}: {status}, expected status {code}");
    }
    expect("hello", &["hello"], 0)
}

/// Bad pointers and values give every system call Linux's errors.
fn badptr_gets_errors(_: &'static Mm) -> Verdict {
    expect("badptr", &["badptr"], 0)
}

/// munmap, mprotect, DONTNEED, MAP_FIXED and brk mean what they do on Linux.
fn mprot(_: &'static Mm) -> Verdict {
    expect("mprot", &["mprot"], 0)
}

/// An access that was taken away kills.
fn mprot_kills(_: &'static Mm) -> Verdict {
    for mode in
        ["write-readonly", "read-none", "touch-unmapped", "touch-hole", "touch-shrunk", "execute-readonly"]
    {
        expect("mprot", &["mprot", mode], SIGSEGV)?;
    }
    Ok(())
}

/// More memory or mappings than can be are refused with an error.
fn toomuch_gets_errors(_: &'static Mm) -> Verdict {
    expect("toomuch", &["toomuch"], 0)
}

/// Touching more pages than are free kills the process, and all its memory comes back. Most of the memory is
/// taken first, so that the rest is soon used up.
fn touching_more(mm: &'static Mm) -> Verdict {
    let _taken = leave_mib(mm, 16);
    expect("toomuch", &["toomuch", "touch"], SIGKILL)?;
    expect("toomuch", &["toomuch", "brk"], SIGKILL)?;
    expect("hello", &["hello"], 0)
}

/// Takes all memory but so many MiB above the marks, which are in blocks of 2 MiB.
fn leave_mib(mm: &'static Mm, mib: u64) -> Blocks {
    let (mut left, mut taken) = (Blocks::none(mm), Blocks::none(mm));
    while left.len() < mib / 2 && left.take(Order::PMD) {}
    let leave = mm.watermarks().high + (mib << 20 >> 12) - left.len() * Order::PMD.pages();
    while mm.free_page_count() > leave + MAX_ORDER.pages() && taken.take(MAX_ORDER) {}
    for order in (0..6).rev().map(Order::new) {
        while mm.free_page_count() > leave + order.pages() && taken.take(order) {}
    }
    drop(left);
    taken
}

/// Eight reservations, and small pages that need most of their memory: with `lru` the one that is written to again and
/// again is complete in the end and promoted, and no more are broken than it takes; `all` drops them together.
fn a_hot_reservation_survives(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Reserve, 512)?;
    let before = mm.thp.reserve_reclaim();
    let squeezed = |which: ReserveReclaim| -> Result<[u64; 2], NotPassed> {
        let taken = leave_mib(mm, 26);
        let _ = mm.thp.set_reserve_reclaim_word(which.word());
        let count =
            || [Counter::ResPagesCollapsed, Counter::ThpResReclaimed].map(|counter| mm.stats.get(counter));
        let start = count();
        let result = expect("squeeze", &["squeeze", "hot", "mib=18"], 0);
        let end = count();
        drop(taken);
        result.map(|()| [end[0] - start[0], end[1] - start[1]])
    };
    let outcomes = [ReserveReclaim::Lru, ReserveReclaim::All].map(squeezed);
    let _ = mm.thp.set_reserve_reclaim_word(before.word());
    let [lru, all] = outcomes;
    let ([promoted, broken], [_, dropped]) = (lru?, all?);
    check_eq!(promoted, 1, "promotions of the hot range");
    check!((1..8).contains(&broken), "{broken} reservations were broken");
    check!(dropped >= 8, "{dropped} reservations were dropped");
    Ok(())
}

/// A process writes a few pages of each of more huge pages than there is memory: where pages of zeros are given back it
/// goes on, and else it is killed.
fn underused(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Always, 512)?;
    let (limit, shrink) = (mm.thp.number(Number::MaxPtesNone), mm.thp.number(Number::ShrinkUnderused));
    let set = |limit, shrink| -> Verdict {
        let set = mm.thp.set(Number::MaxPtesNone, limit).and(mm.thp.set(Number::ShrinkUnderused, shrink));
        check!(set.is_ok(), "{limit} and {shrink} were refused");
        Ok(())
    };
    let run = |shrink: u64, code: u8| -> Result<u64, NotPassed> {
        let _taken = leave_mib(mm, 20);
        set(409, shrink)?;
        let before = mm.stats.get(Counter::ThpUnderusedSplitPage);
        expect("squeeze", &["squeeze", "sparse"], code)?;
        Ok(mm.stats.get(Counter::ThpUnderusedSplitPage) - before)
    };
    let outcomes = [run(1, 0), run(0, SIGKILL)];
    set(limit, shrink)?;
    let [on, off] = outcomes;
    check!(on? > 0, "no huge page was split for its zeros");
    check_eq!(off?, 0, "huge pages split though that is off");
    Ok(())
}

/// A process grows until memory is out while another forks, splits huge pages, has ranges promoted and filled, has pages
/// brought back that a child shared, or has ranges collapsed: the one that grows is killed, and the other goes on with
/// what it has written. In both modes of giving up reservations.
fn the_largest_is_killed(mm: &'static Mm) -> Verdict {
    const WAYS: [(&str, ThpMode, u64, Promote); 8] = [
        ("shared", ThpMode::Reserve, 256, Promote::Async),
        ("fork", ThpMode::Reserve, 256, Promote::Async),
        ("split", ThpMode::Reserve, 256, Promote::Async),
        ("promote", ThpMode::Reserve, 32, Promote::Async),
        ("fill", ThpMode::Reserve, 32, Promote::Async),
        ("fill", ThpMode::Reserve, 32, Promote::Sync),
        ("reunite", ThpMode::Reserve, 256, Promote::Async),
        ("collapse", ThpMode::Defer, 256, Promote::Async),
    ];
    let before = mm.thp.reserve_reclaim();
    for which in ReserveReclaim::ALL {
        let _ = mm.thp.set_reserve_reclaim_word(which.word());
        for (how, mode, threshold, promote) in WAYS {
            let settings = ThpSettings::set(mm, mode, threshold)?;
            mm.thp.set_promote(promote);
            // Of interest with `defer` only: it scans all the time.
            let scans = mm.thp.set(Number::ScanSleepMillisecs, 0);
            check!(scans.is_ok(), "khugepaged cannot be hurried");
            khugepaged::wake(mm);
            let taken = leave_mib(mm, 20);
            let result = expect("squeeze", &["squeeze", how], 0);
            drop((taken, settings));
            if result.is_err() {
                let _ = mm.thp.set_reserve_reclaim_word(before.word());
                return result;
            }
        }
    }
    let _ = mm.thp.set_reserve_reclaim_word(before.word());
    Ok(())
}

/// Random writes, unmaps and changes of rights while ranges are promoted: every byte is as it was written.
fn promote(_: &'static Mm) -> Verdict {
    for seed in ["seed=1", "seed=20260"] {
        expect("promote", &["promote", seed, "blocks=2", "rounds=1", "ops=20"], 0)?;
    }
    Ok(())
}

/// A parent writes on while its child reads what was there at the fork. When the child is gone all of the parent's
/// regions are huge again, and each page that was copied is brought back: whether they were promoted before the fork,
/// had their reservations still, or were huge from the first fault.
fn snapshot_ends_huge(mm: &'static Mm) -> Verdict {
    const RUNS: [(ThpMode, &[&str]); 6] = [
        (ThpMode::Reserve, &["snapshot", "regions=8", "writes=40"]),
        (ThpMode::Reserve, &["snapshot", "regions=4", "writes=600"]),
        (ThpMode::Reserve, &["snapshot", "regions=4", "wait=0"]),
        // No page is copied, and the child lives longer than all attempts take.
        (ThpMode::Reserve, &["snapshot", "regions=4", "wait=0", "writes=0", "slow=400"]),
        (ThpMode::Always, &["snapshot", "regions=8", "writes=40"]),
        (ThpMode::Always, &["snapshot", "regions=4", "writes=600"]),
    ];
    for (mode, args) in RUNS {
        let _settings = ThpSettings::set(mm, mode, 256)?;
        expect("snapshot", args, 0)?;
    }
    Ok(())
}

/// Runs the same program several times at once.
fn at_once<const N: usize>(name: &str, args: [&[&str]; N]) -> Verdict {
    let started = args.map(|args| process::run(name, args, None));
    let ended = started.map(|process| process.map(|process| process.wait()));
    for status in ended {
        let status = status.map_err(|error| {
            NotPassed::Failed(Failure::new(file!(), line!(), format_args!("{name}: {error}")))
        })?;
        check_eq!(status.shell_code(), 0, "the status of one of several");
    }
    Ok(())
}

/// Processes that use vector registers at the same time each find their own.
fn vector_registers(_: &'static Mm) -> Verdict {
    at_once("fp", [&["fp", "name=1", "ms=60"], &["fp", "name=2", "ms=60"], &["fp", "name=3", "ms=60"]])
}

/// Processes that never let go of the CPU all get on.
fn hogs_are_preempted(_: &'static Mm) -> Verdict {
    at_once(
        "spin",
        [&["spin", "name=1", "ms=80"], &["spin", "name=2", "ms=80"], &["spin", "name=3", "ms=80"]],
    )
}

/// A process that sleeps again and again wakes each time, not too early.
fn sleepers_wake(_: &'static Mm) -> Verdict {
    expect("tick", &["tick", "ticks=5", "ms=10"], 0)
}

/// A child has what its parent had, each keeps what it writes, and wait4 tells how a child ended.
fn fork(_: &'static Mm) -> Verdict {
    expect("fork", &["fork"], 0)
}

/// Pages, huge pages, data and the stack are each one's own after a fork, two generations deep.
fn fork_copies_on_write(_: &'static Mm) -> Verdict {
    expect("fork", &["fork", "cow"], 0)
}

/// Children until there can be no more: an error, all of them end, and their memory comes back.
fn fork_bombs_get_errors(_: &'static Mm) -> Verdict {
    expect("fork", &["fork", "bomb"], 0)
}

/// A fork that finds no memory left, at whichever of its pages: it is refused, and everything that it had taken is
/// given back. All of memory is taken first, and one page more left free for each further try, until a child is born.
fn fork_without_memory(mm: &'static Mm) -> Verdict {
    const TRIES: u64 = 200;
    let parent = Sleeper::start()?;
    // A stack that is kept for the next thread would save the fork some pages.
    sched::reap();
    let (mut taken, mut pages) = (Blocks::none(mm), Blocks::none(mm));
    while pages.len() < TRIES && pages.take(Order::PAGE) {}
    for order in (0..=MAX_ORDER.raw()).rev() {
        while taken.take(Order::new(order)) {}
    }
    let (mut refused, mut free) = (0, mm.free_page_count());
    while let Err(error) = process::fork(parent.process(), &TrapFrame::user(0, 0)) {
        check_eq!(error, ForkError::OutOfMemory, "why a fork is refused");
        refused += 1;
        sched::reap();
        check_eq!(mm.free_page_count(), free, "free pages after a fork that was refused");
        let mut spaces = 0;
        let Ok(()) = mm.spaces.try_for_each::<Infallible>(|_| {
            spaces += 1;
            Ok(())
        });
        check_eq!(spaces, 1, "address spaces after a fork that was refused");
        check!(pages.give_back_one(), "no fork with {refused} pages");
        free = mm.free_page_count();
    }
    check!(refused > 10, "a fork needs {refused} pages only");
    Ok(())
}

/// The first of a family adopts the children of those that end; what is left at its own end is ended.
fn orphans(_: &'static Mm) -> Verdict {
    expect("fork", &["fork", "chain", "length=100"], 0)?;
    expect("fork", &["fork", "leave"], 0)
}

/// Several families at once.
fn forks_at_once(_: &'static Mm) -> Verdict {
    at_once("fork", [&["fork", "cow"], &["fork", "chain"], &["fork"], &["fork", "bomb", "limit=100"]])
}

/// Descriptors, files of the kernel and pipes, with Linux's results and errors.
fn files_and_pipes(_: &'static Mm) -> Verdict {
    expect("files", &["files"], 0)?;
    expect("files", &["files", "pipe"], SIGPIPE)
}

/// Every numeric setting of huge pages as a process writes it: what is out of range is EINVAL and changes nothing.
fn settings_are_checked(_: &'static Mm) -> Verdict {
    for &number in Number::ALL {
        let (mut low, mut high) = (ArrayString::<20>::new(), ArrayString::<20>::new());
        let _ = write!(low, "{}", number.range().start()).and(write!(high, "{}", number.range().end()));
        expect("settings", &["settings", number.path(), &low, &high], 0)?;
    }
    Ok(())
}

/// Children that write until memory is out: the kernel kills one of them, its parent hears of it and ends the rest.
fn memory_goes_to_who_needs_it(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Never, 512)?;
    expect("thpfork", &["thpfork", "128", "256"], 0)
}

/// What measures policies finds what it has written, in each way in which it uses memory whose contents it looks at.
fn ways_of_using_memory(_: &'static Mm) -> Verdict {
    ["sequential", "dense", "short", "snapshot"]
        .iter()
        .try_for_each(|way| expect("workload", &["workload", way, "mib=4", "settle=5"], 0))
}

/// TPIDR_EL0 is each thread's own, and a fork's child begins with its parent's.
fn thread_pointers(_: &'static Mm) -> Verdict {
    at_once("tls", [&["tls", "name=1"], &["tls", "name=2"], &["tls", "name=3"], &["tls", "name=4"]])
}

/// A program that does not exist is an error and leaves nothing behind.
fn no_program(_: &'static Mm) -> Verdict {
    let error = process::run("no-such-program", &["x"], None).err();
    check!(matches!(error, Some(process::RunError::NotFound)), "it was started");
    Ok(())
}
