//! The machines that the rows damage, and the tools for it.

use arch::contract::{Access, Privilege};
use arch::{Desc, Level, Machine, Mmu, Order, PhysMem, VirtAddr};

use super::{BASE, MIB, RW};
use crate::Mm;
use crate::config::{ThpMode, VmemmapMap};
use crate::kalloc::KArc;
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::{PtRoot, TableStock};
use crate::space::{AddressSpace, MapFlags, MmapRequest};
use crate::testkit::{Builder, HostEnv, run_as_user};

/// 32 MiB of RAM, pages only; vmemmap by pages.
pub(super) fn small() -> Builder {
    thp(ThpMode::Never)
}

/// As [`small`], with reservations of huge pages.
pub(super) fn reserving() -> Builder {
    thp(ThpMode::Reserve)
}

pub(super) fn thp(mode: ThpMode) -> Builder {
    Builder::new().ram_mib(32).config(move |config| {
        config.thp = mode;
        config.vmemmap = VmemmapMap::Pte;
    })
}

/// A machine with one address space.
pub(super) struct Site<'t> {
    pub(super) mm: &'t Mm,
    pub(super) env: &'static HostEnv,
    pub(super) space: KArc<AddressSpace>,
}

impl Site<'_> {
    /// A given-out block, whose owner is forgotten.
    pub(super) fn block(&self, order: u8, kind: PageKind) -> PageRef {
        self.mm.alloc_pages(Order::new(order), kind).unwrap().into_raw()
    }
    /// A given-out page of the kernel.
    pub(super) fn page(&self) -> PageRef {
        self.block(0, PageKind::Kernel)
    }
    /// Maps `bytes` at [`BASE`] + `at`, and returns the address.
    pub(super) fn map(&self, at: u64, bytes: u64, flags: MapFlags) -> VirtAddr {
        let request = MmapRequest::anonymous(bytes, RW).fixed(BASE.add(at).raw()).with(flags);
        self.mm.mmap(&self.space, &request).unwrap()
    }
    /// Stores into the page at `va` as the user, and returns the page.
    pub(super) fn touch(&self, va: VirtAddr) -> PageRef {
        run_as_user(self.mm, self.env, &self.space, || arch::model::user_store(va, 1)).unwrap();
        let leaf = self.space.ptl.lock().walk(va).leaf().unwrap();
        page_of(leaf.desc.output(leaf.level).pfn())
    }
    /// A mapped anonymous page: its address and the page.
    pub(super) fn anon(&self) -> (VirtAddr, PageRef) {
        let va = self.map(0, 4 * MIB, MapFlags::empty());
        (va, self.touch(va))
    }
    /// Makes an invalid entry of the space valid.
    pub(super) fn make_user(&self, va: VirtAddr, level: Level, desc: Desc) {
        let mut stock = TableStock::new(self.mm, 3).unwrap();
        let mut tree = self.space.ptl.lock();
        tree.entry_or_table(self.space.flusher(self.mm), va, level, &mut stock).unwrap().make(desc);
    }
    /// Makes a valid entry of the space invalid, and loses what it held.
    pub(super) fn clear_user(&self, va: VirtAddr, level: Level) {
        self.mm.gather(self.space.tag(), |gather| {
            let mut tree = self.space.ptl.lock();
            let _ = tree.entry(self.space.flusher(self.mm), va, level).unwrap().clear(gather);
        });
    }
    /// Makes an invalid entry of the kernel's tree valid.
    pub(super) fn make_kernel(&self, va: VirtAddr, level: Level, desc: Desc) {
        let mut stock = TableStock::new(self.mm, 3).unwrap();
        self.mm.with_kernel_tree(|tree: &mut PtRoot, flusher| {
            tree.entry_or_table(flusher, va, level, &mut stock).unwrap().make(desc);
        });
    }
    /// Writes a 32-bit field of a struct page that has no setter.
    pub(super) fn poke(&self, page: PageRef, field: u64, value: u32) {
        let at = Machine::translate(page.address(), Access::Write, Privilege::Kernel).unwrap();
        Machine::write_bytes(at.add(field), &value.to_le_bytes());
    }
    /// Lets `page`'s link lead to `next`.
    pub(super) fn poke_next(&self, page: PageRef, next: Option<PageRef>) {
        self.poke(page, 16, next.map_or(0, |next| next.pfn().raw() as u32 + 1));
    }
}
