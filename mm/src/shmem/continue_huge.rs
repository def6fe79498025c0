//! Mapping hugetlb pages that the object has, as whole pages.
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Range;

use arch::VirtAddr;

use super::object::Object;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::hugetlb::{HugeSize, Mapped, Share, Slot};
use crate::kalloc::KArc;
use crate::pgtable::TableStock;
use crate::space::{AddressSpace, Errno, Vma, VmaKind};

/// Why no more could be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContinueError {
    /// Not one VMA (ENOENT).
    NoVma,
    /// Not whole pages of shared hugetlb memory (EINVAL).
    Range,
    /// The object has no page there (EFAULT).
    NoPage,
    /// Something is mapped there (EEXIST).
    Mapped,
    /// No memory for tables (ENOMEM).
    OutOfMemory,
}

impl ContinueError {
    /// The error number that Linux gives.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            ContinueError::NoVma => Errno::NoEnt,
            ContinueError::Range => Errno::Inval,
            ContinueError::NoPage => Errno::Fault,
            ContinueError::Mapped => Errno::Exist,
            ContinueError::OutOfMemory => Errno::NoMem,
        }
    }
}

impl fmt::Display for ContinueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ContinueError::NoVma => "the range is not in one mapping",
            ContinueError::Range => "the range is not one of whole pages",
            ContinueError::NoPage => "the object has no page there",
            ContinueError::Mapped => "something is mapped there",
            ContinueError::OutOfMemory => "out of memory",
        })
    }
}

impl From<OutOfMemory> for ContinueError {
    fn from(_: OutOfMemory) -> Self {
        ContinueError::OutOfMemory
    }
}

impl Mm {
    /// Maps the pages of a range that the object has. Returns how many bytes are mapped and what stopped it. May sleep.
    ///
    /// # Errors
    /// [`ContinueError`].
    pub fn continue_huge(
        &self,
        space: &KArc<AddressSpace>,
        range: Range<VirtAddr>,
    ) -> (u64, Result<(), ContinueError>) {
        let mut done = 0;
        let result = self.continue_whole(space, range, &mut done);
        (done, result)
    }

    fn continue_whole(
        &self,
        space: &KArc<AddressSpace>,
        range: Range<VirtAddr>,
        done: &mut u64,
    ) -> Result<(), ContinueError> {
        let _mmap = space.mmap_lock.read(self.env);
        let vma = space.vma_at(range.start).filter(|vma| range.end <= vma.end);
        let vma = vma.ok_or(ContinueError::NoVma)?;
        let VmaKind::HugeShared(size, id) = vma.kind else { return Err(ContinueError::Range) };
        if !range.start.is_aligned(size.bytes()) || !range.end.is_aligned(size.bytes()) {
            return Err(ContinueError::Range);
        }
        let object = space.objects.find(id).ok_or(ContinueError::NoVma)?;
        let mut va = range.start;
        while va < range.end {
            self.continue_page(space, &vma, (size, &object), va)?;
            *done += size.bytes();
            va = va.add(size.bytes());
        }
        Ok(())
    }

    fn continue_page(
        &self,
        space: &KArc<AddressSpace>,
        vma: &Vma,
        (size, object): (HugeSize, &Object),
        va: VirtAddr,
    ) -> Result<(), ContinueError> {
        let slot = Slot::of(self, space, vma, size, va);
        let number = object.number_of(vma.index_of(va));
        let place = VirtAddr::new(number.wrapping_mul(size.bytes()));
        let _one = self.hugetlb.fault_lock(size, object.id.raw(), place).write(self.env);
        let mut stock = TableStock::new(self, size.level() as usize)?;
        slot.clear_tables();
        let contents = object.contents.lock();
        let there = contents.pages.get(number).filter(|_| number < contents.end());
        match slot.share(there.ok_or(ContinueError::NoPage)?, &mut stock) {
            Ok(Share::Slot(Mapped::Yes)) => Ok(()),
            Ok(Share::Slot(Mapped::Taken)) => Err(ContinueError::Mapped),
            Ok(Share::Full) => Err(ContinueError::NoPage),
            Err(_) => Err(ContinueError::OutOfMemory),
        }
    }
}
