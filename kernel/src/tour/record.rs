//! The steps of a remap, as they are made.
//!
//! A step is announced in the middle of a remap: page-table locks are held, and some struct pages may have no
//! translation. So the listener allocates nothing, touches no struct page, and reads tables through the linear map.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::contract::{Cpu, CpuId};
use arch::sync::{Rank, SpinLock};
use arch::{Machine, Mmu, Pfn, PhysAddr, PhysMem, VirtAddr, layout};
use arrayvec::ArrayVec;
use mm::hvo::VmemmapEntry;
use mm::hvo::describe::PAGES;
use mm::pgtable::walk;
use mm::steps::{Step, StepKind};

use crate::sched::{self, State};
use crate::{env, time};

/// Steps that are kept: a remap of one folio, with a split before, has 10.
const MOST: usize = 16;

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
    /// The thread that made the first step of a promotion.
    pub(super) thread: &'static str,
    /// Nanoseconds that recording has taken.
    looked: u64,
    /// The eight vmemmap pages of the folio, for a remap of HVO.
    pub(super) vmemmap: Option<Vmemmap>,
}

/// How the eight vmemmap pages of a folio were mapped in the course of a remap.
#[derive(Clone, Copy)]
pub(super) struct Vmemmap {
    /// Before it.
    before: [VmemmapEntry; PAGES],
    /// When its first change was made and flushed.
    pub(super) during: Option<[VmemmapEntry; PAGES]>,
    /// How many of them came to map another frame, without a break, that held the same bytes as the one before.
    pub(super) equal: usize,
}

impl Recording {
    const EMPTY: Recording = Recording {
        start: VirtAddr::new(0),
        end: VirtAddr::new(0),
        steps: ArrayVec::new_const(),
        thread: "",
        looked: 0,
        vmemmap: None,
    };

    /// Nanoseconds from the first step to the last, but for those in which the recorder looked on.
    pub(super) fn duration(&self) -> u64 {
        match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) => (last.at - first.at).saturating_sub(self.looked),
            _ => 0,
        }
    }
}

/// The highest lock of all, as steps are announced under others.
static RECORDING: SpinLock<Recording> = SpinLock::new(Rank(96), Recording::EMPTY);

/// Records the steps for entries that map any of `bytes` bytes from `start`.
pub(super) fn start(start: VirtAddr, bytes: u64) {
    listen_to(Recording { start, end: start.add(bytes), ..Recording::EMPTY });
}

/// Records the steps for the vmemmap of the folio at `head`, whose entries are as `before` says.
pub(super) fn start_vmemmap(head: Pfn, before: &[VmemmapEntry; PAGES]) {
    let start = layout::vmemmap(head);
    let vmemmap = Vmemmap { before: *before, during: None, equal: 0 };
    let end = start.add(PAGES as u64 * PAGE_SIZE);
    listen_to(Recording { start, end, vmemmap: Some(vmemmap), ..Recording::EMPTY });
}

fn listen_to(recording: Recording) {
    *RECORDING.lock() = recording;
    env::listen(Some(listen));
}

/// Ends recording.
pub(super) fn stop() -> Recording {
    env::listen(None);
    RECORDING.lock().clone()
}

fn listen(step: &Step) {
    let recorded = Recorded { step: *step, cpu: Machine::id(), at: time::now_ns() };
    // While HVO has entries broken, nothing may be waited for that whoever touches them may hold.
    let thread = if step.kind == StepKind::PromoteBegin { running_thread(recorded.cpu) } else { "" };
    let mut recording = RECORDING.lock();
    let run_end = step.va.add(u64::from(step.entries) * step.level.entry_bytes());
    if run_end <= recording.start || step.va >= recording.end {
        return;
    }
    if recording.steps.is_empty() {
        recording.thread = thread;
    }
    if let Some(vmemmap) = &mut recording.vmemmap {
        look(vmemmap, step);
    }
    // More steps than a remap has are counted nowhere; the stop's check of them all fails.
    let _kept = recording.steps.try_push(recorded);
    recording.looked += time::now_ns() - recorded.at;
}

/// Looks at the folio's entries where a step of its remap makes that worth it.
fn look(vmemmap: &mut Vmemmap, step: &Step) {
    let now = || vmemmap.before.map(|entry| entry_now(entry.va));
    match step.kind {
        StepKind::HvoFlush | StepKind::RestoreFlush if vmemmap.during.is_none() => {
            vmemmap.during = Some(now());
        }
        StepKind::HvoRepoint | StepKind::RestoreRepoint => {
            let frames =
                vmemmap.before.iter().zip(now()).map(|(before, now)| (before.output(), now.output()));
            let equal = |&(before, now): &(Option<PhysAddr>, Option<PhysAddr>)| match (before, now) {
                (Some(before), Some(now)) => before != now && Machine::equal(before, now, PAGE_SIZE),
                _ => false,
            };
            vmemmap.equal = frames.filter(equal).count();
        }
        _ => {}
    }
}

/// The name of the thread that runs on `cpu`. Every slot of the table is locked for it.
fn running_thread(cpu: CpuId) -> &'static str {
    let mut name = "";
    sched::for_each_thread(|thread| {
        if thread.state == State::Running(cpu) {
            name = thread.name;
        }
    });
    name
}

/// The entry of a vmemmap page, without the lock of its table, which whoever announces a step holds.
fn entry_now(va: VirtAddr) -> VmemmapEntry {
    let last = walk(Machine::kernel_root(), va).last();
    VmemmapEntry { va, level: last.level, slot: last.slot, desc: last.desc }
}
