//! Damage of what moves, and of folios that are mapped in part.

use arch::pte::{Migration, PteFlags};

use super::*;
use crate::config::Number;
use crate::page::{Flags, page_of};
use crate::pgtable::TableStock;

fn huge() -> Builder {
    thp(ThpMode::Always)
}

/// A folio of 2 MiB, of which the last page was unmapped: the first of `n` on the list.
fn partial(site: &Site<'_>, n: u64) -> PageRef {
    let heads = (0..n).map(|n| {
        let va = site.map(4 * n * MIB, 2 * MIB, MapFlags::empty());
        let head = site.touch(va);
        site.mm.munmap(&site.space, va.raw() + 2 * MIB - PAGE, PAGE).unwrap();
        head
    });
    heads.collect::<Vec<_>>()[0]
}

pub(super) const ROWS: &[Row] = &[
    ("a migration entry was left behind", small, |site| {
        let (va, page) = site.anon();
        let moving = Migration { output: page.pfn().phys(), flags: PteFlags::USER_RW };
        let mut stock = TableStock::new(site.mm, 3).unwrap();
        let mut tree = site.space.ptl.lock();
        let entry = tree.entry_or_table(site.space.flusher(site.mm), va.add(PAGE), Level::L3, &mut stock);
        entry.unwrap().put_migration(moving);
        Some(page.pfn())
    }),
    ("a link back on the list of partly mapped folios", huge, |site| {
        let first = partial(site, 2);
        site.poke(first, 20, 0);
        Some(first.pfn())
    }),
    ("a folio is moving though nobody moves it", small, |site| {
        let (_, page) = site.anon();
        page.set_flags(Flags::MOVING);
        Some(page.pfn())
    }),
    ("what is mapped in part is a folio of anonymous memory", small, |site| {
        let (_, page) = site.anon();
        page.set_flags(Flags::PARTIAL);
        Some(page.pfn())
    }),
    ("a link back on the list of huge pages that may be underused", huge, |site| {
        let (va, _) = site.anon();
        let second = site.touch(va.add(2 * MIB));
        site.poke(second, 20, 0);
        Some(second.pfn())
    }),
    ("what may be underused is a huge page that is mapped whole", small, |site| {
        let (_, page) = site.anon();
        page.set_flags(Flags::CANDIDATE);
        Some(page.pfn())
    }),
    ("what may be underused is a huge page that is mapped whole", huge, |site| {
        let (_, head) = site.anon();
        head.set_flags(Flags::PARTIAL);
        Some(head.pfn())
    }),
    ("huge pages on the list of those that may be underused", huge, |site| {
        site.mm.thp.set(Number::ShrinkUnderused, 0).unwrap();
        site.anon().1.set_flags(Flags::CANDIDATE);
        None
    }),
    ("filled pages of a huge page are remembered on a list", huge, |site| {
        site.mm.thp.set(Number::ShrinkUnderused, 0).unwrap();
        let (_, head) = site.anon();
        head.set_private(3);
        Some(head.pfn())
    }),
    ("huge pages on the list of those that may be underused", huge, |site| {
        site.anon().1.set_private(3);
        None
    }),
    ("folios on the list of partly mapped ones", huge, |site| {
        site.mm.thp.set(Number::ShrinkUnderused, 0).unwrap();
        let (_, head) = site.anon();
        page_of(head.pfn()).set_flags(Flags::PARTIAL);
        None
    }),
];

/// Each of these is found.
#[test]
fn damage_to_what_moves_is_found() {
    run(ROWS);
}
