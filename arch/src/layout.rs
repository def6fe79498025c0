//! The kernel's half of the virtual address space (TTBR1, 48 bits). The same on machine and model.
//!
//! ```text
//! 0xffff_0000_0000_0000  linear map: VA = LINEAR_BASE + PA, all RAM, never remapped      (8 TiB)
//! 0xffff_8000_0000_0000  vmemmap: the struct page of pfn p at VMEMMAP_BASE + 64 p      (128 GiB)
//! 0xffff_9000_0000_0000  vmalloc: device registers, guarded kernel stacks                (1 TiB)
//! 0xffff_ffff_8000_0000  kernel image: text RX, rodata R, data RW                        (1 GiB)
//! ```
//! vmemmap begins at a multiple of 16 MiB, the struct pages of the largest folio (1 GiB), so that the head
//! of a folio of any order is found by masking the address of a tail.

use crate::addr::{PAGE_SHIFT, Pfn, PhysAddr, VirtAddr};

/// First address of the linear map of RAM.
pub const LINEAR_BASE: VirtAddr = VirtAddr::new(0xffff_0000_0000_0000);
/// Bytes that the linear map may take; physical addresses above this cannot be used.
pub const LINEAR_BYTES: u64 = 1 << 43;
/// First address of vmemmap: the struct page of pfn 0.
pub const VMEMMAP_BASE: VirtAddr = VirtAddr::new(0xffff_8000_0000_0000);
/// Bytes that vmemmap takes for all of the linear map.
pub const VMEMMAP_BYTES: u64 = LINEAR_BYTES >> PAGE_SHIFT << STRUCT_PAGE_SHIFT;
/// First address for device registers and guarded stacks.
pub const VMALLOC_BASE: VirtAddr = VirtAddr::new(0xffff_9000_0000_0000);
/// Bytes of the vmalloc area.
pub const VMALLOC_BYTES: u64 = 1 << 40;
/// First address of the kernel image; `linker.ld` has the same number.
pub const IMAGE_BASE: VirtAddr = VirtAddr::new(0xffff_ffff_8000_0000);

/// Base-2 logarithm of the size of a struct page: 64 bytes.
pub const STRUCT_PAGE_SHIFT: u32 = 6;
/// Bytes of a struct page.
pub const STRUCT_PAGE_BYTES: u64 = 1 << STRUCT_PAGE_SHIFT;

/// One past the highest user address. The last page of the half is never mapped, as on Linux.
pub const USER_END: VirtAddr = VirtAddr::new((1 << 48) - (1 << PAGE_SHIFT));
/// The lowest user address that may be mapped (Linux: vm.mmap_min_addr, 64 KiB).
pub const USER_START: VirtAddr = VirtAddr::new(0x1_0000);

const _: () = assert!(VMEMMAP_BASE.is_aligned(crate::Order::PUD.pages() * STRUCT_PAGE_BYTES));
const _: () = assert!(LINEAR_BASE.raw() + LINEAR_BYTES <= VMEMMAP_BASE.raw());
const _: () = assert!(VMEMMAP_BASE.raw() + VMEMMAP_BYTES <= VMALLOC_BASE.raw());
const _: () = assert!(VMALLOC_BASE.raw() + VMALLOC_BYTES <= IMAGE_BASE.raw());

/// The address of `pa` in the linear map.
#[must_use]
#[inline]
pub const fn linear(pa: PhysAddr) -> VirtAddr {
    VirtAddr::new(LINEAR_BASE.raw() + pa.raw())
}

/// The address of the struct page of `pfn`.
#[must_use]
#[inline]
pub const fn vmemmap(pfn: Pfn) -> VirtAddr {
    VirtAddr::new(VMEMMAP_BASE.raw() + (pfn.raw() << STRUCT_PAGE_SHIFT))
}
