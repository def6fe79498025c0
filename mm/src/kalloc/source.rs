//! The heap's pages on the machine: blocks of the buddy allocator, at their addresses in the linear map.

use core::ptr::NonNull;

use arch::{Access, Order, PhysAddr, kernel_access, layout};

use super::heap::PageSource;
use crate::Mm;
use crate::page::{FolioRef, PageKind, page_of};

impl PageSource for Mm {
    fn take(&self, order: Order) -> Option<NonNull<u8>> {
        let page = self.alloc_pages(order, PageKind::Kernel).ok()?;
        NonNull::new(kernel_access(layout::linear(page.into_raw().pfn().phys()), Access::Write))
    }

    unsafe fn give(&self, block: NonNull<u8>, order: Order) {
        let into_map = block.as_ptr().addr() as u64 - layout::LINEAR_BASE.raw();
        let page = page_of(PhysAddr::new(into_map).pfn());
        self.free_pages(FolioRef::from_raw(page), order);
    }
}
