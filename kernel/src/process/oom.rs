//! Who is killed when memory is out.
//!
//! A fault that finds no memory kills the process with the largest resident set, waits for its end, and is tried again:
//! what needs memory gets it from who has most of it (Linux: oom_badness, with no adjustment). Resident are anonymous
//! and hugetlb pages and the tables; a page that several processes map counts for each of them. Memory that nobody
//! needs any more, such as kernel stacks of ended threads, is freed first.
#![forbid(unsafe_code)]

use mm::kalloc::KArc;

use super::{Process, Signal, family};
use crate::{println, sched, the_mm};

/// For how long a victim is waited for: one that takes longer is stuck, and who waits ends itself.
const PATIENCE_NS: u64 = 1_000_000_000;
const KIB_PER_PAGE: u64 = 4;

/// What a fault without memory is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Relief {
    /// Try again: memory may be free.
    TryAgain,
    /// Give up: this process is to end.
    GiveUp,
}

/// A victim and its resident set in pages.
struct Victim {
    process: KArc<Process>,
    pages: u64,
}

/// Kills some process for want of memory, on the thread of `needy`, which holds no lock.
pub(super) fn relieve(needy: &Process) -> Relief {
    if needy.verdict().is_some() {
        return Relief::GiveUp;
    }
    sched::reap();
    let Some(Victim { process, pages }) = largest() else { return Relief::GiveUp };
    if process.verdict().is_none() {
        let (pid, name, kib) = (process.pid, process.name, pages * KIB_PER_PAGE);
        println!("out of memory: killed process {pid} ({name}), {kib} KiB resident");
        process.kill(Signal::Kill);
    }
    if core::ptr::eq(&raw const *process, needy) {
        return Relief::GiveUp;
    }
    process.wait_a_while(PATIENCE_NS);
    let gone = process.status().is_some();
    if gone && needy.verdict().is_none() { Relief::TryAgain } else { Relief::GiveUp }
}

/// The process whose end frees most. One whose end is decided already is waited for, whatever its size; but not the
/// first of a family that waits for all others, after it has given up its memory.
fn largest() -> Option<Victim> {
    let mut largest: Option<Victim> = None;
    family::for_each(|process| {
        if process.status().is_some() || process.ends() && process.first.is_none() {
            return;
        }
        let pages = match process.verdict() {
            Some(_) => u64::MAX,
            None => resident(process),
        };
        if largest.as_ref().is_none_or(|victim| victim.pages < pages) {
            largest = Some(Victim { process: process.clone(), pages });
        }
    });
    largest
}

fn resident(process: &Process) -> u64 {
    let usage = the_mm().usage(process.space());
    usage.anon + usage.hugetlb + usage.tables
}
