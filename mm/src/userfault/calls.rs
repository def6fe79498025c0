//! The server's side: what is registered, and what is mapped and woken.
//!
//! Linux's checks, in its order (`userfaultfd_register`, `userfaultfd_unregister`, `userfaultfd_continue`), and its
//! error numbers.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::{USER_END, USER_START};

use super::context::Userfault;
use super::error::UserfaultError;
use super::table::UserfaultId;
use crate::Mm;
use crate::hugetlb::hgm::ContinueError;
use crate::space::{AddressSpace, Vma, VmaKind};

/// All addresses.
pub(super) const EVERYWHERE: Range<VirtAddr> = VirtAddr::new(0)..VirtAddr::new(u64::MAX);

/// Whether the faults of what was mapped are woken at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// They are.
    Now,
    /// They go on waiting (UFFDIO_CONTINUE_MODE_DONTWAKE).
    Later,
}

impl Userfault {
    /// The range from `start` on, `bytes` long, where a call may be about it (Linux: `validate_range`).
    ///
    /// # Errors
    /// [`UserfaultError::Range`].
    pub fn range(start: u64, bytes: u64) -> Result<Range<VirtAddr>, UserfaultError> {
        let from = VirtAddr::new(start);
        let whole = from.is_aligned(PAGE_SIZE) && bytes.is_multiple_of(PAGE_SIZE) && bytes != 0;
        let end = from.checked_add(bytes).filter(|&end| whole && from >= USER_START && end <= USER_END);
        end.map(|end| from..end).ok_or(UserfaultError::Range(from))
    }
}

impl Mm {
    /// Minor faults in this range are told to the context from now on. Parts of the range may be free; what is mapped
    /// there is shared hugetlb memory. Registering once more changes nothing. May sleep.
    ///
    /// # Errors
    /// `Range`, `NoVma`, `Unsuitable`, and `Cut` inside a hugetlb page: EINVAL. `Busy`: EBUSY. `Cut` otherwise,
    /// `Ended`: ENOMEM. Nothing has changed.
    pub fn register_userfault(
        &self,
        context: &Userfault,
        range: Range<VirtAddr>,
    ) -> Result<(), UserfaultError> {
        let Range { start, end } = range;
        let space = &context.space;
        let _mmap = space.mmap_lock.write(self.env);
        if context.is_ended() {
            return Err(UserfaultError::Ended);
        }
        let first = space.first_vma_in(start, end).ok_or(UserfaultError::NoVma(start))?;
        if !start.is_aligned(first.kind.granule()) {
            return Err(UserfaultError::Unsuitable(first));
        }
        let mut vma = Some(first);
        while let Some(found) = vma {
            may_serve(context.id, &found, end)?;
            vma = space.first_vma_in(found.end, end);
        }
        self.prepare_cuts(space, start, end, 0).map_err(UserfaultError::Cut)?;
        self.set_userfault(space, (start, end), Some(context.id));
        Ok(())
    }

    /// Faults in this range are told to nobody from now on, and those that wait there are tried again. May sleep.
    ///
    /// # Errors
    /// As [`Self::register_userfault`], but for `Busy`: `NotOwn`, EINVAL. Nothing has changed.
    pub fn unregister_userfault(
        &self,
        context: &Userfault,
        range: Range<VirtAddr>,
    ) -> Result<(), UserfaultError> {
        let Range { start, end } = range;
        let space = &context.space;
        let _mmap = space.mmap_lock.write(self.env);
        if context.is_ended() {
            return Err(UserfaultError::Ended);
        }
        let first = space.first_vma_in(start, end).ok_or(UserfaultError::NoVma(start))?;
        if !start.is_aligned(first.kind.granule()) {
            return Err(UserfaultError::Unsuitable(first));
        }
        let mut registered: Option<Range<VirtAddr>> = None;
        let mut vma = Some(first);
        while let Some(found) = vma {
            if found.userfault.is_some_and(|id| id != context.id) {
                return Err(UserfaultError::NotOwn(found));
            }
            if found.kind.device().is_some() {
                return Err(UserfaultError::Unsuitable(found));
            }
            if found.userfault.is_some() {
                let from = registered.map_or(found.start.max(start), |range| range.start);
                registered = Some(from..found.end.min(end));
            }
            vma = space.first_vma_in(found.end, end);
        }
        if let Some(Range { start, end }) = registered {
            self.prepare_cuts(space, start, end, 0).map_err(UserfaultError::Cut)?;
            self.set_userfault(space, (start, end), None);
        }
        context.wake(self, &(start..end));
        Ok(())
    }

    /// Faults that wait in this range are tried again, whatever is mapped there.
    pub fn wake_userfault(&self, context: &Userfault, range: Range<VirtAddr>) {
        context.wake(self, &range);
    }

    /// Maps the pages of this range that the object has, as [`Mm::continue_huge`] does, and wakes who waits for what
    /// was mapped. Returns how many bytes are mapped, from the start on, and what stopped it. May sleep.
    ///
    /// # Errors
    /// [`ContinueError::NoVma`]: the range is not all in one registered VMA. What [`Mm::continue_huge`] says.
    pub fn continue_userfault(
        &self,
        context: &Userfault,
        range: Range<VirtAddr>,
        wake: Wake,
    ) -> (u64, Result<(), ContinueError>) {
        let Range { start, end } = range;
        let vma = {
            let _mmap = context.space.mmap_lock.read(self.env);
            context.space.vma_at(start)
        };
        if !vma.is_some_and(|vma| end <= vma.end && vma.userfault.is_some()) {
            return (0, Err(ContinueError::NoVma));
        }
        let (done, result) = self.continue_huge(&context.space, start..end);
        if done != 0 && wake == Wake::Now {
            context.wake(self, &(start..start.add(done)));
        }
        (done, result)
    }

    /// The context ends: nothing is registered with it any more, and all that wait there are tried again. May sleep. A
    /// second time it does nothing.
    pub fn close_userfault(&self, context: &Userfault) {
        let space = &context.space;
        let _mmap = space.mmap_lock.write(self.env);
        let Some(_taken) = space.userfaults.remove(context) else { return };
        let mut from = VirtAddr::new(0);
        while let Some(vma) = space.find_vma(from) {
            if vma.userfault == Some(context.id) {
                self.set_userfault(space, (vma.start, vma.end), None);
            }
            from = vma.end;
        }
        context.end(self);
    }

    /// M is held for writing, and there is room for the VMAs that the range cuts.
    fn set_userfault(
        &self,
        space: &AddressSpace,
        (start, end): (VirtAddr, VirtAddr),
        to: Option<UserfaultId>,
    ) {
        let set = |vma: &mut Vma| vma.userfault = to;
        space.change_vmas(self, start, end, |vmas| vmas.change(start, end, set));
    }
}

/// Whether the context may serve the part of the VMA below `end`.
fn may_serve(id: UserfaultId, vma: &Vma, end: VirtAddr) -> Result<(), UserfaultError> {
    let shared = matches!(vma.kind, VmaKind::HugeShared(..));
    if !shared || !end.min(vma.end).is_aligned(vma.kind.granule()) {
        return Err(UserfaultError::Unsuitable(*vma));
    }
    if vma.userfault.is_some_and(|other| other != id) { Err(UserfaultError::Busy(*vma)) } else { Ok(()) }
}
