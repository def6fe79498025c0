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
//! Folios that are optimised before they have struct pages ([`super::folios`]) are left out of all that: their vmemmap is
//! mapped by pages, and what is mapped beside them in the same 2 MiB, too.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::layout::{STRUCT_PAGE_BYTES, vmemmap};
use arch::{Machine, Order, Pfn, PhysAddr, PhysMem, VirtAddr};

use super::early::Reach;
use super::folios::EarlyFolios;
use super::frames::Frames;
use super::mem::BootError;
use super::tables::{EarlyTables, Piece};
use crate::buddy::MAX_ORDER;
use crate::config::VmemmapMap;
use crate::hvo::batch::{OWN, SHARED};
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

/// The addresses of the struct pages of `part`, a block of vmemmap of order `most` at a time where a whole one is, else
/// a page.
fn leaves(part: Frames, most: Order) -> impl Iterator<Item = (VirtAddr, Order)> {
    let (mut at, end) = (vmemmap(part.start), vmemmap(part.end));
    core::iter::from_fn(move || {
        let whole = at.is_aligned(most.bytes()) && end.offset_from(at) >= most.bytes();
        let leaf = (at, if whole { most } else { Order::PAGE });
        let some = at < end;
        at = at.add(leaf.1.bytes());
        some.then_some(leaf)
    })
}

/// The pages of vmemmap that have a frame of their own.
fn own_pages<'a>(
    ram: &'a [Frames],
    folios: &'a EarlyFolios,
    how: VmemmapMap,
) -> impl Iterator<Item = VirtAddr> + 'a {
    let beside = chunks(ram, how).flat_map(|chunk| folios.beside(chunk));
    let kept = folios.iter().flat_map(|(pfn, layout)| (0..layout.kept()).map(move |n| layout.page(pfn, n)));
    beside.flat_map(|part| leaves(part, Order::PAGE)).map(|(va, _)| va).chain(kept)
}

/// Maps the struct pages of all of `ram`.
pub(super) fn map(
    tables: &mut EarlyTables<'_>,
    ram: &[Frames],
    folios: &EarlyFolios,
    how: VmemmapMap,
) -> Result<(), BootError> {
    for part in chunks(ram, how).flat_map(|chunk| folios.beside(chunk)) {
        leaves(part, leaf_order(how)).try_for_each(|(va, order)| map_own(tables, va, order))?;
    }
    for (pfn, layout) in folios.iter() {
        (0..layout.kept()).try_for_each(|n| map_own(tables, layout.page(pfn, n), Order::PAGE))?;
        let Some(pa) = folios.shared.get(layout.order()) else { continue };
        for va in (layout.kept()..layout.pages()).map(|n| layout.page(pfn, n)) {
            tables.map(Piece { va, pa, bytes: PAGE_SIZE, flags: SHARED })?;
        }
    }
    Ok(())
}

/// Maps a page or block of vmemmap to a frame or block of its own.
fn map_own(tables: &mut EarlyTables<'_>, va: VirtAddr, order: Order) -> Result<(), BootError> {
    let pa = tables.early.take(order, Reach::Anywhere, "vmemmap")?;
    tables.map(Piece { va, pa, bytes: order.bytes(), flags: OWN })
}

/// Writes every struct page, once the root is installed, and returns how many frames hold struct pages.
pub(super) fn fill(
    root: PhysAddr,
    ram: &[Frames],
    free: &[Frames],
    folios: &EarlyFolios,
    how: VmemmapMap,
) -> u64 {
    folios.write_tails();
    for chunk in chunks(ram, how).flat_map(|chunk| folios.beside(chunk)) {
        let mut at = chunk.start;
        for part in free.iter().map(|range| range.meet(chunk)).filter(|part| !part.is_empty()) {
            write_pages(root, Frames { start: at, end: part.start }, PageKind::Reserved);
            write_pages(root, part, PageKind::Free);
            at = part.end;
        }
        write_pages(root, Frames { start: at, end: chunk.end }, PageKind::Reserved);
    }
    folios.write_heads();
    let beside = ram.iter().flat_map(|&bank| folios.beside(bank));
    let reserved = beside.flat_map(|part| part.iter()).map(page_of);
    for page in reserved.filter(|page| page.kind() == PageKind::Reserved) {
        page.set_refcount(1);
    }
    let own = own_pages(ram, folios, how).map(|va| holder(root, va));
    claim_holders(own.chain(folios.shared_pages().map(|(_, page)| page)))
}

/// Gives the frames that hold struct pages their kind, so that each can be freed alone later. Returns how many.
fn claim_holders(frames: impl Iterator<Item = PhysAddr>) -> u64 {
    let mut holders = 0;
    for page in frames.map(|frame| page_of(frame.pfn())) {
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
