//! Damage to leaves of address spaces, to what they map, to VMAs and reservations.

use arch::Pfn;
use arch::pte::PteFlags;

use super::*;
use crate::config::Contpte;
use crate::hugetlb::HugeSize;
use crate::page::{Flags, page_of};
use crate::space::{HugeAdvice, MmapRequest};
use crate::stats::Counter;
use crate::testkit::run_as_user;
use crate::thp::record::Queued;

/// As [`small`], with groups of 16 pages.
fn folding() -> Builder {
    small().config(|config| config.contpte = Contpte::On)
}

/// A frame that is no RAM.
const DEVICE: Pfn = Pfn::new(0x9000);

/// Maps `frame` as a page at [`BASE`] + 1 MiB, in a VMA of 4 MiB, where nothing is mapped yet.
fn map_frame(site: &Site<'_>, frame: Pfn, flags: PteFlags) -> Option<Pfn> {
    site.anon();
    site.make_user(BASE.add(MIB), Level::L3, Desc::leaf(frame.phys(), Level::L3, flags));
    Some(frame)
}

/// Maps so many frames from `first` on as pages at [`BASE`] + 1 MiB that say they are folded.
fn map_folded(site: &Site<'_>, first: PageRef, pages: u64) -> Option<Pfn> {
    site.anon();
    for n in 0..pages {
        let va = BASE.add(MIB + n * PAGE);
        site.make_user(va, Level::L3, Desc::leaf(first.nth(n).pfn().phys(), Level::L3, PteFlags::USER_RW));
    }
    for n in 0..pages {
        let leaf = site.space.ptl.lock().walk(BASE.add(MIB + n * PAGE)).leaf().unwrap();
        // Behind the back of the model, which would not have it.
        Machine::write_bytes(leaf.slot, &leaf.desc.in_group().raw().to_le_bytes());
    }
    Some(first.pfn())
}

/// Two neighbouring VMAs that differ, changed by `damage`.
fn damage_vmas(site: &Site<'_>, damage: fn(&mut [&mut crate::space::Vma])) -> Option<Pfn> {
    site.map(0, MIB, MapFlags::empty());
    site.map(MIB, MIB, MapFlags::NORESERVE);
    site.space.with_raw_vmas(damage);
    None
}

/// A reservation with page 0 populated: the first page of its block.
fn reservation(site: &Site<'_>) -> PageRef {
    site.anon().1
}

/// Two reservations with page 0 populated, in the order of the queue: the first pages of their blocks.
fn two_reservations(site: &Site<'_>) -> [PageRef; 2] {
    let (va, first) = site.anon();
    [first, site.touch(va.add(2 * MIB))]
}

pub(super) const ROWS: &[Row] = &[
    ("a VMA is whole pages of its kind", small, |site| {
        damage_vmas(site, |vmas| vmas[0].end = vmas[0].start.add(1))
    }),
    ("a VMA lies in the user half", small, |site| damage_vmas(site, |vmas| vmas[0].start = VirtAddr::new(0))),
    ("a VMA begins where the one before has ended", small, |site| {
        damage_vmas(site, |vmas| vmas[0].end = vmas[0].end.add(PAGE))
    }),
    ("neighbouring VMAs that differ in nothing", small, |site| {
        damage_vmas(site, |vmas| vmas[1].commit = vmas[0].commit)
    }),
    ("the tree of VMAs knows its gaps", small, |site| {
        damage_vmas(site, |vmas| vmas[0].end = vmas[0].start.add(PAGE))
    }),
    ("a leaf lies in a VMA", small, |site| {
        let (va, page) = site.anon();
        site.make_user(
            va.add(4 * MIB),
            Level::L3,
            Desc::leaf(page.pfn().phys(), Level::L3, PteFlags::USER_RW),
        );
        Some(page.pfn())
    }),
    (
        "a leaf lies in a VMA",
        || thp(ThpMode::Always),
        |site| {
            let (_, page) = site.anon();
            site.space.with_raw_vmas(|vmas| vmas[0].end = BASE.add(MIB));
            Some(page.pfn())
        },
    ),
    ("a leaf has the rights of its VMA", small, |site| {
        let (va, page) = site.anon();
        site.mm.gather(site.space.tag(), |gather| {
            let mut tree = site.space.ptl.lock();
            let entry = tree.entry(site.space.flusher(site.mm), va, Level::L3).unwrap();
            let old = entry.desc();
            let nobody = PteFlags::USER_RO.difference(PteFlags::USER);
            entry.tighten(old.with_flags(Level::L3, nobody), gather);
        });
        Some(page.pfn())
    }),
    ("a leaf has the rights of its VMA", small, |site| {
        map_frame(site, site.mm.zero_page.pfn(), PteFlags::USER_RW)
    }),
    ("the page of zeros is a page of anonymous memory", small, |site| {
        site.mm.hugetlb.set_nr(site.mm, HugeSize::M2, 1).persistent.checked_sub(1).unwrap();
        let va = site.map(0, 2 * MIB, MapFlags::HUGETLB);
        let zero = site.mm.zero_page.pfn();
        let leaf = Desc::leaf(zero.phys(), Level::L3, PteFlags::USER_RO | PteFlags::SPECIAL);
        site.make_user(va, Level::L3, leaf);
        Some(zero)
    }),
    (
        "only levels 2 and 3 are folded, and by choice",
        || small().config(|config| config.contpte = Contpte::Off),
        |site| map_folded(site, site.page(), 1),
    ),
    ("a group is folded as a whole", folding, |site| map_folded(site, site.page(), 1)),
    ("a folded group maps a folio as large or larger, or single pages", folding, |site| {
        map_folded(site, site.block(5, PageKind::Kernel).nth(16), 16)
    }),
    ("a leaf maps RAM", small, |site| map_frame(site, DEVICE, PteFlags::USER_RW)),
    ("the kind of a page that a user maps", small, |site| {
        map_frame(site, site.page().pfn(), PteFlags::USER_RW)
    }),
    ("the kind of a page that a user maps", small, |site| {
        site.mm.drain_cpu_lists();
        let free = |page: &PageRef| page.kind() == PageKind::Buddy && page.order() > Order::new(8);
        // Not the one that the next page is taken from.
        let block = site.mm.ram()[0].iter().map(page_of).filter(free).last().unwrap();
        map_frame(site, block.pfn(), PteFlags::USER_RW)
    }),
    ("the kind of a page that a user maps", reserving, |site| {
        let unpopulated = reservation(site).nth(100);
        map_frame(site, unpopulated.pfn(), PteFlags::USER_RW)
    }),
    ("a leaf maps one folio", reserving, |site| {
        let page = reservation(site);
        let block = Desc::leaf(page.pfn().phys(), Level::L2, PteFlags::USER_RW);
        site.make_user(BASE.add(2 * MIB), Level::L2, block);
        Some(page.pfn())
    }),
    ("a migration entry was left behind", small, |site| {
        let (va, page) = site.anon();
        site.clear_user(va, Level::L3);
        site.make_user(va, Level::L3, Desc::migration(page.pfn().phys(), Level::L3, PteFlags::USER_RW));
        Some(page.pfn())
    }),
    ("the folio's object", small, |site| {
        let shared = MmapRequest::anonymous(PAGE, RW).fixed(BASE.raw()).with(MapFlags::SHARED);
        let shared = MmapRequest { flags: shared.flags - MapFlags::PRIVATE, ..shared };
        let va = site.mm.mmap(&site.space, &shared).unwrap();
        let page = site.touch(va);
        page.set_mapping(page.mapping() + 1, page.index());
        Some(page.pfn())
    }),
    ("a live space has its node in the lineage", small, |site| {
        site.mm.lineages.leave(&site.space.lineage);
        None
    }),
    ("a space that maps a page descends from the page's", small, |site| {
        let (va, page) = site.anon();
        page.set_mapping(site.space.id + 1, va.raw() / PAGE);
        Some(page.pfn())
    }),
    ("the folio's index", small, |site| {
        let (va, page) = site.anon();
        page.set_mapping(site.space.id, va.raw() / PAGE + 1);
        Some(page.pfn())
    }),
    ("the folio's index", small, |site| {
        let (va, page) = site.anon();
        let leaf = Desc::leaf(page.pfn().phys(), Level::L3, PteFlags::USER_RW);
        site.make_user(va.add(PAGE), Level::L3, leaf);
        Some(page.pfn())
    }),
    ("a space that maps a page descends from the page's", small, |site| {
        let (va, page) = site.anon();
        let child = site.mm.fork_space(&site.space).unwrap();
        page.set_mapping(child.id, va.raw() / PAGE);
        Some(page.pfn())
    }),
    ("spaces that map a page which one of them may write", small, |site| {
        let (va, page) = site.anon();
        let child = site.mm.fork_space(&site.space).unwrap();
        let mut tree = child.ptl.lock();
        let entry = tree.entry(child.flusher(site.mm), va, Level::L3).unwrap();
        let old = entry.desc();
        entry.relax(old, Desc::leaf(page.pfn().phys(), Level::L3, PteFlags::USER_RW));
        Some(page.pfn())
    }),
    ("the mark of a page that has a reservation", reserving, |site| {
        let page = reservation(site);
        page.clear_flags(Flags::RESERVED);
        Some(page.pfn())
    }),
    ("the mark of a page that has a reservation", small, |site| {
        let page = site.anon().1;
        page.set_flags(Flags::RESERVED);
        Some(page.pfn())
    }),
    ("references to an anonymous page", small, |site| Some(site.block(0, PageKind::Anon).pfn())),
    ("references to an anonymous page", small, |site| {
        let page = site.anon().1;
        page.get().leave();
        Some(page.pfn())
    }),
    (
        "references to an anonymous page",
        || thp(ThpMode::Always),
        |site| {
            let head = site.anon().1;
            head.get().leave();
            Some(head.pfn())
        },
    ),
    ("leaf entries that map a page", small, |site| {
        let page = site.anon().1;
        page.add_raw_mapcount(1);
        Some(page.pfn())
    }),
    ("leaf entries that map a page", small, |site| {
        let (va, page) = site.anon();
        site.touch(va.add(PAGE));
        site.clear_user(va, Level::L3);
        Some(page.pfn())
    }),
    ("anonymous pages of a space", small, |site| {
        site.anon();
        site.space.spoil_anon();
        None
    }),
    ("nr_anon_pages", small, |site| {
        site.mm.stats.inc(Counter::NrAnon);
        None
    }),
    (
        "nr_anon_transparent_hugepages",
        || thp(ThpMode::Always),
        |site| {
            site.anon();
            site.mm.stats.sub(Counter::NrAnonThp, 1);
            None
        },
    ),
    ("a reservation's block is aligned", reserving, |site| {
        let stray = site.page();
        site.poke_next(reservation(site), Some(stray));
        Some(stray.pfn())
    }),
    ("the table finds a reservation", reserving, |site| {
        let block = reservation(site);
        block.nth(8).set_private(site.space.id + 1);
        Some(block.pfn())
    }),
    ("the space of a reservation is alive", reserving, |site| {
        // The first dead space whose reservations would stand in the same bucket.
        let block = reservation(site);
        let astray = |id: &u64| {
            block.nth(8).set_private(*id);
            site.mm.check_all().is_err_and(|wrong| wrong.what == "the table finds a reservation")
        };
        (1000..).find(|id| !astray(id)).map(|_| block.pfn())
    }),
    ("a reservation that waits for its promotion in no queue", reserving, |site| {
        let block = reservation(site);
        block.nth(9).set_private(BASE.raw() | 1);
        Some(block.pfn())
    }),
    ("a reservation's place is by its pages", reserving, |site| {
        let block = reservation(site);
        block.nth(10).set_private(2);
        Some(block.pfn())
    }),
    ("an empty reservation", reserving, |site| {
        let block = reservation(site);
        block.set_private(0);
        block.nth(10).set_private(0);
        Some(block.pfn())
    }),
    ("a link back in the queue of reservations", reserving, |site| {
        let [_, second] = two_reservations(site);
        site.poke(second.nth(1), 20, 0);
        Some(second.nth(1).pfn())
    }),
    ("reservations in the queue", reserving, |site| {
        let [first, _] = two_reservations(site);
        site.poke_next(first.nth(1), None);
        None
    }),
    ("a reservation in the queue is in the table", reserving, |site| {
        let [first, _] = two_reservations(site);
        let stranger = site.block(9, PageKind::Kernel);
        site.poke_next(first.nth(1), Some(stranger.nth(1)));
        site.poke(stranger.nth(1), 20, first.nth(1).pfn().raw() as u32 + 1);
        Some(stranger.pfn())
    }),
    ("nr_thp_res_fullpop", reserving, |site| {
        site.mm.stats.inc(Counter::NrThpResFullpop);
        None
    }),
    ("nr_thp_res_partpop", reserving, |site| {
        site.mm.stats.inc(Counter::NrThpResPartpop);
        None
    }),
    ("a space whose holes wait in no queue", small, |site| {
        site.space.holes.lock().set_queued(Queued::Yes);
        None
    }),
    ("a space's ranges with holes are in order", small, |site| {
        site.space.holes.spoil();
        None
    }),
    ("notes of a family tree", small, |site| {
        site.space.lineage.count_notes(1);
        None
    }),
    ("address spaces with one ASID", small, |site| {
        let other = site.mm.new_space().unwrap();
        run_as_user(site.mm, site.env, &site.space, || ());
        other.asid.set_raw(site.space.asid.raw());
        None
    }),
    ("a VMA holds the range of a reservation", reserving, |site| {
        let page = reservation(site);
        site.map(4 * MIB, MIB, MapFlags::empty());
        site.mm.mprotect(&site.space, BASE.raw() + 4 * MIB, MIB, MapProt::READ).unwrap();
        site.space.with_raw_vmas(|vmas| {
            (vmas[0].end, vmas[1].start) = (BASE.add(MIB), BASE.add(MIB));
            vmas[1].pgoff = vmas[1].start.raw() / PAGE;
            (vmas[1].prot, vmas[1].advice) = (vmas[0].prot, HugeAdvice::Huge);
        });
        Some(page.pfn())
    }),
    ("kind of a page of a reservation", reserving, |site| {
        let page = reservation(site).nth(1);
        page.set_kind(PageKind::Kernel, Order::PAGE);
        Some(page.pfn())
    }),
    ("populated pages that a reservation counts", reserving, |site| {
        let block = reservation(site);
        let word = block.nth(10);
        word.set_private(word.private() + (1 << 2));
        Some(block.pfn())
    }),
    ("a page of a piece is populated", reserving, |site| {
        let record = site.mm.reservation_of(reservation(site).pfn()).unwrap();
        let mut map = record.popmap();
        map.insert(5);
        record.set_popmap(&map);
        Some(record.page(4).pfn())
    }),
    ("references to a piece", reserving, |site| {
        let page = reservation(site).nth(8);
        page.get().leave();
        Some(page.pfn())
    }),
    ("mappings of a piece", reserving, |site| {
        let page = reservation(site).nth(8);
        page.add_raw_mapcount(1);
        Some(page.pfn())
    }),
    ("the owner's word of a page of a piece", reserving, |site| {
        let page = reservation(site).nth(300);
        page.set_private(1);
        Some(page.pfn())
    }),
    ("a page of a reservation is mapped where it is populated", reserving, |site| {
        let (va, page) = site.anon();
        site.touch(va.add(PAGE));
        site.clear_user(va, Level::L3);
        let elsewhere = va.add(3 * MIB);
        site.make_user(elsewhere, Level::L3, Desc::leaf(page.pfn().phys(), Level::L3, PteFlags::USER_RW));
        page.set_mapping(site.space.id, elsewhere.raw() / PAGE);
        Some(page.pfn())
    }),
    ("pages of kind thp-reserved", reserving, |site| {
        site.block(0, PageKind::ThpReserved);
        None
    }),
    ("nr_thp_reserved", reserving, |site| {
        site.mm.stats.inc(Counter::NrThpReserved);
        None
    }),
];

#[test]
fn damage_to_mappings_is_found() {
    run(ROWS);
}
