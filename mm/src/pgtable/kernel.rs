//! The kernel's own tree after boot: device registers and guarded stacks in the vmalloc area.
//!
//! ```text
//! VMALLOC_BASE                     + DEVICE_BYTES                         + STACK_BYTES
//! | device registers, upwards ...  | 1 page | 2 pages | 4 | 8 | 16 pages  |
//!   never unmapped                   stacks: each class a row of slots, see [`super::vmalloc`]
//! ```
//! The tables above level 3 of the area's stacks are made at boot, so the number of free pages is the same
//! before a stack is made and after it is gone.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, Machine, Order, PhysAddr, PhysMem, VirtAddr};

use super::flush::{FlushTag, Flusher};
use super::gather::Gather;
use super::root::{Missing, PtRoot};
use super::stock::TableStock;
use super::vmalloc::{Class, Vmalloc};
use crate::Mm;
use crate::boot::Frames;
use crate::error::OutOfMemory;
use crate::page::PageKind;

/// The kernel's tables and the addresses of the vmalloc area. Stands inside the lock of rank
/// [`crate::locks::KERNEL_TABLE`].
#[derive(Debug)]
pub struct KernelTree {
    tree: PtRoot,
    pub(super) vmalloc: Vmalloc,
}

impl KernelTree {
    /// The tree that boot has built.
    pub(crate) fn new(root: PhysAddr) -> Self {
        KernelTree { tree: PtRoot::built(root), vmalloc: Vmalloc::new() }
    }
}

/// Addresses that need a table of this level from the beginning.
pub(crate) fn prepare() -> [(VirtAddr, Level); 2] {
    [(super::vmalloc::DEVICE_BASE, Level::L2), (super::vmalloc::STACK_BASE, Level::L2)]
}

impl Mm {
    /// Gives `f` the kernel's tree under its lock.
    pub fn with_kernel_tree<R>(&self, f: impl FnOnce(&mut PtRoot, Flusher<'_>) -> R) -> R {
        f(&mut self.kernel.lock().tree, self.kernel_flusher())
    }

    fn kernel_flusher(&self) -> Flusher<'_> {
        Flusher::new(FlushTag::Kernel, &self.stats)
    }

    /// Makes one leaf of the kernel's tree, and the tables that it lacks.
    fn make_kernel_leaf(&self, va: VirtAddr, level: Level, leaf: Desc) -> Result<(), OutOfMemory> {
        let mut lacking = 0;
        loop {
            let mut stock = TableStock::new(self, lacking)?;
            let made = self.with_kernel_tree(|tree, flusher| {
                tree.entry_or_table(flusher, va, level, &mut stock).map(|entry| entry.make(leaf))
            });
            match made {
                Ok(()) => return Ok(()),
                Err(Missing::Stock | Missing::Table(_)) => lacking = 3,
                Err(Missing::Leaf(at, desc)) => panic!("vmalloc: {desc} at level {at} maps {va} already"),
            }
        }
    }

    /// Makes the leaves for one range of kernel addresses invalid. What was mapped, and a table that no entry uses
    /// any more, leave through a gather.
    fn unmap_kernel_pages(&self, start: VirtAddr, pages: u64) {
        self.gather(FlushTag::Kernel, |gather| {
            self.with_kernel_tree(|tree, flusher| {
                for va in (0..pages).map(|n| start.add(n * PAGE_SIZE)) {
                    if let Ok(entry) = tree.entry(flusher, va, Level::L3) {
                        let unmapped = entry.clear(gather);
                        gather.hold(unmapped);
                    }
                }
                release_empty_table(tree, flusher, start, gather);
            });
        });
    }

    /// Maps device registers, read and write, never executable, in the vmalloc area, and returns the address of
    /// `pa` there. They stay mapped. `pa` and `bytes` need not be whole pages.
    ///
    /// # Errors
    /// [`OutOfMemory`]: no memory for tables, or no addresses left. What was mapped by then stays, unused.
    ///
    /// # Panics
    /// A part of the range is RAM: it would be mapped with two memory types (B2.7, mismatched attributes).
    pub fn map_device(&self, pa: PhysAddr, bytes: u64) -> Result<VirtAddr, OutOfMemory> {
        let first = pa.align_down(PAGE_SIZE);
        let end = pa.add(bytes).align_up(PAGE_SIZE);
        let frames = Frames { start: first.pfn(), end: end.pfn() };
        let is_ram = self.ram().iter().any(|bank| !bank.meet(frames).is_empty());
        assert!(!is_ram, "map_device: {frames} is RAM");
        let window =
            self.kernel.lock().vmalloc.take_device(first, end.offset_from(first)).ok_or(OutOfMemory)?;
        let (mut va, mut at) = (window, first);
        while at < end {
            let block = Level::L2.entry_bytes();
            let fits = at.is_aligned(block) && va.is_aligned(block) && end.offset_from(at) >= block;
            let level = if fits { Level::L2 } else { Level::L3 };
            self.make_kernel_leaf(va, level, Desc::leaf(at, level, PteFlags::KERNEL_DEVICE))?;
            (va, at) = (va.add(level.entry_bytes()), at.add(level.entry_bytes()));
        }
        Ok(window.add(pa.offset_from(first)))
    }

    /// A kernel stack of `pages` pages (a power of two, 1..=16), mapped read and write, and returns its lowest
    /// address. That is a multiple of twice the stack's size, and as many bytes below it are never mapped: a
    /// stack pointer that has gone too far has bit log2(size) set, and its next access faults.
    ///
    /// # Errors
    /// [`OutOfMemory`]: no pages, or all slots of this size are in use.
    ///
    /// # Panics
    /// `pages` is not a size that there is.
    pub fn alloc_stack(&self, pages: u64) -> Result<VirtAddr, OutOfMemory> {
        let class = Class::of(pages);
        let base = self.kernel.lock().vmalloc.take_stack(class).ok_or(OutOfMemory)?;
        for n in 0..pages {
            if let Err(error) = self.map_stack_page(base.add(n * PAGE_SIZE)) {
                self.free_stack(base, pages);
                return Err(error);
            }
        }
        Ok(base)
    }

    fn map_stack_page(&self, va: VirtAddr) -> Result<(), OutOfMemory> {
        let page = self.alloc_pages(Order::PAGE, PageKind::Kernel)?;
        let leaf = Desc::leaf(page.pfn().phys(), Level::L3, PteFlags::KERNEL_RW);
        let made = self.make_kernel_leaf(va, Level::L3, leaf);
        match made {
            // The reference is the entry's.
            Ok(()) => page.leave(),
            Err(_) => self.free_pages(page, Order::PAGE),
        }
        made
    }

    /// Gives back a stack of `pages` pages at `base`, once no CPU runs on it. Its pages reach the allocator
    /// after the flush, and its addresses are used again only after that.
    pub fn free_stack(&self, base: VirtAddr, pages: u64) {
        self.unmap_kernel_pages(base, pages);
        self.kernel.lock().vmalloc.give_stack(base, Class::of(pages));
    }
}

/// Unlinks the level-3 table that translates `va`, if all its entries are invalid.
fn release_empty_table(tree: &mut PtRoot, flusher: Flusher<'_>, va: VirtAddr, gather: &mut Gather<'_>) {
    let Ok(above) = tree.entry(flusher, va, Level::L2) else { return };
    let desc = above.desc();
    if desc.kind(Level::L2) != Kind::Table {
        return;
    }
    let table = desc.output(Level::L2);
    let empty = (0..ENTRIES_PER_TABLE as u64).all(|n| !Machine::read_desc(table.add(8 * n)).is_valid());
    if empty {
        let unmapped = above.clear(gather);
        gather.hold(unmapped);
    }
}
