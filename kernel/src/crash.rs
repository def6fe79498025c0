//! Ways to end badly, on purpose: what a test of the reports needs.

use core::hint::black_box;

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Desc, Level, Order, VirtAddr};
use mm::Mm;
use mm::hvo;
use mm::page::PageKind;
use mm::pgtable::{AsidCell, FlushTag, Flusher, PtRoot};

/// Runs over the end of this thread's stack.
pub fn overflow_stack() {
    black_box(descend(black_box(1)));
}

fn descend(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if room[0] == 0 { 0 } else { descend(black_box(depth + 1)) + black_box(&room)[63] }
}

/// Reads address 0 in the kernel.
pub fn read_null() {
    let null = core::ptr::without_provenance::<u64>(black_box(0));
    // SAFETY: the access faults, and the fault is what the caller wants to see.
    let value = unsafe { null.read_volatile() };
    panic!("the kernel has read {value:#x} at address 0");
}

/// Optimises a folio and writes to its struct page 448, which is in the last of its eight pages of vmemmap.
pub fn write_tail(mm: &Mm) {
    let Ok(folio) = mm.alloc_pages(Order::PMD, PageKind::Hugetlb) else { panic!("no block of 2 MiB") };
    folio.prep_compound(PageKind::Hugetlb, Order::PMD, mm.config.tails);
    if !folio.freeze(1) {
        panic!("a new folio cannot be frozen");
    }
    if let Err(error) = hvo::optimize_folio(mm, *folio) {
        panic!("the folio keeps its tails: {error}");
    }
    folio.nth(black_box(448)).set_private(0x5eed);
    panic!("the kernel has written to a shared tail");
}

/// Lets a page of a kernel stack that nobody uses map another frame, at once. A kernel with debug assertions ends at
/// the store, by the rule.
pub fn store_without_break(mm: &Mm) {
    let base = stack(mm);
    mm.with_kernel_tree(|tree, flusher| replace(tree, flusher, base, PAGE_SIZE));
    panic!("the kernel has replaced a live descriptor without a break: it has no debug assertions");
}

/// Stores what stands there already to the kernel's tree, taken for a user root, whose lock is not held. A kernel with
/// debug assertions ends at the store, for want of that lock.
pub fn store_without_lock(mm: &Mm) {
    let (base, cell) = (stack(mm), AsidCell::new());
    let flusher = Flusher::new(FlushTag::User(&cell), &mm.stats);
    mm.with_kernel_tree(|tree, _| replace(tree, flusher, base, 0));
    panic!("the kernel has stored a descriptor without the lock: it has no debug assertions");
}

/// A mapped kernel stack of one page that nobody runs on.
fn stack(mm: &Mm) -> VirtAddr {
    match mm.alloc_stack(1) {
        Ok(base) => base,
        Err(error) => panic!("no stack to end badly with: {error:?}"),
    }
}

/// Moves what maps `va` on by `bytes` bytes of physical memory.
fn replace(tree: &mut PtRoot, flusher: Flusher<'_>, va: VirtAddr, bytes: u64) {
    let Ok(entry) = tree.entry(flusher, va, Level::L3) else { panic!("{va} is not mapped by a page") };
    let old = entry.desc();
    let frame = old.output(Level::L3).add(bytes);
    entry.relax(old, Desc::leaf(frame, Level::L3, PteFlags::KERNEL_RW));
}
