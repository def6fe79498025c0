//! What the kernel does once everything runs: says what it runs on, and then what the boot arguments ask for.
//!
//! | boot argument | what |
//! |---|---|
//! | `selftest`, `selftest=<filter>` | runs the self-tests (whose name contains the filter), then powers off |
//! | `selftest=list` | lists their names, then powers off |
//! | `bench=<experiment>` | measures (`experiment:key=value:key=value`), then powers off |
//! | `tour=off` | no tour before the console |
//! | `crash=panic`, `crash=stack`, `crash=null`, `crash=bbm`, `crash=unlocked`, `crash=tail` | ends so |
//! | none of these | the tour, then the console |
//!
//! The exit status is 1 once a self-test or a stop of the tour has failed, a soak has found something wrong or an
//! experiment has broken off, else 0.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use arch::addr::PAGE_SIZE;
use arch::contract::Cpu;
use arch::{Machine, Mmu};
use mm::Mm;
use mm::config::{HvoStrategy, MmConfig, Parsed};
use mm::hugetlb::HugeSize;
use mm::hvo::{AtBoot, choice};
use mm::thp::{khugepaged, promoter};

use crate::selftest::{Outcome, Summary};
use crate::{boot, console, experiment, initrd, power, println, sched, selftest, show, soak, stop, tour};

/// Something has failed in this session.
static FAILED: AtomicBool = AtomicBool::new(false);

/// What was asked for.
#[derive(Clone, Copy)]
enum Task {
    SelfTest(&'static str),
    ListSelfTests,
    Bench(&'static str),
    Crash(&'static str),
    Tour,
    Console,
}

/// The first thread: never returns.
pub fn main(mm: &'static Mm) {
    introduce(mm);
    if sched::spawn(promoter::THREAD, promoter::run).is_err() {
        println!("warning: no memory for {}: nothing will be promoted", promoter::THREAD);
    }
    if sched::spawn(khugepaged::THREAD, khugepaged::run).is_err() {
        println!("warning: no memory for {}: nothing will be collapsed", khugepaged::THREAD);
    }
    fill_pools(mm);
    match task() {
        Task::ListSelfTests => selftest::list(""),
        Task::SelfTest(filter) => {
            if selftest(mm, filter) == Outcome::NoneChosen {
                println!("error: no self-test has `{filter}` in its name");
                FAILED.store(true, Ordering::Relaxed);
            }
        }
        Task::Bench(asked) => note(experiment::bench(mm, asked)),
        Task::Crash(how) => crash(mm, how),
        Task::Tour => {
            tour(mm);
            console::run(mm)
        }
        Task::Console => console::run(mm),
    }
    power_off()
}

/// The tour; a stop that fails is remembered.
pub fn tour(mm: &'static Mm) {
    if tour::run(mm).failed > 0 {
        FAILED.store(true, Ordering::Relaxed);
    }
}

/// Self-tests; one that fails is remembered.
pub fn selftest(mm: &'static Mm, filter: &str) -> Outcome {
    let summary: Summary = selftest::run(mm, filter);
    if summary.failed > 0 {
        FAILED.store(true, Ordering::Relaxed);
    }
    summary.outcome()
}

/// The soak of HVO; one that finds something wrong is remembered.
pub fn soak_hvo(mm: &'static Mm, seconds: u64) {
    if soak::hvo(mm, seconds) == soak::Outcome::Wrong {
        FAILED.store(true, Ordering::Relaxed);
    }
}

/// An experiment on the console; one that breaks off is remembered.
pub fn experiment(mm: &'static Mm, asked: &experiment::Asked<'_>) {
    note(experiment::show(mm, asked));
}

fn note(outcome: experiment::Outcome) {
    if outcome == experiment::Outcome::Broken {
        FAILED.store(true, Ordering::Relaxed);
    }
}

/// Ends the machine with the session's exit status.
pub fn power_off() -> ! {
    power::off(u8::from(FAILED.load(Ordering::Relaxed)))
}

/// Prints the machine and the boot choices.
fn introduce(mm: &Mm) {
    println!("  memory    {} MiB, {} MiB managed", mm.ram_pages() >> 8, mm.managed_pages() >> 8);
    mm.ram().iter().for_each(|bank| println!("            {bank}"));
    println!("  CPUs      {} of {}, this is {}", stop::online_cpus(), boot::cpu_count(), Machine::id());
    println!("  features  {}", Machine::features());
    let (mut files, mut bytes) = (0, 0);
    initrd::for_each(|_, size| (files, bytes) = (files + 1, bytes + size));
    println!("  initrd    {files} programs, {} KiB", bytes >> 10);
    println!("  choices   {}", mm.config);
    introduce_hvo(mm);
}

/// Prints which strategy HVO has, and why it cannot have others.
fn introduce_hvo(mm: &Mm) {
    println!("  HVO       {}", show::Hvo(mm));
    if mm.hvo.strategy() == HvoStrategy::Off {
        return;
    }
    for (strategy, why) in choice::refused(&mm.config, &Machine::features()) {
        println!("            not {strategy}: {why}");
    }
    let AtBoot { folios, never_taken } = mm.hvo.at_boot();
    if folios != 0 {
        let bytes = never_taken * PAGE_SIZE;
        println!(
            "            folios optimised before they had struct pages: {folios}; {bytes} bytes never taken"
        );
    }
}

/// The pools that the boot choices ask for. Those of large folios may have some or all of them already.
fn fill_pools(mm: &Mm) {
    // The largest first: they are had only as long as memory is in large pieces.
    for size in HugeSize::ALL.into_iter().rev() {
        let asked = mm.config.hugepages.count(size);
        let resized = mm.hugetlb.set_nr(mm, size, asked);
        if resized.persistent < asked {
            println!("warning: hugepagesz={size} hugepages={asked}: memory for {} only", resized.persistent);
        }
        if let Some(error) = resized.unoptimized {
            println!("warning: a folio of the pool keeps its struct pages: {error}");
        }
    }
}

/// The task that the boot arguments ask for; the last one counts, and `tour=` only where there is no other. Says which
/// words nobody knows, and which are left out.
fn task() -> Task {
    let (mut task, mut otherwise) = (None, Task::Tour);
    for word in boot::arguments().split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let asked = match (key, value) {
            ("selftest", "list") => Task::ListSelfTests,
            ("selftest", filter) => Task::SelfTest(filter),
            ("bench", asked) => Task::Bench(asked),
            ("crash", "panic" | "stack" | "null" | "bbm" | "unlocked" | "tail") => Task::Crash(value),
            _ => {
                match (key, value) {
                    ("tour", "off") => otherwise = Task::Console,
                    ("tour", "" | "on") => otherwise = Task::Tour,
                    ("tour", _) => println!("error: {word}: must be one of on off"),
                    ("crash", _) => {
                        println!("error: {word}: must be one of panic stack null bbm unlocked tail");
                    }
                    _ if is_of_mm(key, value) => {}
                    _ => println!("warning: the boot argument `{word}` is not known"),
                }
                continue;
            }
        };
        if task.replace(asked).is_some() {
            println!("warning: one task at a time: what stands before `{word}` is left out");
        }
    }
    task.unwrap_or(otherwise)
}

/// Whether the word is a choice of memory management; a value that was refused was reported at boot.
fn is_of_mm(key: &str, value: &str) -> bool {
    !matches!(MmConfig::default().parse(key, value), Ok(Parsed::NotOurs))
}

fn crash(mm: &Mm, how: &str) {
    match how {
        "stack" => crate::crash::overflow_stack(),
        "null" => crate::crash::read_null(),
        "bbm" => crate::crash::store_without_break(mm),
        "unlocked" => crate::crash::store_without_lock(mm),
        "tail" => crate::crash::write_tail(mm),
        _ => panic!("asked for by the boot argument crash=panic"),
    }
}
