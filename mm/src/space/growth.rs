//! A stack grows: an access below a VMA that grows down makes it larger.
//!
//! ```text
//!   [ other )   guard gap, free    <---- [ stack        )
//!              ^ not further down  fault ^ start   end    at most STACK_LIMIT from fault to end
//! ```
//! Linux: `expand_stack`, `expand_downwards`, `acct_stack_growth`. The access may be anywhere below; what lies between
//! becomes a part of the VMA too. A neighbour that nobody can access is its own guard: no gap is asked for above it.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::USER_START;

use super::vma::STACK_GUARD_GAP;
use super::{AddressSpace, Growth, Prot, Vma, VmaKind, VmaSet};
use crate::Mm;
use crate::locks::ReadGuard;

/// Most bytes of a VMA that grows by itself (Linux: the default of RLIMIT_STACK).
pub const STACK_LIMIT: u64 = 8 << 20;

/// Whether an address is a part of the space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Grown {
    /// A VMA holds it now.
    Yes,
    /// No VMA holds it, or can.
    No,
}

impl Mm {
    /// M for reading, and the VMA that holds `va` while it is held, after a stack has grown to it where one can. May
    /// sleep.
    pub(crate) fn find_or_grow<'a>(
        &'a self,
        space: &'a AddressSpace,
        va: VirtAddr,
    ) -> (ReadGuard<'a>, Option<Vma>) {
        let mut mmap = space.mmap_lock.read(self.env);
        let mut vma = space.find_vma(va);
        if vma.is_some_and(|vma| !vma.contains(va) && is_stack(&vma)) {
            drop(mmap);
            let _ = self.grow_stack(space, va);
            mmap = space.mmap_lock.read(self.env);
            vma = space.find_vma(va);
        }
        (mmap, vma.filter(|vma| vma.contains(va)))
    }

    /// Lets the stack above `va`, which no VMA holds, grow down to it. Takes M for writing: the caller has let go of
    /// it, and looks again. May sleep.
    pub fn grow_stack(&self, space: &AddressSpace, va: VirtAddr) -> Grown {
        let _mmap = space.mmap_lock.write(self.env);
        let mut vmas = space.vmas.lock();
        let start = va.align_down(PAGE_SIZE);
        match vmas.find(va) {
            Some(vma) if vma.contains(va) => Grown::Yes,
            Some(vma) if may_grow(&vmas, &vma, start) => {
                vmas.grow_down(vma.start, start);
                Grown::Yes
            }
            _ => Grown::No,
        }
    }
}

/// Whether growing is for a VMA to do: cheap, and asked first.
fn is_stack(vma: &Vma) -> bool {
    vma.growth == Growth::Down && vma.kind == VmaKind::Anon
}

fn may_grow(vmas: &VmaSet, vma: &Vma, start: VirtAddr) -> bool {
    let pages = vma.start.offset_from(start) / PAGE_SIZE;
    let clear = vmas.find_below(start).is_none_or(|below| {
        let guard = if below.prot == Prot::NONE || is_stack(&below) { 0 } else { STACK_GUARD_GAP };
        below.end.raw() + guard <= start.raw()
    });
    is_stack(vma)
        && start >= USER_START
        && vma.end.offset_from(start) <= STACK_LIMIT
        && pages <= vma.pgoff
        && clear
}
