//! Damage to tables, to the kernel's tree, and to vmemmap.

use arch::layout::{IMAGE_BASE, VMALLOC_BASE, linear, vmemmap};
use arch::pte::PteFlags;
use arch::{Pfn, PhysAddr};

use super::*;
use crate::page::page_of;
use crate::stats::Counter;

/// A frame that is no RAM: 1 GiB above the bank.
const OUTSIDE: Pfn = Pfn::new(0x8_0000);

/// Maps a page of RAM, read and write, where the kernel should not.
fn map_page(site: &Site<'_>, va: VirtAddr, page: PageRef) -> Option<Pfn> {
    site.make_kernel(va, Level::L3, Desc::leaf(page.pfn().phys(), Level::L3, PteFlags::KERNEL_RW));
    Some(page.pfn())
}

/// Clears a leaf of the kernel's tree.
fn clear_kernel(site: &Site<'_>, va: VirtAddr) {
    site.mm.gather(crate::pgtable::FlushTag::Kernel, |gather| {
        site.mm.with_kernel_tree(|tree, flusher| {
            let level = tree.walk(va).last().level;
            let _ = tree.entry(flusher, va, level).unwrap().clear(gather);
        });
    });
}

/// The page that is mapped at a kernel address.
fn behind(site: &Site<'_>, va: VirtAddr) -> PageRef {
    let last = site.mm.with_kernel_tree(|tree, _| tree.walk(va).last());
    page_of(last.desc.output(last.level).pfn())
}

/// A page of kind table that the space's level-2 entry for an untouched address leads to.
fn link(site: &Site<'_>, table: PhysAddr) {
    site.anon();
    site.make_user(BASE.add(2 * MIB), Level::L2, Desc::table(table));
}

pub(super) const ROWS: &[Row] = &[
    ("links to a page table", small, |site| Some(site.mm.alloc_table().unwrap().address().pfn())),
    ("links to a page table", small, |site| {
        let (va, _) = site.anon();
        let table = site.space.ptl.lock().walk(va).steps()[2].desc.output(Level::L2);
        site.make_user(BASE.add(2 * MIB), Level::L2, Desc::table(table));
        Some(table.pfn())
    }),
    ("nr_page_table_pages", small, |site| {
        site.mm.stats.inc(Counter::NrPageTable);
        None
    }),
    ("a table of an address space is RAM", small, |site| {
        link(site, OUTSIDE.phys());
        Some(OUTSIDE)
    }),
    ("a table of an address space is a table", small, |site| {
        let page = site.mm.alloc_zeroed_page(PageKind::Kernel).unwrap();
        link(site, page.pfn().phys());
        Some(page.pfn())
    }),
    ("the order of a page that is given out singly", small, |site| {
        let pair = site.block(1, PageKind::Table);
        Machine::zero(pair.pfn().phys(), 2 * PAGE);
        link(site, pair.pfn().phys());
        site.mm.stats.inc(Counter::NrPageTable);
        Some(pair.pfn())
    }),
    ("a table of the kernel is a table", small, |site| {
        let page = site.mm.alloc_zeroed_page(PageKind::Kernel).unwrap();
        site.make_kernel(IMAGE_BASE, Level::L2, Desc::table(page.pfn().phys()));
        Some(page.pfn())
    }),
    ("a leaf of the kernel's half that is not W^X, global, and EL1's", small, |site| {
        let flags = PteFlags::KERNEL_RX.difference(PteFlags::READ_ONLY);
        let page = site.page().pfn().phys();
        site.make_kernel(IMAGE_BASE, Level::L3, Desc::leaf(page, Level::L3, flags));
        None
    }),
    ("pages of the linear map", small, |site| {
        clear_kernel(site, linear(PhysAddr::new(0x4000_0000 + 16 * MIB)));
        None
    }),
    ("the address of a page in the linear map", small, |site| {
        map_page(site, linear(OUTSIDE.phys()), site.page())
    }),
    ("the linear map holds RAM only", small, |site| {
        let leaf = Desc::leaf(OUTSIDE.phys(), Level::L3, PteFlags::KERNEL_RW);
        site.make_kernel(linear(OUTSIDE.phys()), Level::L3, leaf);
        Some(OUTSIDE)
    }),
    ("device registers are no RAM", small, |site| map_page(site, VMALLOC_BASE, site.page())),
    ("a stack's page lies in a stack", small, |site| {
        let stack = site.mm.alloc_stack(4).unwrap();
        map_page(site, stack.add(4 * PAGE), site.page())
    }),
    ("a page of a stack is the kernel's", small, |site| {
        let page = behind(site, site.mm.alloc_stack(4).unwrap());
        page.set_kind(PageKind::Anon, Order::PAGE);
        Some(page.pfn())
    }),
    ("pages of kernel stacks", small, |site| {
        let stack = site.mm.alloc_stack(4).unwrap();
        clear_kernel(site, stack.add(PAGE));
        None
    }),
    ("a page of the image is reserved", small, |site| map_page(site, IMAGE_BASE, site.page())),
    ("a page of vmemmap holds struct pages", small, |site| {
        let page = behind(site, vmemmap(site.mm.ram()[0].start));
        page.set_kind(PageKind::Kernel, Order::PAGE);
        Some(page.pfn())
    }),
    ("pages that hold struct pages, mapped or shared", small, |site| {
        site.block(0, PageKind::Vmemmap);
        None
    }),
    ("pages that hold struct pages are mapped once", small, |site| {
        let holder = behind(site, vmemmap(site.mm.ram()[0].start));
        site.block(0, PageKind::Vmemmap);
        map_page(site, vmemmap(OUTSIDE), holder);
        None
    }),
    ("pages given out by pgalloc and pgfree", small, |site| {
        site.mm.stats.inc(Counter::PgFree);
        None
    }),
];

#[test]
fn damage_to_tables_is_found() {
    run(ROWS);
}
