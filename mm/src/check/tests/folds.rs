//! Damage to folded groups of page entries.

use super::*;
use crate::config::Contpte;
use crate::page::page_of;
use arch::contiguous::CONT_ENTRIES;
use arch::pte::PteFlags;

/// The first address of a group of which no entry is valid, in a table that has others.
const GROUP: VirtAddr = BASE.add(CONT_ENTRIES as u64 * PAGE);

fn plain() -> Builder {
    small().config(|config| config.contpte = Contpte::Off)
}

/// Makes this many entries of the group, each with the contiguous bit, which map single pages in a row that begin where 64 KiB
/// do. Returns the first.
fn fold(site: &Site<'_>, entries: u64) -> PageRef {
    site.anon();
    let order = Order::new(4);
    let block = site.mm.alloc_pages(order, PageKind::Anon).unwrap();
    let first = block.page();
    site.mm.split_page(block, order).for_each(FolioRef::leave);
    for n in 0..entries {
        let page = page_of(first.pfn().add(n));
        let leaf = Desc::leaf(page.pfn().phys(), Level::L3, PteFlags::USER_RW).in_group();
        let slot = site.space.ptl.lock().walk(GROUP.add(n * PAGE)).last().slot;
        Machine::cas_desc(slot, Desc::INVALID, leaf).unwrap();
    }
    first
}

pub(super) const ROWS: &[Row] = &[
    ("only pages are folded, and by choice", plain, |site| Some(fold(site, CONT_ENTRIES as u64).pfn())),
    ("a group is folded as a whole", small, |site| Some(fold(site, 3).pfn())),
    ("a folded group maps a folio of 64 KiB or more", small, |site| {
        Some(fold(site, CONT_ENTRIES as u64).pfn())
    }),
];

#[test]
fn damage_to_groups_is_found() {
    run(ROWS);
}
