//! The steps of a remap, as they are made.
//!
//! A step is announced in the middle of a remap: page-table locks are held, and some struct pages may have no
//! translation. So the listener allocates nothing, touches no struct page, and reads tables through the linear map.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::contract::{Cpu, CpuId};
use arch::sync::{Rank, SpinLock};
use arch::{Machine, Mmu, Order, Pfn, VirtAddr, layout};
use arrayvec::ArrayVec;
use mm::hvo::VmemmapEntry;
use mm::hvo::describe::PAGES;
use mm::pgtable::walk;
use mm::steps::{Step, StepKind};

use crate::sched::{self, State};
use crate::{env, time};

/// Steps that are kept: a remap of one folio has 20.
const MOST: usize = 32;

/// One step, and who made it.
#[derive(Clone, Copy)]
pub(super) struct Recorded {
    pub(super) step: Step,
    pub(super) cpu: CpuId,
    /// Nanoseconds since boot.
    pub(super) at: u64,
}

/// What was recorded.
#[derive(Clone)]
pub(super) struct Recording {
    /// Steps for these addresses are kept.
    start: VirtAddr,
    end: VirtAddr,
    pub(super) steps: ArrayVec<Recorded, MOST>,
    /// The thread that made the first step.
    pub(super) thread: &'static str,
    /// The eight vmemmap pages of the folio when all its entries were broken and flushed.
    pub(super) during: Option<[VmemmapEntry; PAGES]>,
}

impl Recording {
    const EMPTY: Recording = Recording {
        start: VirtAddr::new(0),
        end: VirtAddr::new(0),
        steps: ArrayVec::new_const(),
        thread: "",
        during: None,
    };

    /// How many steps of this kind there are.
    pub(super) fn count(&self, kind: StepKind) -> usize {
        self.steps.iter().filter(|recorded| recorded.step.kind == kind).count()
    }

    /// Where the first step of this kind is.
    pub(super) fn position(&self, kind: StepKind) -> Option<usize> {
        self.steps.iter().position(|recorded| recorded.step.kind == kind)
    }

    /// Nanoseconds from the first step to the last.
    pub(super) fn duration(&self) -> u64 {
        match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) => last.at - first.at,
            _ => 0,
        }
    }
}

/// The highest lock of all, as steps are announced under others.
static RECORDING: SpinLock<Recording> = SpinLock::new(Rank(96), Recording::EMPTY);

/// Records the steps for entries that map any of `bytes` bytes from `start`.
pub(super) fn start(start: VirtAddr, bytes: u64) {
    *RECORDING.lock() = Recording { start, end: start.add(bytes), ..Recording::EMPTY };
    env::listen(Some(listen));
}

/// Records the steps for the vmemmap of the folio at `head`.
pub(super) fn start_vmemmap(head: Pfn) {
    start(layout::vmemmap(head), PAGES as u64 * PAGE_SIZE);
}

/// Ends recording.
pub(super) fn stop() -> Recording {
    env::listen(None);
    RECORDING.lock().clone()
}

fn listen(step: &Step) {
    let recorded = Recorded { step: *step, cpu: Machine::id(), at: time::now_ns() };
    let is_first = RECORDING.lock().steps.is_empty();
    let thread = if is_first { running_thread(recorded.cpu) } else { "" };
    let mut recording = RECORDING.lock();
    let entry_end = step.va.add(step.level.entry_bytes());
    if entry_end <= recording.start || step.va >= recording.end {
        return;
    }
    if is_first {
        recording.thread = thread;
    }
    if matches!(step.kind, StepKind::HvoFlush | StepKind::RestoreFlush) {
        recording.during = Some(vmemmap_now(recording.start));
    }
    // More steps than a remap has are counted nowhere; the stop's check of their number fails.
    let _kept = recording.steps.try_push(recorded);
}

/// The name of the thread that runs on `cpu`. Looked up once a recording: every slot of the table is locked for it.
fn running_thread(cpu: CpuId) -> &'static str {
    let mut name = "";
    sched::for_each_thread(|thread| {
        if thread.state == State::Running(cpu) {
            name = thread.name;
        }
    });
    name
}

/// The entries of eight vmemmap pages, without the lock of their tables, which whoever announces a step holds.
fn vmemmap_now(base: VirtAddr) -> [VmemmapEntry; PAGES] {
    let base = base.align_down(PAGES as u64 * PAGE_SIZE);
    const { assert!(PAGES as u64 * PAGE_SIZE == Order::PMD.pages() * layout::STRUCT_PAGE_BYTES) };
    core::array::from_fn(|n| {
        let va = base.add(n as u64 * PAGE_SIZE);
        let last = walk(Machine::kernel_root(), va).last();
        VmemmapEntry { va, level: last.level, slot: last.slot, desc: last.desc }
    })
}
