//! Where a mapping goes that has no fixed address.
//!
//! ```text
//!   USER_START ............................ MMAP_BASE ....... USER_END
//!                 new mappings grow  <-----  |   stack, 128 MiB  |
//! ```
//! First fit from [`MMAP_BASE`] downwards, as Linux lays out a process (mmap_base); what does not fit there
//! may go above it. A mapping of 2 MiB or more begins at a multiple of 2 MiB, so that blocks fit
//! (Linux: thp_get_unmapped_area).
#![forbid(unsafe_code)]

use arch::layout::{USER_END, USER_START};
use arch::{PageSize, VirtAddr};

use super::vma_tree::{Alignment, Wish};
use super::{Vma, VmaSet};

/// Mappings are placed below this; above it the kernel puts the stack.
pub const MMAP_BASE: VirtAddr =
    VirtAddr::new(USER_END.raw() - (128 << 20)).align_down(PageSize::Size2M.bytes());

/// What is asked of the gap for a mapping of this length.
fn wish(bytes: u64) -> Wish {
    let huge = bytes >= PageSize::Size2M.bytes();
    Wish { bytes, alignment: if huge { Alignment::Block } else { Alignment::Page } }
}

/// A free address for `bytes` bytes (a multiple of 4 KiB), a multiple of `granule`: `hint`, rounded up, where it is not 0
/// and free, or else the highest one that fits. With a granule above 2 MiB the room for one more is looked for (Linux:
/// `vm_unmapped_area` with an `align_mask`).
pub(super) fn find(vmas: &VmaSet, hint: u64, bytes: u64, granule: u64) -> Option<VirtAddr> {
    // Where a larger granule lies in a gap is not known: one that has room for it wherever it lies is looked for.
    let aligned = if bytes >= PageSize::Size2M.bytes() { PageSize::Size2M } else { PageSize::Size4K };
    let more = granule.saturating_sub(aligned.bytes());
    let within = |gap: VirtAddr| gap.add(more).align_down(granule);
    let highest = |from, to| vmas.highest_gap(from, to, wish(bytes.saturating_add(more))).map(within);
    at_hint(vmas, hint, bytes, granule)
        .or_else(|| highest(USER_START, MMAP_BASE))
        .or_else(|| highest(MMAP_BASE, USER_END))
}

/// The hint, rounded up to the granule and to the lowest address that may be mapped, if it is free.
fn at_hint(vmas: &VmaSet, hint: u64, bytes: u64, granule: u64) -> Option<VirtAddr> {
    if hint == 0 || hint >= USER_END.raw() {
        return None;
    }
    let start = VirtAddr::new(hint).align_up(granule).max(USER_START.align_up(granule));
    let end = start.checked_add(bytes)?;
    let above = vmas.find(start).map_or(USER_END, |next| next.guard_start());
    (end <= above && end <= USER_END).then_some(start)
}

/// Whether `[start, end)` is free, also of the guard gap of a stack above it.
pub(super) fn is_free(vmas: &VmaSet, start: VirtAddr, end: VirtAddr) -> bool {
    end <= vmas.find(start).map_or(USER_END, |next: Vma| next.guard_start())
}
