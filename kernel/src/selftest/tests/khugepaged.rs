//! khugepaged beside programs: what it collapses, what ends its sleep, and that nothing is lost.

use core::sync::atomic::{AtomicBool, Ordering};

use arch::{Level, VirtAddr};
use mm::Mm;
use mm::config::{Number, ThpMode};
use mm::stats::Counter;
use mm::thp::khugepaged;

use super::kit::{ThpSettings, comes, expect, run};
use crate::process::{Observer, Process};
use crate::selftest::{Verdict, check, check_eq, selftest};
use crate::{files, settle};

selftest!("khugepaged::a_program_s_memory_becomes_huge", a_program_s_memory_becomes_huge);
selftest!("khugepaged::limits_keep_it_small", limits_keep_it_small);
selftest!("khugepaged::without_sleep_contents_are_kept", without_sleep_contents_are_kept);

const BLOCK: u64 = 2 << 20;
/// For longer than a test lasts.
const FOR_EVER: &str = "4294967295";

/// Whether the first block of the program became huge while it was stopped, and whether the others are small.
static BECAME_HUGE: AtomicBool = AtomicBool::new(false);
static OTHERS_SMALL: AtomicBool = AtomicBool::new(false);

fn is_huge(process: &Process, va: VirtAddr) -> bool {
    process.space().ptl.lock().walk(va).leaf().is_some_and(|leaf| leaf.level == Level::L2)
}

/// The address in `collapse-written 0x…`.
fn parse(line: &str) -> Option<VirtAddr> {
    let va = line.strip_prefix("collapse-written 0x")?;
    u64::from_str_radix(va, 16).ok().map(VirtAddr::new)
}

/// Ends the sleep of khugepaged by a change of its length, and waits for what it does.
fn wake_and_wait(process: &Process, line: &str) {
    let Some(va) = parse(line) else { return };
    let mm = crate::the_mm();
    let scans = khugepaged::full_scans(mm);
    let set = files::write(mm, Number::ScanSleepMillisecs.path(), "5");
    let scanned = set.is_ok() && comes(|| khugepaged::full_scans(mm) >= scans + 2);
    BECAME_HUGE.store(scanned && is_huge(process, va), Ordering::Relaxed);
    let small = |n| !is_huge(process, va.add(n * BLOCK));
    OTHERS_SMALL.store(scanned && small(1) && small(2), Ordering::Relaxed);
}

fn set(mm: &Mm, number: Number, text: &str) -> Verdict {
    check!(mm.thp.set_number(number, text).is_ok(), "{} = {text}", number.word());
    Ok(())
}

/// With `thp=defer` nothing is huge at the fault; khugepaged, which sleeps for ever, is woken by a change of that
/// setting, and collapses what the program has written to, but not zeros, and not what was advised against.
fn a_program_s_memory_becomes_huge(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Defer, 256)?;
    set(mm, Number::ScanSleepMillisecs, FOR_EVER)?;
    let counts = || [Counter::ThpFaultAlloc, Counter::ThpCollapseAlloc].map(|c| mm.stats.get(c));
    let (before, collapsed) = (counts(), khugepaged::pages_collapsed(mm));
    let status = run("collapse", &["collapse"], Some(Observer::Stops(wake_and_wait)))?;
    check_eq!(status.shell_code(), 0, "the status of collapse");
    check!(BECAME_HUGE.load(Ordering::Relaxed), "khugepaged has not collapsed the block");
    check!(OTHERS_SMALL.load(Ordering::Relaxed), "zeros, or what is MADV_NOHUGEPAGE, became huge");
    let after = counts();
    check_eq!(after[0] - before[0], 0, "huge pages at a fault");
    check!(after[1] > before[1], "no collapse was counted");
    check!(khugepaged::pages_collapsed(mm) > collapsed, "pages_collapsed has not changed");
    check!(settle::check(mm).is_ok(), "the full check");
    Ok(())
}

/// With `max_ptes_none` 0 the block, of which one page in eight is there, stays small.
fn limits_keep_it_small(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Defer, 256)?;
    set(mm, Number::MaxPtesNone, "0")?;
    let before = mm.stats.get(Counter::ThpScanExceedNone);
    let status = run("collapse", &["collapse", "ms=1"], Some(Observer::Stops(wake_and_wait)))?;
    check_eq!(status.shell_code(), 0, "the status of collapse");
    check!(!BECAME_HUGE.load(Ordering::Relaxed), "khugepaged has collapsed beyond its limit");
    check!(mm.stats.get(Counter::ThpScanExceedNone) > before, "the limit was not counted");
    Ok(())
}

/// khugepaged that never sleeps, beside programs that write, discard, fork and promote in every mode but `never`:
/// every byte is kept, and once they have ended it is quiet.
fn without_sleep_contents_are_kept(mm: &'static Mm) -> Verdict {
    for mode in [ThpMode::Defer, ThpMode::Always, ThpMode::Madvise, ThpMode::Reserve] {
        let _settings = ThpSettings::set(mm, mode, 8)?;
        set(mm, Number::ScanSleepMillisecs, "0")?;
        khugepaged::wake(mm);
        expect("promote", &["promote", "seed=11", "blocks=2", "rounds=1", "ops=20"], 0)?;
        expect("collapse", &["collapse", "ms=20"], 0)?;
        expect("fork", &["fork", "cow"], 0)?;
        check!(settle::check(mm).is_ok(), "the full check after {mode}");
    }
    Ok(())
}
