//! Faults of the kernel's own accesses to struct pages: HVO says what they come to ([`mm::hvo::fault`]).
//!
//! Such a fault comes with any lock held, in an interrupt handler too, so nothing here or on the way here takes a lock or
//! touches a struct page, and it needs no more stack than the vectors keep free for a handler. Only the report of a
//! write to a shared tail does more: it is the end.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::aarch64::trap::Resolution;
use arch::aarch64::vectors::TrapFrame;
use arch::esr::Abort;
use mm::Mm;
use mm::hvo::fault::{self, Verdict};
use mm::page::PageRef;

use crate::{boot, panic, sched};

/// A data abort of the kernel that no copy from or to user memory took. Interrupts are masked.
pub fn fault(frame: &TrapFrame, abort: &Abort) -> Resolution {
    let Some(mm) = boot::mm_once_up() else { return Resolution::Unresolved };
    match fault::resolve(mm, VirtAddr::new(frame.far), abort.access, abort.status) {
        Verdict::Retry => Resolution::Retry,
        Verdict::TailWritten(page) => tail_written(mm, frame, page),
        Verdict::Unknown => Resolution::Unresolved,
    }
}

/// The end: somebody has written to a struct page that all folios of its size share. The registers are the writer's.
#[cold]
#[inline(never)]
fn tail_written(mm: &Mm, frame: &TrapFrame, page: PageRef) -> ! {
    let (pfn, head) = (page.pfn().raw(), page.head(mm.config.tails).pfn().raw());
    let writer = sched::running_name().unwrap_or("of no known name");
    panic::interrupted(
        frame,
        format_args!(
            "write to a shared tail: the struct page at {} of pfn {pfn:#x}, whose folio has its head at pfn {head:#x}; \
             by thread {writer} at pc {:#x}",
            page.address(),
            frame.elr
        ),
    )
}
