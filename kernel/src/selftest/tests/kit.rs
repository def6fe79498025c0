//! What several self-tests need.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use arch::contract::Cpu;
use arch::{Machine, Order};
use arrayvec::ArrayVec;
use mm::Mm;
use mm::config::{Number, Promote, ThpMode};
use mm::kalloc::KArc;
use mm::page::{FolioList, FolioRef, PageKind, PageRef};
use mm::thp::khugepaged;

use crate::process::{self, ExitStatus, Observer, Process, Signal};
use crate::sched::{self, ThreadId};
use crate::selftest::{Failure, NotPassed, Verdict, check};
use crate::time;

/// Time after which what is waited for will not come any more, in ns. It takes a millisecond or so; but the machine that
/// this one runs on may have no CPU for it for long.
const STUCK_NS: u64 = 30_000_000_000;

/// Waits until `done`; whether it ever was.
pub(super) fn comes(mut done: impl FnMut() -> bool) -> bool {
    let until = time::now_ns() + STUCK_NS;
    while !done() {
        if time::now_ns() > until {
            return false;
        }
        sched::yield_now();
        Machine::relax();
    }
    true
}

/// Kernel threads of one test, which run until they are told to stop.
pub(super) struct Threads {
    ids: ArrayVec<ThreadId, 32>,
    stop: &'static AtomicBool,
}

impl Threads {
    /// `count` threads, at most 32, that all run `body`; it returns soon after `stop` becomes true.
    pub(super) fn start(
        count: usize,
        stop: &'static AtomicBool,
        body: fn(&'static Mm),
    ) -> Result<Threads, NotPassed> {
        stop.store(false, Ordering::Release);
        let mut threads = Threads { ids: ArrayVec::new(), stop };
        for _ in 0..count {
            let id = sched::spawn("selftest", body)
                .map_err(|error| Failure::new(file!(), line!(), format_args!("{error}")))?;
            threads.ids.push(id);
        }
        Ok(threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.ids.iter().for_each(|&id| sched::join(id));
    }
}

/// Runs a program to its end.
pub(super) fn run(name: &str, args: &[&str], observer: Option<Observer>) -> Result<ExitStatus, NotPassed> {
    let process = process::run(name, args, observer)
        .map_err(|error| Failure::new(file!(), line!(), format_args!("{name}: {error}")))?;
    Ok(process.wait())
}

/// Runs a program to its end, which must have this status, as a shell shows it.
pub(super) fn expect(name: &str, args: &[&str], code: u8) -> Verdict {
    let status = run(name, args, None)?;
    if status.shell_code() == code {
        return Ok(());
    }
    let words = format_args!("{name} {args:?}: {status}, expected status {code}");
    Err(Failure::new(file!(), line!(), words).into())
}

/// Mode and numbers of huge pages, and who promotes, put back when dropped.
pub(super) struct ThpSettings {
    mm: &'static Mm,
    mode: ThpMode,
    promote: Promote,
    numbers: [u64; Number::COUNT],
}

impl ThpSettings {
    /// Changes mode and threshold.
    pub(super) fn set(mm: &'static Mm, mode: ThpMode, threshold: u64) -> Result<Self, NotPassed> {
        let numbers = core::array::from_fn(|n| mm.thp.number(Number::ALL[n]));
        let before = ThpSettings { mm, mode: mm.thp.mode(), promote: mm.thp.promote(), numbers };
        mm.thp.set_mode(mode);
        mm.thp
            .set_threshold(threshold)
            .map_err(|error| Failure::new(file!(), line!(), format_args!("{error}")))?;
        Ok(before)
    }
}

impl Drop for ThpSettings {
    fn drop(&mut self) {
        self.mm.thp.set_mode(self.mode);
        self.mm.thp.set_promote(self.promote);
        for (&number, value) in Number::ALL.iter().zip(self.numbers) {
            // It was in force before, so it is in range.
            let _ = self.mm.thp.set(number, value);
        }
        khugepaged::wake(self.mm);
    }
}

/// Blocks of memory that a test holds; given back when dropped.
pub(super) struct Blocks {
    mm: &'static Mm,
    list: FolioList,
}

impl Blocks {
    pub(super) const fn none(mm: &'static Mm) -> Self {
        Blocks { mm, list: FolioList::new() }
    }
    /// Takes one more block; whether there was one.
    pub(super) fn take(&mut self, order: Order) -> bool {
        match self.mm.alloc_pages(order, PageKind::Kernel) {
            Ok(block) => {
                self.push(block);
                true
            }
            Err(_) => false,
        }
    }
    /// Gives the block back that was taken last, if there is one; it should be a page.
    pub(super) fn give_back_one(&mut self) -> bool {
        let block = self.list.pop();
        let found = block.is_some();
        if let Some(block) = block {
            let order = block.order();
            self.mm.free_pages(block, order);
        }
        found
    }
    /// Holds a block that was taken elsewhere.
    pub(super) fn push(&mut self, block: FolioRef) {
        self.list.push(block);
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = PageRef> + '_ {
        self.list.iter()
    }
    pub(super) fn len(&self) -> u64 {
        self.list.len()
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        while let Some(block) = self.list.pop() {
            let order = block.order();
            self.mm.free_pages(block, order);
        }
    }
}

/// A process that sleeps, with nothing mapped but what every program has. It is killed, and has ended, when this is
/// dropped.
pub(super) struct Sleeper(KArc<Process>);

impl Sleeper {
    /// Starts it, and waits until it sleeps.
    pub(super) fn start() -> Result<Self, NotPassed> {
        let sleeper = process::run("tick", &["tick", "ticks=1", "ms=600000"], None)
            .map(Sleeper)
            .map_err(|error| Failure::new(file!(), line!(), format_args!("tick: {error}")))?;
        check!(comes(|| sleeper.sleeps()), "the process does not sleep");
        Ok(sleeper)
    }

    pub(super) fn process(&self) -> &KArc<Process> {
        &self.0
    }

    fn sleeps(&self) -> bool {
        let mut sleeps = false;
        sched::for_each_thread(|thread| {
            sleeps |= thread.pid == Some(self.0.pid()) && thread.state.letter() == 'S';
        });
        sleeps
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill(Signal::Kill);
        self.0.wait();
    }
}
