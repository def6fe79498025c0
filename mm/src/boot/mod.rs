//! stub: see owner D
use crate::config::MmConfig;
use crate::env::KernelEnv;
use crate::error::OutOfMemory;
use crate::page::{PageKind, PageRef};
use crate::stats::Stats;
use arch::{Order, Pfn, PhysAddr, VirtAddr};
/// A range of physical memory `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysRange {
    /// s
    pub start: PhysAddr,
    /// e
    pub end: PhysAddr,
}
/// One part of the kernel image and its rights (4 KiB aligned).
#[derive(Clone, Copy, Debug)]
pub struct ImageSection {
    /// va
    pub va: VirtAddr,
    /// pa
    pub pa: PhysAddr,
    /// bytes
    pub bytes: u64,
    /// KERNEL_RX, KERNEL_RO or KERNEL_RW
    pub flags: arch::pte::PteFlags,
}
/// What the machine was booted with.
#[derive(Clone, Copy, Debug)]
pub struct BootMem<'a> {
    /// All RAM.
    pub ram: &'a [PhysRange],
    /// Parts of it that are in use: image, device tree, initrd.
    pub reserved: &'a [PhysRange],
    /// The image's sections, empty on the model.
    pub image: &'a [ImageSection],
    /// RAM that the linear map in force already covers: early tables come from here.
    pub mapped: PhysRange,
}
/// Why boot failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// no room
    NoMemory,
}
/// All memory management.
pub struct Mm {
    /// Boot choices.
    pub config: MmConfig,
    /// Counters.
    pub stats: Stats,
    /// The kernel above.
    pub env: &'static dyn KernelEnv,
    /// The shared page of zeros (E; boot makes it: ZeroPage::new(pfn), kind Reserved, zeroed).
    pub zero_page: crate::fault::ZeroPage,
    /// ASIDs (E; boot makes it: Asids::new(Machine::features().asid_bits)).
    pub asids: crate::space::Asids,
    /// thp state (F)
    pub thp: crate::thp::Thp,
    /// hugetlb pool (G)
    pub hugetlb: crate::hugetlb::Hugetlb,
    /// hvo (G)
    pub hvo: crate::hvo::Hvo,
}
impl Mm {
    /// Boots.
    pub fn boot(_b: &BootMem<'_>, _c: MmConfig, _e: &'static dyn KernelEnv) -> Result<Mm, BootError> {
        todo!()
    }
    /// 2^order pages, contents undefined, kind set, refcount 1 in the first page; NOT compound (use prep_compound).
    pub fn alloc_pages(&self, _o: Order, _k: PageKind) -> Result<PageRef, OutOfMemory> {
        todo!()
    }
    /// One zeroed page.
    pub fn alloc_zeroed_page(&self, _k: PageKind) -> Result<PageRef, OutOfMemory> {
        todo!()
    }
    /// Gives 2^order pages back (refcount 0 or 1, sole user). A compound folio is dissolved first by this.
    pub fn free_pages(&self, _p: PageRef, _o: Order) {
        todo!()
    }
    /// Makes one allocated block into single pages with refcount 1 each, same kind.
    pub fn split_page(&self, _p: PageRef, _o: Order) {
        todo!()
    }
    /// Drops a reference to a page or folio head; frees it when it was the last (hugetlb folios go to the pool).
    pub fn put_folio(&self, _p: PageRef) {
        todo!()
    }
    /// One zeroed page table.
    pub fn alloc_table(&self) -> Result<PhysAddr, OutOfMemory> {
        todo!()
    }
    /// Frees a table.
    pub fn free_table(&self, _t: PhysAddr) {
        todo!()
    }
    /// Free pages: buddy and per-CPU lists, 4 KiB units.
    pub fn free_page_count(&self) -> u64 {
        todo!()
    }
    /// Managed pages.
    pub fn managed_pages(&self) -> u64 {
        todo!()
    }
    /// Whether a struct page exists for the pfn.
    pub fn pfn_valid(&self, _p: Pfn) -> bool {
        todo!()
    }
    /// Gives `f` the kernel's tree under its lock (rank KERNEL_TABLE).
    pub fn with_kernel_tree<R>(
        &self,
        _f: impl FnOnce(&mut crate::pgtable::PtRoot, crate::pgtable::Flusher<'_>) -> R,
    ) -> R {
        todo!()
    }
    /// Maps device registers, returns their address in the vmalloc area.
    pub fn map_device(&self, _pa: PhysAddr, _bytes: u64) -> Result<VirtAddr, OutOfMemory> {
        todo!()
    }
    /// A kernel stack of `pages` (a power of two) with an unmapped guard page below; aligned to twice its size. Returns its lowest usable address.
    pub fn alloc_stack(&self, _pages: u64) -> Result<VirtAddr, OutOfMemory> {
        todo!()
    }
    /// Frees a stack (the caller no longer runs on it).
    pub fn free_stack(&self, _base: VirtAddr, _pages: u64) {
        todo!()
    }
}
