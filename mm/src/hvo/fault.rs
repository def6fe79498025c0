//! Faults of the kernel's own accesses to struct pages.
//!
//! Anybody touches struct pages at any time: with spinlocks held, with interrupts masked, in an interrupt handler. So
//! what answers a fault of theirs may sleep for nothing and lock nothing. [`resolve`] takes no lock, touches no struct
//! page, and reads the tables through the linear map; its stack is not in vmemmap. It is for three faults:
//!
//! | fault | when | what is done |
//! |---|---|---|
//! | translation | a strategy has broken the entry, and will make it again | wait until it is made, and try again |
//! | TLB conflict | FEAT_BBM level 2: a block of vmemmap was replaced by a table, and is not flushed yet | drop what this CPU holds, and try again |
//! | permission | a write to a tail that is shared | nothing: whoever wrote is wrong, and is told |
//!
//! # Why the wait ends
//! Entries are broken under lock V by one CPU, with its interrupts masked, which says so in the [`Breaking`]. Until it has
//! made them again it waits for nothing that needs another CPU's software: it takes no further lock, allocates and
//! frees nothing, asks no CPU for anything; a DSB waits for hardware alone. So it does not matter what whoever waits
//! here holds, be it the zone's lock or a run queue's, nor that his interrupts are masked.
//!
//! # Where such a fault must not happen
//! On the CPU that has the window open: it would wait for itself. By construction it touches no struct page there
//! (see [`super::window`]); should it do so, that is [`Verdict::Unknown`]. And on the path of the fault itself: the
//! vectors and the handler use a stack of the vmalloc area, per-CPU data of the image, and the linear map.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::contract::FaultStatus;
use arch::layout::{STRUCT_PAGE_BYTES, VMEMMAP_BASE, VMEMMAP_BYTES};
use arch::pte::PteFlags;
use arch::{Access, Cpu, Dsb, FlushScope, Machine, Mmu, Tlbi, VirtAddr};

use crate::Mm;
use crate::page::{PageRef, page_of};
use crate::pgtable::walk;
use crate::trace::Point;

/// What a fault of the kernel at an address of vmemmap comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// The access is to be tried again.
    Retry,
    /// A write to a tail that is shared: this struct page.
    TailWritten(PageRef),
    /// None of ours: the address is not in vmemmap, or has no struct page, or this CPU itself has broken it.
    Unknown,
}

/// Which CPU has entries of vmemmap broken at the moment, while others may touch them: the window that is open, if any,
/// and how many there were.
#[derive(Debug)]
pub struct Breaking(AtomicU64);

/// A look at [`Breaking`]: the CPU's number plus one, or 0 for none, below the number of windows so far. Two looks that
/// are equal and find none had no window between them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look(u64);

impl Look {
    const WINDOW: u64 = 1 << 8;

    fn closed(self) -> Look {
        Look(self.0 & !(Look::WINDOW - 1))
    }
    fn opened(self) -> Look {
        Look(self.closed().0.wrapping_add(Look::WINDOW + Machine::id().index() as u64 + 1))
    }
    fn is_closed(self) -> bool {
        self == self.closed()
    }
    fn is_own(self) -> bool {
        self.0 % Look::WINDOW == Machine::id().index() as u64 + 1
    }
}

impl Breaking {
    pub(super) const fn new() -> Self {
        Breaking(AtomicU64::new(0))
    }
    fn look(&self) -> Look {
        Look(self.0.load(Ordering::SeqCst))
    }
    /// Runs `f`, which breaks entries and makes them. Under lock V, so that no two are open. Descriptors are stored with
    /// release and read with acquire, so who reads one that `f` has broken finds the window open, or closed later.
    pub(super) fn open<R>(&self, f: impl FnOnce() -> R) -> R {
        let open = self.look().opened();
        self.0.store(open.0, Ordering::SeqCst);
        let result = f();
        self.0.store(open.closed().0, Ordering::SeqCst);
        result
    }
}

/// Whether the address is one of a struct page, be there one or not.
#[must_use]
pub fn is_vmemmap(va: VirtAddr) -> bool {
    va >= VMEMMAP_BASE && va.offset_from(VMEMMAP_BASE) < VMEMMAP_BYTES
}

/// What to do about a fault of a kernel access to `va`. Called where the fault was taken, with interrupts masked;
/// see the [module](self).
pub fn resolve(mm: &Mm, va: VirtAddr, access: Access, status: FaultStatus) -> Verdict {
    match status {
        _ if !is_vmemmap(va) => Verdict::Unknown,
        FaultStatus::Translation(_) => {
            let waited = |verdict: &Verdict| {
                let waited = u64::from(*verdict == Verdict::Retry);
                (waited, [va.raw(), waited, 0, 0])
            };
            let begin = || [va.raw(), 0, 0, 0];
            mm.stats.slice(Point::Wait, (0, begin), waited, || await_translation(mm, va))
        }
        FaultStatus::TlbConflict => drop_conflict(mm),
        FaultStatus::Permission(_) if access == Access::Write => refuse_write(mm, va),
        _ => Verdict::Unknown,
    }
}

/// Waits until the entry is made that translates `va`. What is broken while no window is open, from before the walk to
/// after it, nobody will make. One look alone would not tell: the window in which the fault was taken may be closed by
/// now, and another open before the walk.
fn await_translation(mm: &Mm, va: VirtAddr) -> Verdict {
    loop {
        let before = mm.hvo.breaking.look();
        let last = walk(mm.kernel_root(), va).last();
        if last.desc.is_leaf(last.level) {
            break;
        }
        if before.is_own() || (before.is_closed() && mm.hvo.breaking.look() == before) {
            return Verdict::Unknown;
        }
        Machine::relax();
    }
    // What this CPU's loads see its walker may see a little later: the store's DSB is another CPU's.
    Machine::relax();
    Verdict::Retry
}

/// Removes both of what this CPU holds: the next access walks the tables, which have one.
fn drop_conflict(mm: &Mm) -> Verdict {
    Machine::tlbi(Tlbi::All, FlushScope::Local);
    Machine::dsb(Dsb::Nsh);
    Machine::isb();
    mm.stats.note(Point::VmemmapConflict, 1, || [0; 4]);
    Verdict::Retry
}

/// A permission that was just given may not have reached this CPU; a shared tail never has it.
fn refuse_write(mm: &Mm, va: VirtAddr) -> Verdict {
    let last = walk(mm.kernel_root(), va).last();
    let read_only =
        last.desc.is_leaf(last.level) && last.desc.flags(last.level).contains(PteFlags::READ_ONLY);
    if read_only { Verdict::TailWritten(struct_page(va)) } else { Verdict::Retry }
}

/// The struct page in which an address of vmemmap lies.
fn struct_page(va: VirtAddr) -> PageRef {
    page_of(arch::Pfn::new(va.offset_from(VMEMMAP_BASE) / STRUCT_PAGE_BYTES))
}
