//! The number of free pages, and the full check, once nothing is under way any more that would change either.
//!
//! A process that has been waited for has given back its memory, but its thread still stands on its kernel stack; a
//! promotion that was submitted may be under way. Both end by themselves, so whoever compares numbers of free
//! pages waits for them first; and the full check wants memory management at rest.
#![forbid(unsafe_code)]

use arch::Machine;
use arch::contract::Cpu;
use mm::Mm;
use mm::check::{Inconsistency, Report};
use mm::thp::{khugepaged, promoter};

use crate::sched::{self, State, ThreadInfo};
use crate::time;

/// For how long ends are waited for: far longer than any takes.
const PATIENCE_NS: u64 = 5_000_000_000;

/// Free pages (4 KiB units), among them those that are free but for a cache that keeps them for good: HVO's shared
/// pages and the tables of the vmemmap blocks that it split, the block of zeros, and the heap's chunks; and those that
/// have failed, which are no leak. Waits until no
/// thread of a process is left, the promoter sleeps with nothing to do, khugepaged sleeps, and the stacks of ended
/// threads are free. After [`PATIENCE_NS`] it counts what there is.
pub fn free_pages(mm: &Mm) -> u64 {
    wait(mm);
    mm.free_page_count() + kept_pages(mm) + mm.failed_frames()
}

/// Holds everything of memory management against a full scan, while every other CPU is held. Waits as
/// [`free_pages`] does.
///
/// # Errors
/// The first [`Inconsistency`].
pub fn check(mm: &Mm) -> Result<Report, Inconsistency> {
    wait(mm);
    let mut found = Ok(Report::default());
    mm.env.stop_machine(&mut || found = mm.check_all());
    found
}

fn wait(mm: &Mm) {
    let until = time::now_ns() + PATIENCE_NS;
    while !is_quiet(mm) && time::now_ns() < until {
        sched::yield_now();
        Machine::relax();
    }
}

/// Pages that caches keep (4 KiB units).
pub fn kept_pages(mm: &Mm) -> u64 {
    mm.hvo.kept_pages(mm) + mm.huge_zero.kept_pages() + crate::heap::small_pages()
}

fn is_quiet(mm: &Mm) -> bool {
    promoter::drain(mm);
    sched::reap();
    let mut quiet = promoter::backlog(mm) == 0;
    sched::for_each_thread(|thread| quiet &= is_settled(thread));
    quiet
}

fn is_settled(thread: &ThreadInfo) -> bool {
    match thread.state {
        State::Dead => false,
        State::Parked(_) | State::ParkedUntil(..) | State::Free => true,
        _ => ![promoter::THREAD, khugepaged::THREAD, sched::USER_THREAD].contains(&thread.name),
    }
}
