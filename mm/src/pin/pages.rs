//! Pinning and unpinning.
#![forbid(unsafe_code)]

use core::fmt;

use allocator_api2::vec::Vec;
use arch::addr::PAGE_SIZE;
use arch::{Access, Pfn, VirtAddr};

use crate::Mm;
use crate::device::{DeviceMap, Entries, Sharing};
use crate::fault::{self, FaultError, FaultInfo, FaultReason};
use crate::kalloc::{KAlloc, KArc};
use crate::page::{FolioRef, MOST_REFERENCES};
use crate::pgtable::normal_folio;
use crate::space::{AddressSpace, Errno, Vma, VmaKind, exclusive};
use crate::stats::Counter;

/// Why pages were not pinned. None of them is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinError {
    /// The range is empty, or leaves the user half.
    Range(VirtAddr, u64),
    /// The page at this address cannot be had with the right that is asked for.
    Fault(FaultError),
    /// What is mapped at this address has no struct page that could be counted in.
    Special(VirtAddr),
    /// The folio at this address has as many pins, or references, as can be counted.
    TooMany(VirtAddr),
    /// No memory to remember the pages.
    OutOfMemory,
}

impl PinError {
    /// The error number that Linux gives.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            PinError::Range(..) => Errno::Inval,
            PinError::Fault(FaultError { reason: FaultReason::OutOfMemory, .. })
            | PinError::TooMany(_)
            | PinError::OutOfMemory => Errno::NoMem,
            PinError::Fault(_) | PinError::Special(_) => Errno::Fault,
        }
    }
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinError::Range(va, pages) => write!(f, "{pages} pages from {va} are no user pages"),
            PinError::Fault(error) => error.fmt(f),
            PinError::Special(va) => write!(f, "what is mapped at {va} cannot be pinned"),
            PinError::TooMany(va) => write!(f, "the folio at {va} has too many pins"),
            PinError::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

/// One pinned page.
struct Pinned {
    /// Its folio, with a reference.
    folio: FolioRef,
    frame: Pfn,
}

/// Pages that are pinned, in the order of their addresses. Given back by [`Mm::unpin`].
#[must_use = "pinned pages must be unpinned; otherwise they are pinned for ever"]
pub struct PinnedPages {
    pages: Vec<Pinned, KAlloc>,
    access: Access,
}

impl PinnedPages {
    /// How many pages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pages.len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
    /// The frame of page `n`.
    #[must_use]
    pub fn frame(&self, n: usize) -> Option<Pfn> {
        self.pages.get(n).map(|page| page.frame)
    }
    /// What they were pinned for: reading, or also writing.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }
}

/// What one try has come to.
enum Tried {
    Pinned(Pinned),
    /// The entry does not grant the access.
    Fault,
    /// The page is not this space's alone.
    Unshare,
}

impl Mm {
    /// Pins `pages` pages from the one of `va` on, to be read, or to be read and written. May sleep.
    ///
    /// # Errors
    /// [`PinError`]; nothing is pinned.
    pub fn pin_user_pages(
        &self,
        space: &KArc<AddressSpace>,
        va: VirtAddr,
        pages: u64,
        access: Access,
    ) -> Result<PinnedPages, PinError> {
        let first = va.align_down(PAGE_SIZE);
        let bytes = pages.checked_mul(PAGE_SIZE).filter(|&bytes| bytes != 0);
        let end = bytes.and_then(|bytes| first.checked_add(bytes)).filter(|_| first.is_user());
        let (Some(_), Ok(room)) = (end, usize::try_from(pages)) else {
            return Err(PinError::Range(va, pages));
        };
        let mut pinned = PinnedPages { pages: Vec::new_in(KAlloc), access };
        pinned.pages.try_reserve_exact(room).map_err(|_| PinError::OutOfMemory)?;
        for n in 0..pages {
            match self.pin_page(space, first.add(n * PAGE_SIZE), access) {
                Ok(page) => pinned.pages.push(page),
                Err(error) => {
                    self.unpin(pinned);
                    return Err(error);
                }
            }
        }
        Ok(pinned)
    }

    /// Gives pins and references back. What is not mapped any more is freed with the last of them.
    pub fn unpin(&self, pinned: PinnedPages) {
        for Pinned { folio, .. } in pinned.pages {
            folio.sub_pins(1);
            self.stats.inc(Counter::FollPinReleased);
            self.put_folio(folio);
        }
    }

    fn pin_page(&self, space: &KArc<AddressSpace>, va: VirtAddr, access: Access) -> Result<Pinned, PinError> {
        loop {
            match self.try_pin(space, va, access)? {
                Tried::Pinned(page) => return Ok(page),
                Tried::Fault => self.handle_mm_fault(space, &FaultInfo::by_kernel(va, access)),
                Tried::Unshare => self.unshare(space, &FaultInfo::by_kernel(va, Access::Write)),
            }
            .map_err(PinError::Fault)?;
        }
    }

    fn try_pin(&self, space: &AddressSpace, va: VirtAddr, access: Access) -> Result<Tried, PinError> {
        let _mmap = space.mmap_lock.read(self.env);
        let Some(vma) = space.vma_at(va) else { return Ok(Tried::Fault) };
        if matches!(vma.kind, VmaKind::Device(DeviceMap { entries: Entries::PfnMap, .. })) {
            return Err(PinError::Special(va));
        }
        let tree = space.ptl.lock();
        let Some(leaf) = tree.walk(va).leaf() else { return Ok(Tried::Fault) };
        if !fault::grants(leaf.desc.flags(leaf.level), access) {
            return Ok(Tried::Fault);
        }
        let private = is_private(&vma);
        let Some(head) = normal_folio(self, leaf.desc, leaf.level) else {
            // In private memory: the page of zeros, or a frame of a device.
            return if private { Ok(Tried::Unshare) } else { Err(PinError::Special(va)) };
        };
        // A leaf of private memory that grants writing maps what is the space's alone, also where nobody can count
        // that.
        let writes = fault::grants(leaf.desc.flags(leaf.level), Access::Write);
        if private && !writes && !exclusive::is_exclusive(self, head) {
            return Ok(Tried::Unshare);
        }
        if head.refcount() >= MOST_REFERENCES || !head.add_pins(1) {
            return Err(PinError::TooMany(va));
        }
        self.stats.inc(Counter::FollPinAcquired);
        let frame = leaf.desc.output(leaf.level).add(va.raw() & (leaf.level.entry_bytes() - 1)).pfn();
        Ok(Tried::Pinned(Pinned { folio: head.get(), frame }))
    }
}

/// Whether a write to a page of the VMA that others map too is a write to a copy.
const fn is_private(vma: &Vma) -> bool {
    match vma.kind {
        VmaKind::Anon | VmaKind::Hugetlb(_) | VmaKind::Private(_) | VmaKind::HugePrivate(..) => true,
        VmaKind::Shared(_) | VmaKind::HugeShared(..) => false,
        VmaKind::Device(map) => matches!(map.sharing, Sharing::Private),
    }
}
