//! What the mmap of a device puts into an address space.
//!
//! The handler of a device runs under M for writing, with the VMA already in its place, and inserts one entry a page
//! through an [`Inserter`]. Nothing is inserted later: a page of the VMA that has no entry is a SIGBUS.
//!
//! A frame by its *number* is inserted as a special entry: nobody looks at its struct page, if it has one, and the
//! device answers for the frame's life (Linux: `vmf_insert_pfn`, `remap_pfn_range`). A frame outside of RAM is mapped
//! as device memory. A *page* is inserted with a reference and a mapping, whatever else the kernel does with it, and
//! wherever it has mapped it for itself (Linux: `vm_insert_page`, also of vmalloc memory).
//!
//! What becomes of either later is the table of this room ([`super::TABLE`]).
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Access, Desc, Level, Pfn, PhysAddr, VirtAddr};

use crate::Mm;
use crate::fault::{self, FaultDone, FaultInfo, FaultReason, grants};
use crate::kalloc::KArc;
use crate::mapcount;
use crate::page::{PageKind, PageRef};
use crate::pgtable::{TableStock, normal_page};
use crate::space::exclusive::read_only;
use crate::space::{AddressSpace, MmapError, Prot, Vma, VmaKind, range};

/// What a VMA of a device may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entries {
    /// Frames by their numbers only (Linux: VM_PFNMAP).
    PfnMap,
    /// Frames by their numbers, and pages (Linux: VM_MIXEDMAP).
    MixedMap,
}

/// A VMA of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceMap {
    /// What it may hold.
    pub entries: Entries,
    /// Whether a write is a write to a copy: MAP_PRIVATE.
    pub sharing: Sharing,
}

/// Who sees a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// All that map the frame.
    Shared,
    /// The space alone: the write goes to a copy.
    Private,
}

/// Lets the handler of a device fill a VMA.
pub struct Inserter<'i> {
    mm: &'i Mm,
    space: &'i AddressSpace,
    vma: &'i Vma,
    map: DeviceMap,
}

impl<'i> Inserter<'i> {
    pub(crate) fn new(mm: &'i Mm, space: &'i AddressSpace, vma: &'i Vma, map: DeviceMap) -> Self {
        Inserter { mm, space, vma, map }
    }
    /// Pages of the VMA.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.vma.bytes() / PAGE_SIZE
    }
    /// The offset at which the mapping begins in the device, in pages.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.vma.pgoff
    }

    /// Maps a frame by its number at page `n` of the VMA: a special entry. The frame is the device's as long as anybody
    /// may map it.
    ///
    /// # Errors
    /// `NotInsertable`: there is no such page, or it has an entry. `OutOfMemory`.
    pub fn frame(&mut self, n: u64, frame: Pfn) -> Result<(), MmapError> {
        let leaf = special_leaf(self.mm, frame.phys(), self.vma.prot);
        self.make(n, leaf, None)
    }

    /// Maps a single page of the kernel at page `n` of the VMA, and takes a reference to it.
    ///
    /// # Errors
    /// `NotInsertable`: as for [`Self::frame`], or the VMA is for numbers only, the page is no single page of the
    /// kernel, or its counts are full. `OutOfMemory`.
    pub fn page(&mut self, n: u64, page: PageRef) -> Result<(), MmapError> {
        let single = page.kind() == PageKind::Kernel && !page.is_folio();
        if self.map.entries == Entries::PfnMap || !single {
            return Err(MmapError::NotInsertable(n));
        }
        let leaf = range::leaf_for(self.mm, page.pfn().phys(), Level::L3, self.vma.prot);
        self.make(n, leaf, Some(page))
    }

    fn make(&mut self, n: u64, leaf: Desc, page: Option<PageRef>) -> Result<(), MmapError> {
        let Inserter { mm, space, vma, map } = *self;
        if n >= self.pages() {
            return Err(MmapError::NotInsertable(n));
        }
        let va = vma.start.add(n * PAGE_SIZE);
        let missing = Level::ALL.len() - space.ptl.lock().walk(va).steps().len();
        let mut stock = TableStock::new(mm, missing)?;
        let mut tree = space.ptl.lock();
        let entry = tree.entry_or_table(space.flusher(mm), va, Level::L3, &mut stock);
        let entry = entry.map_err(|_| MmapError::OutOfMemory)?;
        if !entry.desc().is_empty() {
            return Err(MmapError::NotInsertable(n));
        }
        if let Some(page) = page {
            let run = range::run_of(space, vma, &entry, page);
            if mapcount::may_add(mm, &run).is_err() || !page.try_get_many(1) {
                return Err(MmapError::NotInsertable(n));
            }
            mapcount::add(mm, &run);
        }
        entry.make(match map.sharing {
            Sharing::Shared => leaf,
            Sharing::Private => read_only(leaf, Level::L3),
        });
        Ok(())
    }
}

/// A special entry for a frame with these rights. Of one outside of RAM nothing is cached.
fn special_leaf(mm: &Mm, frame: PhysAddr, prot: Prot) -> Desc {
    let flags = prot.leaf_flags() | PteFlags::SPECIAL;
    let outside = !mm.pfn_valid(frame.pfn());
    let flags = if outside { (flags - PteFlags::SHAREABILITY) | PteFlags::DEVICE } else { flags };
    Desc::leaf(frame, Level::L3, flags)
}

/// Resolves a fault in a VMA of a device whose rights allow the access. M is held for reading.
///
/// # Errors
/// [`FaultReason::NotInserted`] (SIGBUS): the device has put nothing there. [`FaultReason::NotCopyable`] (SIGBUS): a
/// private write to a frame outside of RAM, which cannot be read like memory. [`FaultReason::OutOfMemory`].
pub(crate) fn fault(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    map: DeviceMap,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let va = info.va.align_down(PAGE_SIZE);
    let leaf = space.ptl.lock().walk(va).leaf().ok_or(FaultReason::NotInserted)?;
    if grants(leaf.desc.flags(leaf.level), info.access) {
        return Ok(FaultDone::Spurious);
    }
    if map.sharing == Sharing::Shared {
        return Ok(raise(mm, space, vma, va, leaf.desc));
    }
    let outside = !mm.pfn_valid(leaf.desc.output(leaf.level).pfn());
    if outside && info.access == Access::Write {
        return Err(FaultReason::NotCopyable);
    }
    fault::copy_on_write(mm, space, vma, info)
}

/// Gives an entry of a shared VMA all rights of the VMA.
fn raise(mm: &Mm, space: &AddressSpace, vma: &Vma, va: VirtAddr, seen: Desc) -> FaultDone {
    let mut tree = space.ptl.lock();
    match tree.entry(space.flusher(mm), va, Level::L3) {
        Ok(entry) if entry.desc() == seen => {
            let frame = seen.output(Level::L3);
            let new = match normal_page(seen, Level::L3) {
                Some(_) => range::leaf_for(mm, frame, Level::L3, vma.prot),
                None => special_leaf(mm, frame, vma.prot),
            };
            entry.relax(seen, new);
            FaultDone::Made
        }
        _ => FaultDone::Spurious,
    }
}

/// What a VMA of a device refuses to be asked for: it never grows, and nothing in it is executed.
impl VmaKind {
    /// The device's, if it is one's.
    #[must_use]
    pub const fn device(self) -> Option<DeviceMap> {
        match self {
            VmaKind::Device(map) => Some(map),
            VmaKind::Anon
            | VmaKind::Hugetlb(_)
            | VmaKind::HugeShared(..)
            | VmaKind::HugePrivate(..)
            | VmaKind::Shared(_)
            | VmaKind::Private(_) => None,
        }
    }
}
