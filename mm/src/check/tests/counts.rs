//! Damage to what ways of counting keep of a folio, each of a sort that leaves the number of entries as it is.

use super::*;
use crate::config::{HvoStrategy, Mapcount};
use crate::hugetlb::HugeSize;
use crate::page::page_of;

/// A machine that counts so, with huge pages; tails are writable.
fn counting(mapcount: Mapcount) -> Builder {
    thp(ThpMode::Always).config(move |config| (config.mapcount, config.hvo) = (mapcount, HvoStrategy::Off))
}

fn thp_like() -> Builder {
    counting(Mapcount::ThpLike)
}

/// A folio of 2 MiB that is mapped by 512 entries, by the space and by so many children of it.
fn by_pages(site: &Site<'_>, children: usize) -> PageRef {
    let (va, head) = site.anon();
    for prot in [MapProt::READ, RW] {
        site.mm.mprotect(&site.space, va.raw(), PAGE, prot).unwrap();
    }
    (0..children).for_each(|_| drop(site.mm.fork_space(&site.space).unwrap()));
    head
}

/// Counts an entry of the folio's first page as one of its second.
fn miscount_a_page(head: PageRef) -> Option<Pfn> {
    head.sub_raw_mapcount(1);
    head.nth(1).add_raw_mapcount(1);
    Some(head.pfn())
}

/// A hugetlb folio that nothing maps and somebody holds.
fn unmapped(site: &Site<'_>) -> PageRef {
    assert_eq!(site.mm.hugetlb.set_nr(site.mm, HugeSize::M2, 1).persistent, 1);
    let head = site.touch(site.map(8 * MIB, 2 * MIB, MapFlags::HUGETLB));
    head.get().leave();
    site.mm.munmap(&site.space, BASE.raw() + 8 * MIB, 2 * MIB).unwrap();
    head
}

pub(super) const ROWS: &[Row] = &[
    ("whether a folio is mapped", thp_like, |site| {
        let head = unmapped(site);
        head.first_tail().add_sum(1);
        Some(head.pfn())
    }),
    ("counts that the first tail of an unmapped folio keeps", small, |site| {
        let head = unmapped(site);
        head.first_tail().add_sum(1);
        Some(head.pfn())
    }),
    ("counts that the first tail of an unmapped folio keeps", small, |site| {
        assert_eq!(site.mm.hugetlb.set_nr(site.mm, HugeSize::M2, 1).persistent, 1);
        let hugetlb = |page: &PageRef| page.kind() == PageKind::Hugetlb;
        let head = site.mm.ram()[0].iter().map(page_of).find(hugetlb).unwrap();
        head.first_tail().set_slot(1, 1);
        Some(head.pfn())
    }),
    ("pages of a folio that are mapped", thp_like, |site| {
        let head = by_pages(site, 0);
        head.first_tail().sub_sum(1);
        Some(head.pfn())
    }),
    (
        "whether several spaces map a page",
        || counting(Mapcount::Vmacount),
        |site| {
            let (_, head) = site.anon();
            drop(site.mm.fork_space(&site.space).unwrap());
            head.first_tail().sub_sum(1);
            Some(head.pfn())
        },
    ),
    ("whether several spaces map a page", thp_like, |site| miscount_a_page(by_pages(site, 1))),
    ("leaf entries that map one page of a folio", thp_like, |site| miscount_a_page(by_pages(site, 2))),
];

#[test]
fn damage_to_counts_is_found() {
    run(ROWS);
}
