//! 64 KiB on the way: 16 populated pages of a reservation become a folded group, and one entry of it changes by itself
//! again whenever it must.

use arch::CpuId;
use arch::contiguous::CONT_ENTRIES;
use arch::features::BbmLevel;
use arch::model::counters;

use super::*;
use crate::config::{Contpte, Promote};
use crate::page::page_of;
use crate::pgtable::fold::{group_at, is_folded};
use crate::rmap::{MoveWhat, migrate_folio};
use crate::space::{Advice, MremapRequest, RemapFlags};
use crate::thp::reclaim;

const GROUP: u64 = CONT_ENTRIES as u64;
const LEVELS: [BbmLevel; 4] = [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3];

fn at_level(bbm: BbmLevel) -> Builder {
    threshold(512).ram_mib(16).machine(move |desc| desc.features.bbm = bbm)
}

impl Site<'_> {
    /// Whether the group of a page is folded.
    fn is_folded(&self, page: u64) -> bool {
        self.is_folded_in(&self.space, va(page))
    }
    fn is_folded_in(&self, space: &AddressSpace, va: VirtAddr) -> bool {
        let last = space.ptl.lock().walk(va).last();
        last.level == Level::L3 && is_folded(&group_at(last.slot), Level::L3)
    }
    /// Runs `f` as the user of another CPU, whose TLB keeps what it has seen from one call to the next.
    fn on_cpu_1(&self, f: impl Fn() + Sync) {
        model::run_as(CpuId::new(1), || {
            self.mm.activate_space(Some(&self.space));
            f();
            self.mm.activate_space(None);
        });
    }
    /// Both CPUs read these pages as written, and the others of the first four groups as the machine has them.
    fn assert_read(&self, unchanged: impl Fn(u64) -> bool + Sync) {
        let read = || {
            for page in (0..4 * GROUP).filter(|&page| unchanged(page)) {
                assert_eq!(model::user_load(va(page)), Ok(word(page)), "page {page}");
            }
        };
        read();
        self.on_cpu_1(read);
    }
}

/// Whichever page comes last, the fault that populates it folds the group of 16, and no other; at each level of
/// FEAT_BBM.
#[test]
fn the_sixteenth_page_folds_the_group() {
    for bbm in LEVELS {
        for last in [0, 7, 15] {
            with_site(at_level(bbm), |site| {
                let group = 2 * GROUP..3 * GROUP;
                site.store_all(group.clone().filter(|page| page % GROUP != last));
                site.store_all(0..GROUP - 1);
                assert_eq!((site.is_folded(2 * GROUP), site.get(Counter::ThpResFolded)), (false, 0));
                site.store(2 * GROUP + last);
                assert!(group.clone().all(|page| site.is_folded(page)), "{bbm:?}, {last}");
                assert!(!site.is_folded(0) && !site.is_folded(GROUP));
                assert_eq!((site.get(Counter::ThpResFolded), site.get(Counter::ContpteFold)), (1, 1));
                site.assert_contents(|page| page < GROUP - 1 || group.contains(&page));
            });
        }
    }
}

/// What the fault costs that folds, over one that does not: 32 stores (break, make) and one flush of the group, or, at
/// level 3, 16 stores in place and the flush. Fifteen of sixteen faults cost one store and no flush.
#[test]
fn what_it_costs() {
    for (bbm, contpte, stores, tlbi, dsb) in [
        (BbmLevel::Level0, Contpte::On, 32, 1, 3),
        (BbmLevel::Level1, Contpte::On, 32, 1, 3),
        (BbmLevel::Level2, Contpte::On, 32, 1, 3),
        (BbmLevel::Level3, Contpte::On, 16, 1, 2),
        (BbmLevel::Level0, Contpte::Off, 0, 0, 0),
    ] {
        with_site(at_level(bbm).config(|config| config.contpte = contpte), |site| {
            site.store(0);
            for page in 1..GROUP {
                let before = counters();
                site.store(page);
                let spent = counters().since(&before);
                let more = if page == GROUP - 1 { (stores, tlbi, dsb) } else { (0, 0, 0) };
                assert_eq!(
                    (spent.desc_stores - 1, spent.tlbi_broadcast, spent.dsb - 1),
                    more,
                    "{bbm:?}, {page}"
                );
            }
        });
    }
}

/// `contpte=off` folds nothing, and the range is promoted as ever.
#[test]
fn by_choice() {
    with_site(threshold(40).config(|config| config.contpte = Contpte::Off), |site| {
        site.store_all(0..40);
        assert_eq!((site.get(Counter::ThpResFolded), site.is_folded(0)), (0, false));
        assert_eq!(site.drain(), 1);
        site.assert_contents(|page| page < 40);
    });
}

/// Entries of other rights, or of a page from elsewhere, are no group: after a fork fifteen pages may not be written
/// and the sixteenth may.
#[test]
fn unequal_entries_stay_plain() {
    with_site(at_level(BbmLevel::Level0), |site| {
        site.store_all(0..GROUP - 1);
        let child = site.mm.fork_space(&site.space).unwrap();
        site.store(GROUP - 1);
        assert_eq!((site.is_folded(0), site.get(Counter::ThpResFolded)), (false, 0));
        site.assert_read(|page| page < GROUP);
        site.mm.destroy_space(&child);
    });
}

/// Where another fault of the group is under way its entry is missing, and nothing is folded.
#[test]
fn a_missing_entry_leaves_it() {
    with_site(at_level(BbmLevel::Level0), |site| {
        use crate::thp::reservation::{self, Take};
        site.store(0);
        let Take::Page(taken) = reservation::take(site.mm, &site.space, va(3)) else { panic!() };
        site.store_all((0..GROUP).filter(|&page| page != 3));
        assert_eq!((site.is_folded(0), site.get(Counter::ThpResFolded)), (false, 0));
        reservation::untake(site.mm, &site.space, taken, va(3));
        site.store(3);
        assert!(site.is_folded(0), "the next fault that makes it sixteen folds it");
    });
}

/// What happens to one page of a group, or to a part of it: all others read as before on every CPU, whatever their TLBs
/// hold, and the group is unfolded just where it must be.
#[test]
fn a_part_changes() {
    type ChangeOf = fn(&Site<'_>);
    let changes: [(&str, ChangeOf, bool, &[u64]); 9] = [
        ("munmap", |site| site.mm.munmap(&site.space, va(20).raw(), PAGE_SIZE).unwrap(), false, &[20]),
        (
            "dontneed",
            |site| site.mm.madvise(&site.space, va(20).raw(), 3 * PAGE_SIZE, Advice::DontNeed).unwrap(),
            false,
            &[20, 21, 22],
        ),
        (
            "mprotect of a part",
            |site| site.mm.mprotect(&site.space, va(20).raw(), PAGE_SIZE, MapProt::READ).unwrap(),
            false,
            &[],
        ),
        (
            "mprotect of the group",
            |site| site.mm.mprotect(&site.space, va(16).raw(), GROUP * PAGE_SIZE, MapProt::READ).unwrap(),
            true,
            &[],
        ),
        (
            "mprotect, nothing at all, of a part, and back",
            |site| {
                let of = |prot| site.mm.mprotect(&site.space, va(20).raw(), PAGE_SIZE, prot).unwrap();
                of(MapProt::empty());
                of(MapProt::READ | MapProt::WRITE);
            },
            false,
            &[],
        ),
        ("released", |site| assert_eq!(reclaim::drop_reservations(site.mm), 512 - 64), true, &[]),
        (
            "moved to another frame",
            |site| {
                reclaim::drop_reservations(site.mm);
                let folio = page_of(site.leaf(20).unwrap().1.pfn()).get();
                let target = site.mm.alloc_pages(Order::PAGE, PageKind::Anon).unwrap();
                migrate_folio(site.mm, folio, target, MoveWhat::All).map_err(|_| ()).unwrap();
            },
            false,
            &[],
        ),
        (
            "mremap of a part",
            |site| {
                let to = va(RANGES * RANGE_PAGES + 7);
                let request = MremapRequest {
                    addr: va(20).raw(),
                    old_len: PAGE_SIZE,
                    new_len: PAGE_SIZE,
                    flags: RemapFlags::MAYMOVE | RemapFlags::FIXED,
                    new_addr: to.raw(),
                };
                site.mm.mremap(&site.space, &request).unwrap();
                assert_eq!(model::user_load(to), Ok(word(20)));
                site.mm.munmap(&site.space, to.raw(), PAGE_SIZE).unwrap();
            },
            false,
            &[20],
        ),
        (
            "the access flag is cleared",
            |site| {
                let page = page_of(site.leaf(20).unwrap().1.pfn()).get();
                let found = crate::rmap::folio_referenced(site.mm, page.page(), crate::rmap::Exit::Never);
                assert_eq!((found.looked_at, found.accessed), (1, 1));
                site.mm.put_folio(page);
            },
            true,
            &[],
        ),
    ];
    for bbm in [BbmLevel::Level0, BbmLevel::Level3] {
        for (what, change, folded, gone) in changes {
            with_site(at_level(bbm), |site| {
                site.store_all(0..4 * GROUP);
                assert_eq!(site.get(Counter::ThpResFolded), 4);
                site.assert_read(|_| true);
                change(site);
                site.check();
                assert_eq!(site.is_folded(16), folded, "{bbm:?}, {what}");
                assert!([0, 32, 48].iter().all(|&page| site.is_folded(page)), "{bbm:?}, {what}");
                site.assert_read(|page| !gone.contains(&page));
            });
        }
    }
}

/// A fork shares groups as groups: parent and child have them read-only, with a reference and a mapping for each page.
/// A write of either unfolds the writer's group alone. A group of which a page is pinned is unfolded: the child gets a
/// copy of that page.
#[test]
fn forks_share_groups() {
    for bbm in LEVELS {
        for pinned in [false, true] {
            with_site(at_level(bbm), |site| {
                let (mm, space) = (site.mm, &site.space);
                site.store_all(0..4 * GROUP);
                let pin = pinned.then(|| mm.pin_user_pages(space, va(21), 1, Access::Write).unwrap());
                let child = mm.fork_space(space).unwrap();
                site.check();
                let folded = |space, page| site.is_folded_in(space, va(page));
                assert_eq!((folded(space, 16), folded(&child, 16)), (!pinned, !pinned), "{bbm:?}");
                assert!([0, 32, 48].iter().all(|&page| folded(space, page) && folded(&child, page)));
                assert_eq!(
                    page_of(site.leaf(1).unwrap().1.pfn()).refcount(),
                    3,
                    "reservation, parent, child"
                );
                site.assert_read(|_| true);
                site.store_all([1, 40]);
                mm.write_user(&child, va(50), &[7]).unwrap();
                site.check();
                assert_eq!([0, 32, 48].map(|page| folded(space, page)), [false, false, true]);
                assert_eq!([0, 32, 48].map(|page| folded(&child, page)), [true, true, false]);
                site.assert_read(|_| true);
                for page in (0..64).filter(|&page| page != 50) {
                    let mut bytes = [0; 8];
                    mm.read_user(&child, va(page), &mut bytes).unwrap();
                    assert_eq!(u64::from_le_bytes(bytes), word(page), "the child's page {page}");
                }
                mm.destroy_space(&child);
                site.check();
                site.assert_read(|_| true);
                pin.into_iter().for_each(|pin| mm.unpin(pin));
            });
        }
    }
}

/// A range with groups is promoted as any other, by the promoter and by the fault, full and not; after a fork too, with
/// groups that were unfolded and strays beside groups that were not.
#[test]
fn groups_are_promoted() {
    for bbm in LEVELS {
        for (pages, promote) in
            [(100, Promote::Async), (100, Promote::Sync), (512, Promote::Async), (512, Promote::Sync)]
        {
            let machine = threshold(pages).ram_mib(16).machine(move |desc| desc.features.bbm = bbm);
            with_site(machine.config(|config| config.promote = promote), |site| {
                site.store_all(0..pages - 1);
                site.on_cpu_1(|| assert_eq!(model::user_load(va(17)), Ok(word(17))));
                let child = site.mm.fork_space(&site.space).unwrap();
                site.store_all([3, 4, 40]);
                site.mm.destroy_space(&child);
                site.store(pages - 1);
                assert!(site.get(Counter::ThpResFolded) >= pages / GROUP - 1);
                let promoted = promote == Promote::Sync;
                assert_eq!(
                    (site.is_block(0), site.drain()),
                    (promoted, u64::from(!promoted)),
                    "{bbm:?}, {pages}"
                );
                assert_eq!(site.get(Counter::ResPagesBroughtBack), 3);
                site.assert_contents(|page| page < pages);
                site.on_cpu_1(|| assert_eq!(model::user_load(va(17)), Ok(word(17))));
            });
        }
    }
}
