//! The soak of HVO: the folios of the pools are optimised and restored, pools grow, shrink and are divided, the switch
//! goes off and on, all the time, while walkers look at every struct page and the load uses memory up.
//!
//! It is wrong if a walker has come to a wrong answer, if an operation fails for anything but want of memory, if a fault
//! was taken that the strategy has none of, if pages are lost, or if the full check finds anything.
#![forbid(unsafe_code)]

use mm::Mm;
use mm::config::{HvoSplit, HvoStrategy};
use mm::hugetlb::{HugeSize, Resized};
use mm::hvo::{BatchOutcome, HvoError, Switch};
use mm::stats::Counter;

use super::Random;
use super::load::Load;
use crate::walkers::Walkers;
use crate::{println, process, settle, stop, time};

/// Whether all was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was.
    Right,
    /// Something was not; what, is printed.
    Wrong,
}

const SECOND_NS: u64 = 1_000_000_000;
/// Seconds from one line to the next, at least.
const LINE_S: u64 = 5;
/// Most folios of 2 MiB in the pool, and of 32 MiB.
const MOST_2M: u64 = 40;
const MOST_32M: u64 = 3;
/// Memory from which on a folio of 1 GiB is tried for.
const ENOUGH_FOR_1G: u64 = 3 << 18;
/// The counters that the soak tells of.
const COUNTERS: [Counter; 7] = [
    Counter::HvoOptimize,
    Counter::HvoRestore,
    Counter::HvoSplitPmd,
    Counter::HvoFaultWait,
    Counter::HvoConflict,
    Counter::HvoGracePeriod,
    Counter::PgFault,
];

/// What was wrong, and what memory was too short for.
#[derive(Default)]
struct Findings {
    wrong: u64,
    short: u64,
}

impl Findings {
    fn wrong(&mut self, what: core::fmt::Arguments<'_>) {
        self.wrong += 1;
        println!("soak-hvo: wrong: {what}");
    }
    fn error(&mut self, what: &str, error: Option<HvoError>) {
        match error {
            None => {}
            Some(HvoError::OutOfMemory | HvoError::Unsplit(_)) => self.short += 1,
            Some(error) => self.wrong(format_args!("{what}: {error}")),
        }
    }
    fn treated(&mut self, what: &str, outcome: BatchOutcome) {
        self.error(what, outcome.first_error.map(|(_, error)| error));
    }
    fn resized(&mut self, outcome: Resized) {
        self.error("a new folio", outcome.unoptimized);
        self.error("a folio that goes", outcome.unrestored);
    }
}

/// Soaks for so many seconds. Nobody else uses the pools meanwhile.
pub fn run(mm: &'static Mm, seconds: u64) -> Outcome {
    let mut findings = Findings::default();
    let before = HugeSize::ALL.map(|size| mm.hugetlb.counts(size).nr);
    let switch = mm.hvo.switch();
    let strategy = mm.hvo.strategy();
    if strategy == HvoStrategy::Off {
        println!("soak-hvo: wrong: this boot has no HVO");
        return Outcome::Wrong;
    }
    println!(
        "soak-hvo: {seconds} s on {} CPUs: hvo={strategy} hvo_split={} tails={} vmemmap={}",
        stop::online_cpus(),
        mm.hvo.split(),
        mm.config.tails,
        mm.config.vmemmap
    );
    empty_pools(mm, &mut findings);
    let free = settle::free_pages(mm);
    soak(mm, seconds, &mut findings);
    empty_pools(mm, &mut findings);
    let now = settle::free_pages(mm);
    if now != free {
        findings.wrong(format_args!("{free} pages were free before, {now} are now"));
    }
    for (size, nr) in HugeSize::ALL.into_iter().zip(before).rev() {
        findings.resized(mm.hugetlb.set_nr(mm, size, nr));
    }
    set_switch(mm, switch, &mut findings);
    match settle::check(mm) {
        Ok(_) => {}
        Err(error) => findings.wrong(format_args!("the full check: {error}")),
    }
    let Findings { wrong, short } = findings;
    println!("soak-hvo: {wrong} wrong; {short} operations were cut short for want of memory");
    if wrong == 0 { Outcome::Right } else { Outcome::Wrong }
}

/// No folio is left in a pool, so that all memory can be counted.
fn empty_pools(mm: &Mm, findings: &mut Findings) {
    for size in HugeSize::ALL {
        let outcome = mm.hugetlb.set_nr(mm, size, 0);
        if outcome.persistent != 0 {
            findings.wrong(format_args!("{} folios of {size} do not leave their pool", outcome.persistent));
        }
        findings.resized(outcome);
    }
}

fn set_switch(mm: &Mm, to: Switch, findings: &mut Findings) {
    findings.error("the switch", mm.hvo.set_switch(mm, to).err());
}

fn soak(mm: &'static Mm, seconds: u64, findings: &mut Findings) {
    let count = || COUNTERS.map(|counter| mm.stats.get(counter));
    let (counts, asked) = (count(), stop::asked());
    stop::take_pauses();
    let walkers = match Walkers::start(stop::online_cpus()) {
        Ok(walkers) => walkers,
        Err(error) => return findings.wrong(format_args!("{error}")),
    };
    let load = match Load::start() {
        Ok(load) => load,
        Err(error) => return findings.wrong(format_args!("the load: {error}")),
    };
    let (began, mut random) = (time::now_ns(), Random(0x5eed));
    let end = began + seconds * SECOND_NS;
    let apart = (seconds / 20).max(LINE_S) * SECOND_NS;
    let mut line = began + apart;
    let mut operations = 0_u64;
    loop {
        let now = time::now_ns();
        if now >= end || now >= line {
            line += apart;
            let [optimised, restored, ..] = delta(counts, count());
            let looks = walkers.looks();
            println!(
                "soak-hvo: {} s: {operations} operations, {optimised} folios optimised, {restored} restored; {looks}",
                (now - began) / SECOND_NS
            );
            program(findings);
        }
        if now >= end {
            break;
        }
        operate(mm, &mut random, findings);
        operations += 1;
    }
    let done = load.done();
    drop(load);
    let looks = walkers.end();
    let [optimised, restored, splits, waits, conflicts, graces, faults] = delta(counts, count());
    let (now, pauses) = (stop::asked(), stop::take_pauses());
    println!(
        "soak-hvo: {} remaps: {optimised} there, {restored} back, {splits} blocks split",
        optimised + restored
    );
    println!("soak-hvo: walkers: {looks}");
    println!(
        "soak-hvo: faults of struct pages: {waits} waited, {conflicts} TLB conflicts; {graces} grace periods, {} pauses, \
         {} stops; a CPU stood still {} times, at most {} ns",
        now.pause - asked.pause,
        now.stop - asked.stop,
        pauses.count,
        pauses.longest_ns
    );
    println!(
        "soak-hvo: load: {faults} page faults, {} pages written, {} refused, memory used up {} times",
        done.written, done.refused, done.used_up
    );
    if looks.wrong != 0 {
        findings.wrong(format_args!("walkers: {looks}"));
    }
    if optimised == 0 || restored == 0 || looks.asked == 0 || done.written == 0 {
        findings.wrong(format_args!("something did not get on at all"));
    }
    let (strategy, split) = (mm.hvo.strategy(), mm.hvo.split());
    if waits != 0 && strategy != HvoStrategy::Fault && split != HvoSplit::Fault {
        findings
            .wrong(format_args!("{waits} faults waited for entries that nobody should have broken in sight"));
    }
    if conflicts != 0 && split != HvoSplit::Bbml2 {
        findings.wrong(format_args!("{conflicts} TLB conflicts, and no block is split directly"));
    }
}

/// How far the counters have moved.
fn delta<const N: usize>(then: [u64; N], now: [u64; N]) -> [u64; N] {
    core::array::from_fn(|n| now[n] - then[n])
}

/// One operation on the pools.
fn operate(mm: &Mm, random: &mut Random, findings: &mut Findings) {
    match random.below(16) {
        0..=3 => findings.resized(mm.hugetlb.set_nr(mm, HugeSize::M2, random.below(MOST_2M))),
        4 => findings.resized(mm.hugetlb.set_nr(mm, HugeSize::M32, random.below(MOST_32M))),
        5 => findings.error("dividing", mm.hugetlb.demote(mm, HugeSize::M32, 1).unrestored),
        6 if mm.ram_pages() >= ENOUGH_FOR_1G => {
            findings.resized(mm.hugetlb.set_nr(mm, HugeSize::G1, random.below(2)));
        }
        7 => {
            set_switch(mm, Switch::Off, findings);
            let more = mm.hugetlb.counts(HugeSize::M2).nr + random.below(8);
            findings.resized(mm.hugetlb.set_nr(mm, HugeSize::M2, more));
            set_switch(mm, Switch::On, findings);
        }
        8..=11 => findings.treated("restoring", mm.hugetlb.restore_free(mm)),
        _ => {
            findings.treated("restoring", mm.hugetlb.restore_free(mm));
            findings.treated("optimising", mm.hugetlb.optimize_free(mm));
        }
    }
}

/// A program at EL0, which verifies memory whose rights change. It may find no memory.
fn program(findings: &mut Findings) {
    const PROGRAM: &str = "mprot";
    let Ok(process) = process::run(PROGRAM, &[PROGRAM], None) else { return };
    let status = process.wait();
    if status.shell_code() != 0 {
        findings.short += 1;
    }
}
