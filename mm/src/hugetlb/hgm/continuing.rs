//! UFFDIO_CONTINUE: a range is mapped whose contents are in the object already.
//!
//! Whoever brings contents writes them through another mapping, or to the object, and says here that they are complete.
//! So nothing is made and nothing zeroed: only entries come to be.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::{Pfn, VirtAddr};

use super::super::slot::{Grant, Mapped, Share, Slot};
use super::{HugetlbPte, MapSize, Piece};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::KArc;
use crate::page::PageRef;
use crate::pgtable::TableStock;
use crate::rmap;
use crate::shmem::Object;
use crate::space::{AddressSpace, Errno, Grain, Vma, VmaKind};

/// Why a range, or what is left of it, was not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContinueError {
    /// It is empty, leaves the user half, or its ends are no multiples of the unit: 4 KiB where MADV_SPLIT has
    /// permitted it, else the page's size. EINVAL.
    Range,
    /// No one VMA of shared hugetlb memory covers it. ENOENT.
    NoVma,
    /// The object has no page for this address. EFAULT.
    NoPage(VirtAddr),
    /// Something is mapped at this address. EEXIST.
    Mapped(VirtAddr),
    /// The memory at this address has failed. EIO (Linux: `hugetlb_mfill_atomic_pte`).
    Failed(VirtAddr),
    /// The folio has as many mappings or references as can be counted. EFAULT (Linux: `hugetlb_mfill_atomic_pte` of the
    /// second version of the series).
    Full(Pfn),
    /// No memory for page tables. ENOMEM.
    OutOfMemory,
}

impl ContinueError {
    /// The error number that Linux gives.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            ContinueError::Range => Errno::Inval,
            ContinueError::NoVma => Errno::NoEnt,
            ContinueError::NoPage(_) | ContinueError::Full(_) => Errno::Fault,
            ContinueError::Mapped(_) => Errno::Exist,
            ContinueError::Failed(_) => Errno::Io,
            ContinueError::OutOfMemory => Errno::NoMem,
        }
    }
}

impl From<OutOfMemory> for ContinueError {
    fn from(_: OutOfMemory) -> Self {
        ContinueError::OutOfMemory
    }
}

impl Mm {
    /// Maps `range`, the contents of which the object has, by the largest entries that alignment, length and what
    /// stands there allow. Returns how many bytes, from the beginning on, are mapped, and why not more. Takes M for
    /// reading, and F for one page at a time; may sleep.
    ///
    /// # Errors
    /// [`ContinueError`]; what is counted in the bytes is done.
    pub fn continue_huge(
        &self,
        space: &KArc<AddressSpace>,
        range: Range<VirtAddr>,
    ) -> (u64, Result<(), ContinueError>) {
        let _mmap = space.mmap_lock.read(self.env);
        let part = match Part::of(self, space, &range) {
            Ok(part) => part,
            Err(error) => return (0, Err(error)),
        };
        let mut va = range.start;
        while va < range.end {
            match part.map_at(va, range.end) {
                Ok(next) => va = next,
                Err(error) => return (va.offset_from(range.start), Err(error)),
            }
        }
        (range.end.offset_from(range.start), Ok(()))
    }
}

/// A range of a VMA of an object.
struct Part<'p> {
    mm: &'p Mm,
    space: &'p AddressSpace,
    vma: Vma,
    size: super::super::HugeSize,
    object: KArc<Object>,
}

impl<'p> Part<'p> {
    fn of(mm: &'p Mm, space: &'p AddressSpace, range: &Range<VirtAddr>) -> Result<Self, ContinueError> {
        let aligned = |unit| range.start.is_aligned(unit) && range.end.is_aligned(unit);
        if range.start >= range.end || !range.start.is_user() || !aligned(PAGE_SIZE) {
            return Err(ContinueError::Range);
        }
        let vma = space.vma_at(range.start).filter(|vma| range.end <= vma.end);
        let vma = vma.ok_or(ContinueError::NoVma)?;
        let VmaKind::HugeShared(size, id) = vma.kind else { return Err(ContinueError::NoVma) };
        if vma.grain == Grain::Whole && !aligned(size.bytes()) {
            return Err(ContinueError::Range);
        }
        let object = space.objects.find(id).ok_or(ContinueError::NoVma)?;
        Ok(Part { mm, space, vma, size, object })
    }

    /// Maps a piece from `va` on, which does not go beyond `end`. Returns where it ends.
    fn map_at(&self, va: VirtAddr, end: VirtAddr) -> Result<VirtAddr, ContinueError> {
        let Part { mm, space, vma, size, ref object } = *self;
        let slot = Slot::of(mm, space, &vma, size, va);
        let number = object.number_of(vma.index_of(slot.va));
        let place = VirtAddr::new(number.wrapping_mul(size.bytes()));
        loop {
            let _one = mm.hugetlb.fault_lock(size, object.id.raw(), place).write(mm.env);
            let pte = HugetlbPte::at(&space.ptl.lock(), va, size, mm.config.contpte);
            if pte.is_migrating() {
                rmap::wait(mm, space, va);
                continue;
            }
            if !pte.is_blank() {
                return Err(ContinueError::Mapped(va));
            }
            let most = if vma.grain == Grain::Page { MapSize::Page } else { pte.size };
            let largest = |head: Option<PageRef>| -> Result<MapSize, ContinueError> {
                let head = head.ok_or(ContinueError::NoPage(va))?;
                Ok(slot.largest(head, (va, end.offset_from(va)), most))
            };
            let map = match vma.grain {
                Grain::Whole => MapSize::Huge(size),
                Grain::Any | Grain::Page => object.with_page(number, largest)?,
            };
            // Empty tables may go below, and then all may be missing.
            let there = if vma.grain == Grain::Whole { 0 } else { pte.level as usize };
            let missing = (map.level() as usize).saturating_sub(there);
            let mut stock = TableStock::new(mm, missing)?;
            if vma.grain == Grain::Whole {
                slot.clear_tables();
            }
            let piece = Piece { va, size: map };
            let shared = object.with_page(number, |head| {
                let head = head.ok_or(ContinueError::NoPage(va))?;
                match slot.share(head, (piece, Grant::All), &mut stock) {
                    Ok(Share::Full) => Err(ContinueError::Full(head.pfn())),
                    Ok(Share::Failed) if map == MapSize::Page || vma.grain == Grain::Whole => {
                        Err(ContinueError::Failed(va))
                    }
                    // It has failed since it was looked at.
                    Ok(Share::Failed) => Ok(Mapped::Taken),
                    Ok(Share::Slot(mapped)) => Ok(mapped),
                    Err(_) => Err(ContinueError::OutOfMemory),
                }
            })?;
            if shared == Mapped::Yes {
                return Ok(va.add(map.bytes()));
            }
        }
    }
}
