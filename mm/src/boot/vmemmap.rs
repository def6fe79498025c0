//! vmemmap at boot: memory for the struct pages of all RAM, and their first contents.
//!
//! Struct pages exist for whole chunks of frames around each bank of RAM: 128 MiB of RAM for one 2 MiB block
//! of vmemmap, or 4 MiB of RAM, the largest block of the buddy allocator, where pages map vmemmap. So the buddy
//! allocator may look at the neighbour of any block: beyond the bank's end it finds [`PageKind::Reserved`].
//!
//! ```text
//!            | bank of RAM            |   hole  |    a struct page of
//! vmemmap  |RR FFFFFFFFFFFFFFFFFRRFFFF RRRRRRR|      F a free frame, R any other
//!          ^ chunk                            ^
//! ```
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::layout::{STRUCT_PAGE_BYTES, vmemmap};
use arch::pte::PteFlags;
use arch::{Machine, Order, Pfn, PhysAddr, PhysMem, VirtAddr};

use super::early::Reach;
use super::frames::Frames;
use super::mem::BootError;
use super::tables::{EarlyTables, Piece};
use crate::buddy::MAX_ORDER;
use crate::config::VmemmapMap;
use crate::page::tails::PER_VMEMMAP_PAGE;
use crate::page::{PageKind, page_of};
use crate::pgtable::walk;

/// The order of the frame that one leaf of vmemmap maps.
fn leaf_order(map: VmemmapMap) -> Order {
    match map {
        VmemmapMap::Pmd => Order::PMD,
        VmemmapMap::Pte => Order::PAGE,
    }
}

/// Chunks of frames that have struct pages: whole, disjoint, ascending, and holding all of `ram`.
fn chunks(ram: &[Frames], map: VmemmapMap) -> impl Iterator<Item = Frames> {
    let order = match map {
        VmemmapMap::Pmd => Order::new(Order::PMD.raw() + PER_VMEMMAP_PAGE.ilog2() as u8),
        VmemmapMap::Pte => MAX_ORDER,
    };
    let mut done = Pfn::new(0);
    ram.iter().map(move |bank| {
        let wide = bank.widened(order);
        let chunk = Frames { start: wide.start.max(done).min(wide.end), end: wide.end };
        done = done.max(wide.end);
        chunk
    })
}

/// The addresses of the struct pages of `chunk`, a page or block of vmemmap at a time.
fn leaves(chunk: Frames, order: Order) -> impl Iterator<Item = VirtAddr> {
    let (start, end) = (vmemmap(chunk.start), vmemmap(chunk.end));
    (0..end.offset_from(start) / order.bytes()).map(move |n| start.add(n * order.bytes()))
}

/// Maps the struct pages of all of `ram`.
pub(super) fn map(tables: &mut EarlyTables<'_>, ram: &[Frames], how: VmemmapMap) -> Result<(), BootError> {
    let order = leaf_order(how);
    for va in chunks(ram, how).flat_map(|chunk| leaves(chunk, order)) {
        let pa = tables.early.take(order, Reach::Anywhere, "vmemmap")?;
        tables.map(Piece { va, pa, bytes: order.bytes(), flags: PteFlags::KERNEL_RW })?;
    }
    Ok(())
}

/// Writes every struct page, once the root is installed, and returns how many frames hold struct pages.
pub(super) fn fill(root: PhysAddr, ram: &[Frames], free: &[Frames], how: VmemmapMap) -> u64 {
    for chunk in chunks(ram, how) {
        let mut at = chunk.start;
        for part in free.iter().map(|range| range.meet(chunk)).filter(|part| !part.is_empty()) {
            write_pages(root, Frames { start: at, end: part.start }, PageKind::Reserved);
            write_pages(root, part, PageKind::Free);
            at = part.end;
        }
        write_pages(root, Frames { start: at, end: chunk.end }, PageKind::Reserved);
    }
    let reserved = ram.iter().flat_map(|bank| bank.iter()).map(page_of);
    for page in reserved.filter(|page| page.kind() == PageKind::Reserved) {
        page.set_refcount(1);
    }
    claim_holders(root, ram, how)
}

/// Gives the frames that hold struct pages their kind, so that each can be freed alone later.
fn claim_holders(root: PhysAddr, ram: &[Frames], how: VmemmapMap) -> u64 {
    let mut holders = 0;
    for va in chunks(ram, how).flat_map(|chunk| leaves(chunk, Order::PAGE)) {
        let page = page_of(holder(root, va).pfn());
        page.set_kind(PageKind::Vmemmap, Order::PAGE);
        page.set_refcount(1);
        holders += 1;
    }
    holders
}

/// Writes fresh struct pages. Those that fill a page of vmemmap are copied from the first such page.
fn write_pages(root: PhysAddr, frames: Frames, kind: PageKind) {
    let mut template = None;
    let mut at = frames.start;
    while at < frames.end {
        let fills =
            at.raw().is_multiple_of(PER_VMEMMAP_PAGE) && frames.end.offset_from(at) >= PER_VMEMMAP_PAGE;
        let step = if fills { PER_VMEMMAP_PAGE } else { 1 };
        let place = holder(root, vmemmap(at));
        match template {
            Some(from) if fills => Machine::copy(place, from, PAGE_SIZE),
            _ => Frames::new(at, step).iter().for_each(|pfn| write_page(pfn, kind)),
        }
        if fills {
            template.get_or_insert(place);
        }
        at = at.add(step);
    }
}

fn write_page(pfn: Pfn, kind: PageKind) {
    let page = page_of(pfn);
    page.clear();
    page.set_kind(kind, Order::PAGE);
}

/// The frame of vmemmap that holds the struct page at `va`.
fn holder(root: PhysAddr, va: VirtAddr) -> PhysAddr {
    let leaf = walk(root, va).last();
    let bytes = leaf.level.entry_bytes();
    let into = va.offset_from(va.align_down(bytes));
    leaf.desc.output(leaf.level).add(into).align_down(PAGE_SIZE)
}

const _: () = assert!(PER_VMEMMAP_PAGE * STRUCT_PAGE_BYTES == PAGE_SIZE);
