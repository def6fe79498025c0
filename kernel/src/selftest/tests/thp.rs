//! Reservations and promotion, seen from a process that writes pages one by one.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::config::{Promote, ThpMode};
use mm::stats::Counter;
use mm::thp::promoter;

use super::kit::{ThpSettings, comes, expect, run};
use crate::process::{Observer, Process};
use crate::selftest::{Verdict, check, check_eq, selftest};

selftest!("thp::threshold_1_maps_a_block_at_the_first_write", threshold_1);
selftest!("thp::threshold_2", threshold_2);
selftest!("thp::threshold_256", threshold_256);
selftest!("thp::threshold_512", threshold_512);
selftest!("thp::the_fault_at_the_threshold_promotes", by_the_fault);
selftest!("thp::below_the_threshold_pages_stay_small", below_the_threshold);
selftest!("thp::never_reserves_nothing", never_reserves_nothing);
selftest!("thp::always_maps_a_block_at_the_first_write", always);
selftest!("thp::nothing_is_left_reserved", nothing_is_left_reserved);
selftest!("thp::every_mode_keeps_contents", every_mode_keeps_contents);

/// The level of the leaf for the address at the stop before the last page, and at the end: 0 for none.
static AT_BELOW: AtomicU8 = AtomicU8::new(0);
static AT_END: AtomicU8 = AtomicU8::new(0);
/// Output addresses of the first page at the first write and at the end.
static FIRST_FRAME: AtomicU64 = AtomicU64::new(0);
static LAST_FRAME: AtomicU64 = AtomicU64::new(0);

/// `walka-first 0x…`
fn parse(line: &str) -> Option<(&str, VirtAddr)> {
    let (name, va) = line.split_once(' ')?;
    let va = u64::from_str_radix(va.strip_prefix("0x")?, 16).ok()?;
    Some((name, VirtAddr::new(va)))
}

fn leaf(process: &Process, va: VirtAddr) -> Option<(Level, u64)> {
    let step = process.space().ptl.lock().walk(va).leaf()?;
    Some((step.level, step.desc.output(step.level).raw()))
}

/// What the observer of `walka` notes.
fn note(process: &Process, line: &str) {
    let Some((name, va)) = parse(line) else { return };
    let level = || leaf(process, va).map_or(0, |(level, _)| level as u8);
    let frame = || leaf(process, va).map_or(0, |(_, frame)| frame);
    match name {
        "walka-first" => FIRST_FRAME.store(frame(), Ordering::Relaxed),
        "walka-below" => AT_BELOW.store(level(), Ordering::Relaxed),
        "walka-written" => {
            let mm = crate::the_mm();
            let ripe = || {
                promoter::drain(mm);
                leaf(process, va).is_some_and(|(level, _)| level == Level::L2)
            };
            if mm.thp.mode() == ThpMode::Reserve && AT_BELOW.load(Ordering::Relaxed) != NOT_EXPECTED {
                comes(ripe);
            }
            AT_END.store(level(), Ordering::Relaxed);
            LAST_FRAME.store(frame(), Ordering::Relaxed);
        }
        _ => {}
    }
}

/// In [`AT_BELOW`]: no promotion is to be waited for.
const NOT_EXPECTED: u8 = 0xff;

struct Seen {
    below: u8,
    end: u8,
    moved: bool,
}

/// Runs `walka` with `pages` pages and this threshold.
fn walk(pages: &str, threshold: &str, below: u8) -> Result<Seen, crate::selftest::NotPassed> {
    AT_BELOW.store(below, Ordering::Relaxed);
    AT_END.store(0, Ordering::Relaxed);
    let status = run("walka", &["walka", pages, threshold], Some(Observer::Stops(note)))?;
    check_eq!(status.shell_code(), 0, "the status of walka");
    let frames = [&FIRST_FRAME, &LAST_FRAME].map(|frame| frame.load(Ordering::Relaxed));
    Ok(Seen {
        below: AT_BELOW.load(Ordering::Relaxed),
        end: AT_END.load(Ordering::Relaxed),
        moved: frames[0] != frames[1],
    })
}

const BLOCK: u8 = Level::L2 as u8;
const PAGE: u8 = Level::L3 as u8;

/// Promotion at exactly `threshold` pages: pages before, one block after, no frame moved, counted once.
fn promoted_at(mm: &'static Mm, threshold: u64, arg: &str) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Reserve, threshold)?;
    let count = |counter| mm.stats.get(counter);
    let before = [Counter::ThpResAlloc, Counter::ResPagesCollapsed, Counter::ResPagesFilled].map(count);
    let seen = walk("512", arg, 0)?;
    if threshold > 2 {
        check_eq!(seen.below, PAGE, "the leaf's level one page below the threshold");
    }
    check_eq!(seen.end, BLOCK, "the leaf's level at the end");
    check!(!seen.moved, "the first page has moved");
    let after = [Counter::ThpResAlloc, Counter::ResPagesCollapsed, Counter::ResPagesFilled].map(count);
    check_eq!(after[0] - before[0], 1, "reservations");
    check_eq!(after[1] - before[1], 1, "promotions");
    check!(after[2] - before[2] <= 512 - threshold, "{} pages were filled", after[2] - before[2]);
    Ok(())
}

/// With a threshold of 1 the first write maps a block, and nothing is reserved.
fn threshold_1(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Reserve, 1)?;
    let before = [Counter::ThpFaultAlloc, Counter::ThpResAlloc].map(|c| mm.stats.get(c));
    let seen = walk("512", "threshold=3", 0)?;
    check_eq!(
        (seen.below, seen.end, seen.moved),
        (BLOCK, BLOCK, false),
        "levels after 2 pages and at the end"
    );
    let after = [Counter::ThpFaultAlloc, Counter::ThpResAlloc].map(|c| mm.stats.get(c));
    check_eq!((after[0] - before[0], after[1] - before[1]), (1, 0), "blocks at a fault, reservations");
    Ok(())
}

/// The second page promotes.
fn threshold_2(mm: &'static Mm) -> Verdict {
    promoted_at(mm, 2, "threshold=2")
}

/// The default.
fn threshold_256(mm: &'static Mm) -> Verdict {
    promoted_at(mm, 256, "threshold=256")
}

/// Only a range that is full is promoted, and nothing has to be filled.
fn threshold_512(mm: &'static Mm) -> Verdict {
    promoted_at(mm, 512, "threshold=512")
}

/// With `promote=sync` the fault that reaches the threshold promotes.
fn by_the_fault(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Reserve, 256)?;
    mm.thp.set_promote(Promote::Sync);
    let before = mm.stats.get(Counter::ResPagesCollapsedSync);
    promoted_at(mm, 256, "threshold=256")?;
    check_eq!(mm.stats.get(Counter::ResPagesCollapsedSync) - before, 1, "promotions by the fault itself");
    Ok(())
}

/// One page fewer than the threshold: the range stays small, and the unused pages come back.
fn below_the_threshold(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Reserve, 100)?;
    let before = mm.stats.get(Counter::ResPagesCollapsed);
    let seen = walk("99", "threshold=1000", NOT_EXPECTED)?;
    check_eq!(seen.end, PAGE, "the leaf's level at the end");
    check_eq!(mm.stats.get(Counter::ResPagesCollapsed), before, "promotions");
    Ok(())
}

/// With `never` nothing is reserved, and nothing promoted.
fn never_reserves_nothing(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Never, 256)?;
    let counts = || [Counter::ThpResAlloc, Counter::ThpFaultAlloc].map(|c| mm.stats.get(c));
    let before = counts();
    let seen = walk("512", "threshold=256", NOT_EXPECTED)?;
    check_eq!(seen.end, PAGE, "the leaf's level at the end");
    check_eq!(counts(), before, "reservations and blocks");
    Ok(())
}

/// With `always` the first write maps a block.
fn always(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Always, 256)?;
    let seen = walk("512", "threshold=3", 0)?;
    check_eq!((seen.below, seen.end), (BLOCK, BLOCK), "levels after 2 pages and at the end");
    Ok(())
}

/// When no process is left no page is reserved, and no anonymous page is mapped.
fn nothing_is_left_reserved(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Reserve, 256)?;
    walk("100", "threshold=1000", NOT_EXPECTED)?;
    for gauge in [Counter::NrThpReserved, Counter::NrAnon, Counter::NrAnonThp] {
        check!(mm.stats.get(gauge) == 0, "{} is {}", gauge.name(), mm.stats.get(gauge));
    }
    Ok(())
}

/// The stress of `promote` keeps every byte in every mode, and with thresholds that promote often.
fn every_mode_keeps_contents(mm: &'static Mm) -> Verdict {
    for (mode, threshold) in [
        (ThpMode::Never, 256),
        (ThpMode::Always, 256),
        (ThpMode::Madvise, 256),
        (ThpMode::Defer, 256),
        (ThpMode::Reserve, 1),
        (ThpMode::Reserve, 8),
    ] {
        let _settings = ThpSettings::set(mm, mode, threshold)?;
        expect("promote", &["promote", "seed=7", "blocks=2", "rounds=1", "ops=10"], 0)?;
    }
    Ok(())
}
