//! Groups fold, unfold, and stay folded where they may, whatever is done to a part of them or to all.
#![forbid(unsafe_code)]

use std::ops::Range;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::features::Features;
use arch::model::{MachineDesc, user_load, user_store};

use super::*;
use crate::Mm;
use crate::config::{Contpte, ThpMode};
use crate::kalloc::KArc;
use crate::page::{PageRef, page_of};
use crate::rmap::{self, Exit, MoveWhat};
use crate::space::{AddressSpace, Advice, MapProt, MmapRequest, MremapRequest, RemapFlags};
use crate::stats::Counter;
use crate::testkit::{self, Builder, HostEnv, check, run_as_user, run_on_cpus};

const BASE: u64 = 0x4000_0000;
const PAGES: u64 = 512;
const GROUPS: u64 = 32;
const HUGE: u64 = PAGES * PAGE_SIZE;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
/// The page at which the block is cut first, which unfolds nothing but its own group: the last.
const CUT: u64 = 511;

fn va(page: u64) -> VirtAddr {
    VirtAddr::new(BASE + page * PAGE_SIZE)
}

fn word(page: u64) -> u64 {
    0xf01d_0001 + page
}

fn machine(bbm: BbmLevel, tlbi_range: bool) -> Builder {
    let features = Features { bbm, tlbi_range, ..MachineDesc::DEFAULT.features };
    Builder::new().ram_mib(32).features(features).config(|config| config.thp = ThpMode::Always)
}

/// Every kind of machine that unfolds differently.
fn machines() -> impl Iterator<Item = Builder> {
    [(BbmLevel::Level0, true), (BbmLevel::Level0, false), (BbmLevel::Level2, true), (BbmLevel::Level3, true)]
        .into_iter()
        .map(|(bbm, range)| machine(bbm, range))
}

/// A space with one block that is split into 512 written pages. All groups but that of the page [`CUT`] are folded.
struct Site<'t> {
    mm: &'t Mm,
    env: &'static HostEnv,
    space: &'t KArc<AddressSpace>,
}

fn with_groups(machine: &Builder, f: impl Fn(&Site<'_>)) {
    testkit::with_space(machine, |mm, env, space| {
        mm.mmap(space, &MmapRequest::anonymous(HUGE, RW).fixed(BASE)).unwrap();
        (0..PAGES).for_each(|page| user_store(va(page), word(page)).unwrap());
        mm.mprotect(space, va(CUT).raw(), PAGE_SIZE, MapProt::READ).unwrap();
        f(&Site { mm, env, space });
    });
}

impl Site<'_> {
    fn folded_in(&self, space: &AddressSpace, base: VirtAddr) -> Vec<u64> {
        let tree = space.ptl.lock();
        let folded = |group: &u64| {
            let last = tree.walk(base.add(group * 16 * PAGE_SIZE)).last();
            last.level == Level::L3 && is_folded(&group_at(last.slot), Level::L3)
        };
        (0..GROUPS).filter(folded).collect()
    }
    /// Groups that are not folded, but for the last.
    fn unfolded(&self) -> Vec<u64> {
        let folded = self.folded_in(self.space, va(0));
        (0..GROUPS - 1).filter(|group| !folded.contains(group)).collect()
    }
    fn head(&self) -> PageRef {
        let leaf = self.space.ptl.lock().walk(va(0)).leaf().unwrap();
        page_of(leaf.desc.output(leaf.level).pfn()).head(self.mm.config.tails)
    }
    /// What every CPU reads, whatever its TLB holds.
    fn read(&self, page: u64) -> Option<u64> {
        let first = user_load(va(page)).ok();
        let (mm, env, space) = (self.mm, self.env, self.space);
        let second = std::sync::Mutex::new(None);
        let job = || run_as_user(mm, env, space, || *second.lock().unwrap() = user_load(va(page)).ok());
        run_on_cpus(env, vec![Box::new(|| ()), Box::new(job)]);
        assert_eq!(second.into_inner().unwrap(), first, "page {page}");
        first
    }
    fn get(&self, counter: Counter) -> u64 {
        self.mm.stats.get(counter)
    }
}

/// Parts of groups 1 to 4: first, middle and last entry, runs of entries, whole groups, and what has both.
const PARTS: [Range<u64>; 9] = [16..17, 23..24, 31..32, 19..24, 30..34, 16..32, 16..48, 20..64, 24..72];

/// The groups that a part cuts.
fn cut_by(part: &Range<u64>) -> Vec<u64> {
    let mut cut: Vec<u64> =
        [part.start, part.end].iter().filter(|end| *end % 16 != 0).map(|end| end / 16).collect();
    cut.dedup();
    cut
}

/// Groups of which any entry is in the part.
fn touched_by(part: &Range<u64>) -> Vec<u64> {
    (part.start / 16..part.end.div_ceil(16)).collect()
}

/// Does `change` to each part, on each machine, and looks at `pages` around it before and after: `expected` says what
/// each of them reads then, and `unfolded` which groups are plain.
fn each_part(
    change: impl Fn(&Site<'_>, Range<u64>),
    expected: impl Fn(bool, u64) -> Option<u64>,
    unfolded: impl Fn(&Range<u64>) -> Vec<u64>,
) {
    for machine in machines() {
        for part in PARTS {
            with_groups(&machine, |site| {
                assert_eq!(site.unfolded(), []);
                let looks = || (8..80).step_by(3).chain([part.start, part.end - 1, part.end, part.start - 1]);
                looks().for_each(|page| assert_eq!(site.read(page), Some(word(page))));
                change(site, part.clone());
                for page in looks() {
                    assert_eq!(
                        site.read(page),
                        expected(part.contains(&page), page),
                        "{part:?}: page {page}"
                    );
                }
                check(site.mm);
                assert_eq!(site.unfolded(), unfolded(&part), "{part:?}");
            });
        }
    }
}

fn at(part: &Range<u64>) -> (u64, u64) {
    (va(part.start).raw(), (part.end - part.start) * PAGE_SIZE)
}

/// A block that is split becomes folded groups, but for the one that is cut, and with `contpte=off` plain pages.
#[test]
fn a_split_block_is_folded() {
    for contpte in [Contpte::On, Contpte::Off] {
        let machine = machine(BbmLevel::Level0, true).config(|config| config.contpte = contpte);
        with_groups(&machine, |site| {
            let folds = if contpte == Contpte::On { GROUPS } else { 0 };
            assert_eq!(site.folded_in(site.space, va(0)).len() as u64, folds.saturating_sub(1));
            assert_eq!(site.get(Counter::ContpteFold), folds.saturating_sub(1));
            assert_eq!(site.get(Counter::ContpteUnfold), 0, "nothing folds that is about to change in part");
            (0..PAGES).for_each(|page| assert_eq!(user_load(va(page)), Ok(word(page))));
        });
    }
}

/// munmap of a part unfolds the groups that it cuts, and no other.
#[test]
fn unmapped_in_part() {
    each_part(
        |site, part| site.mm.munmap(site.space, at(&part).0, at(&part).1).unwrap(),
        |inside, page| (!inside).then_some(word(page)),
        touched_by,
    );
}

/// MADV_DONTNEED of a part: zeros there.
#[test]
fn discarded_in_part() {
    each_part(
        |site, part| site.mm.madvise(site.space, at(&part).0, at(&part).1, Advice::DontNeed).unwrap(),
        |inside, page| Some(if inside { 0 } else { word(page) }),
        touched_by,
    );
}

/// A part that loses the right to write: groups that it covers stay folded. Stores fail there alone.
#[test]
fn write_protected_in_part() {
    each_part(
        |site, part| {
            site.mm.mprotect(site.space, at(&part).0, at(&part).1, MapProt::READ).unwrap();
            for page in [part.start - 1, part.start, part.end - 1, part.end] {
                assert_eq!(user_store(va(page), word(page)).is_ok(), !part.contains(&page), "page {page}");
            }
        },
        |_, page| Some(word(page)),
        cut_by,
    );
}

/// A part that loses all rights, which needs a break of what it covers; those groups stay folded.
#[test]
fn forbidden_in_part() {
    each_part(
        |site, part| site.mm.mprotect(site.space, at(&part).0, at(&part).1, MapProt::empty()).unwrap(),
        |inside, page| (!inside).then_some(word(page)),
        cut_by,
    );
}

/// Rights that go and come back leave what was cut plain, until a call covers the group.
#[test]
fn rights_come_back() {
    for machine in machines() {
        with_groups(&machine, |site| {
            let protect = |part: Range<u64>, prot| {
                site.mm.mprotect(site.space, at(&part).0, at(&part).1, prot).unwrap();
            };
            protect(20..21, MapProt::READ);
            protect(20..21, RW);
            user_store(va(20), 7).unwrap();
            assert_eq!((site.unfolded(), site.read(20)), (vec![1], Some(7)));
            protect(16..32, MapProt::READ);
            assert_eq!((site.unfolded(), site.read(20)), (vec![], Some(7)));
            assert!(user_store(va(31), 1).is_err());
            // One with a hole and one with other memory in its midst stay plain.
            site.mm.madvise(site.space, va(40).raw(), PAGE_SIZE, Advice::DontNeed).unwrap();
            let child = site.mm.fork_space(site.space).unwrap();
            user_store(va(56), 8).unwrap();
            protect(32..80, MapProt::READ);
            let folded = site.folded_in(site.space, va(0));
            assert_eq!([2, 3, 4].map(|group| folded.contains(&group)), [false, false, true]);
            assert_eq!((site.read(40), site.read(56)), (Some(0), Some(8)));
            check(site.mm);
            site.mm.destroy_space(&child);
        });
    }
}

/// Where copy-on-write gives one of the two a page of its own, its group unfolds; the other's stays. The child's table
/// is folded as the parent's is.
#[test]
fn forked_and_written() {
    for machine in machines() {
        with_groups(&machine, |site| {
            let Site { mm, env, space } = *site;
            let child = mm.fork_space(space).unwrap();
            check(mm);
            assert_eq!(site.folded_in(&child, va(0)), site.folded_in(space, va(0)));
            assert_eq!(site.unfolded(), []);
            for page in [16, 40, 63] {
                user_store(va(page), 1).unwrap();
            }
            assert_eq!((site.unfolded(), site.folded_in(&child, va(0)).len()), (vec![1, 2, 3], 31));
            run_as_user(mm, env, &child, || {
                (0..PAGES).for_each(|page| assert_eq!(user_load(va(page)), Ok(word(page)), "{page}"));
                user_store(va(100), 2).unwrap();
            });
            assert_eq!(site.folded_in(&child, va(0)).len(), 30);
            check(mm);
            mm.destroy_space(&child);
            run_as_user(mm, env, space, || {
                assert_eq!([16, 17, 100].map(|page| site.read(page)), [1, word(17), word(100)].map(Some));
                // Nobody else has them any more: they become writable one by one.
                user_store(va(200), 3).unwrap();
            });
            assert_eq!(site.unfolded(), [1, 2, 3, 12]);
            check(mm);
        });
    }
}

/// A VMA that begins or ends in a group: what fork copies of it is plain in the child, and the parent's group too, as
/// one part of it is read-only now.
#[test]
fn forked_in_part() {
    with_groups(&machine(BbmLevel::Level0, true), |site| {
        let Site { mm, space, .. } = *site;
        mm.madvise(space, va(24).raw(), 96 * PAGE_SIZE, Advice::NoHugePage).unwrap();
        assert_eq!(site.unfolded(), []);
        let child = mm.fork_space(space).unwrap();
        check(mm);
        let folded = site.folded_in(&child, va(0));
        assert!(folded.contains(&0) && !folded.contains(&1) && !folded.contains(&7), "{folded:?}");
        user_store(va(20), 1).unwrap();
        user_store(va(24), 2).unwrap();
        assert_eq!([20, 24, 119].map(|page| site.read(page)), [Some(1), Some(2), Some(word(119))]);
        check(mm);
        mm.destroy_space(&child);
    });
}

/// mremap of a part: what goes wholly to a place that is aligned alike stays folded; everything else is plain, and
/// stays so when the folio moves.
#[test]
fn moved_in_part() {
    let target = BASE + (1 << 30);
    for (part, to, folded) in [
        (16..48, target, vec![0, 1]),
        (16..48, target + PAGE_SIZE, vec![]),
        (16..48, target + 5 * 16 * PAGE_SIZE, vec![5, 6]),
        (20..48, target + 4 * PAGE_SIZE, vec![1]),
        (16..40, target, vec![0]),
        (18..19, target, vec![]),
    ] {
        for machine in machines() {
            with_groups(&machine, |site| {
                let Site { mm, space, .. } = *site;
                part.clone().for_each(|page| assert_eq!(site.read(page), Some(word(page))));
                let (from, len) = at(&part);
                let flags = RemapFlags::MAYMOVE | RemapFlags::FIXED;
                let request = MremapRequest { addr: from, old_len: len, new_len: len, flags, new_addr: to };
                mm.mremap(space, &request).unwrap();
                for (n, page) in part.clone().enumerate() {
                    assert_eq!(user_load(VirtAddr::new(to + n as u64 * PAGE_SIZE)), Ok(word(page)));
                    assert_eq!(site.read(page), None);
                }
                check(mm);
                let first = VirtAddr::new(to & !(HUGE - 1));
                assert_eq!(site.folded_in(space, first), folded, "{part:?} to {to:#x}");
                assert_eq!(site.unfolded(), touched_by(&part));
                let target = rmap::target_for(mm, site.head()).unwrap();
                assert!(rmap::migrate_folio(mm, site.head().get(), target, MoveWhat::All).is_ok());
                assert_eq!(site.folded_in(space, first), folded, "{part:?} to {to:#x}");
                check(mm);
            });
        }
    }
}

/// The access flag is the group's: one access to any page shows, asking clears it for all, and the next access through
/// any of them sets it for all.
#[test]
fn accessed_as_one() {
    for machine in machines() {
        with_groups(&machine, |site| {
            let asked = || rmap::folio_referenced(site.mm, site.head(), Exit::Never);
            assert_eq!((asked().looked_at, asked().accessed), (PAGES, 0));
            assert_eq!(user_load(va(23)), Ok(word(23)));
            let faults = site.get(Counter::PgFault);
            (16..32).for_each(|page| assert_eq!(user_load(va(page)), Ok(word(page))));
            assert_eq!(site.get(Counter::PgFault), faults, "the flag is set in all");
            assert_eq!(asked().accessed, 1);
            // Hardware that manages the flag sets it in one of them.
            let entry = site.space.ptl.lock().walk(va(31)).last();
            let used = Desc::from_raw(entry.desc.raw() | PteFlags::ACCESSED.bits());
            assert_eq!(Machine::cas_desc(entry.slot, entry.desc, used), Ok(()));
            site.mm.munmap(site.space, va(17).raw(), PAGE_SIZE).unwrap();
            // The pieces of the group were all accessed, as far as anybody knows.
            assert_eq!(asked().accessed, 15);
            assert_eq!(site.unfolded(), [1]);
            check(site.mm);
        });
    }
}

/// A folio moves to other frames: its groups are folded there as they were, in all spaces, and the plain ones become
/// folded where their 16 entries have the same rights.
#[test]
fn moved_by_the_reverse_map() {
    for machine in machines() {
        with_groups(&machine, |site| {
            let Site { mm, space, .. } = *site;
            let child = mm.fork_space(space).unwrap();
            for (page, prot) in [(20, MapProt::empty()), (40, MapProt::empty()), (40, RW)] {
                mm.mprotect(space, va(page).raw(), PAGE_SIZE, prot).unwrap();
            }
            assert_eq!(site.unfolded(), [1, 2]);
            user_store(va(80), 5).unwrap();
            let (old, unfolds) = (site.head(), site.get(Counter::ContpteUnfold));
            let target = rmap::target_for(mm, old).unwrap();
            assert!(rmap::migrate_folio(mm, old.get(), target, MoveWhat::All).is_ok());
            assert_ne!(site.head(), old);
            assert_eq!(site.unfolded(), [1, 5]);
            assert_eq!(site.folded_in(&child, va(0)).len() as u64, GROUPS - 1);
            assert_eq!(site.get(Counter::ContpteUnfold), unfolds, "groups went as they were");
            check(mm);
            let other = |page| if page == 80 { 5 } else { word(page) };
            let seen = |page| (page != 20).then(|| other(page));
            (0..PAGES).for_each(|page| assert_eq!(user_load(va(page)).ok(), seen(page)));
            mm.destroy_space(&child);
        });
    }
}

/// Everything of a folio is taken out of the tables.
#[test]
fn unmapped_by_the_reverse_map() {
    for machine in machines() {
        with_groups(&machine, |site| {
            let Site { mm, space, .. } = *site;
            let child = mm.fork_space(space).unwrap();
            let head = site.head();
            let held = head.try_get().unwrap();
            rmap::unmap_folio(mm, head);
            mm.put_folio(held);
            check(mm);
            assert_eq!([0, 16, 300].map(|page| site.read(page)), [Some(0); 3]);
            mm.destroy_space(&child);
        });
    }
}

/// What calls on a group and on its first page cost, in stores to descriptors, TLBI operations and barriers after them:
/// the table of `docs/contpte.md`.
#[test]
fn what_it_costs() {
    let costs = |contpte, call: &dyn Fn(&Site<'_>)| {
        let machine = machine(BbmLevel::Level2, true).config(|config| config.contpte = contpte);
        let cost = std::cell::Cell::new([0; 3]);
        with_groups(&machine, |site| {
            let counters = [Counter::PteStore, Counter::TlbiVa, Counter::DsbIsh];
            let before = counters.map(|counter| site.get(counter));
            call(site);
            let after = counters.map(|counter| site.get(counter));
            cost.set(core::array::from_fn(|n| after[n] - before[n]));
        });
        cost.get()
    };
    let both = |call: &dyn Fn(&Site<'_>)| [Contpte::On, Contpte::Off].map(|contpte| costs(contpte, call));
    let protect = |part: Range<u64>, prot| {
        move |site: &Site<'_>| site.mm.mprotect(site.space, at(&part).0, at(&part).1, prot).unwrap()
    };
    assert_eq!(both(&protect(16..32, MapProt::READ)), [[16, 1, 1], [16, 1, 1]]);
    assert_eq!(both(&protect(16..32, MapProt::empty())), [[32, 1, 1], [16, 1, 1]]);
    assert_eq!(both(&protect(16..17, MapProt::READ)), [[32, 1, 1], [1, 1, 1]]);
    let unmap = |site: &Site<'_>| site.mm.munmap(site.space, va(16).raw(), PAGE_SIZE).unwrap();
    assert_eq!(both(&unmap), [[33, 2, 2], [1, 1, 1]]);
}
