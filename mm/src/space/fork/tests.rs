//! fork and copy-on-write on the model.

use std::cell::RefCell;

use arch::model::{user_load, user_store};
use arch::{PageSize, VirtAddr};

use super::ForkError;
use crate::Mm;
use crate::config::{HvoStrategy, Mapcount, ThpMode};
use crate::fault::{FaultReason, Signal};
use crate::hugetlb::HugeSize;
use crate::kalloc::KArc;
use crate::kalloc::inject::Failing;
use crate::page::{MOST_REFERENCES, PageRef};
use crate::pgtable::normal_folio;
use crate::space::{AddressSpace, Errno, MapFlags, MapProt, MmapRequest, MremapRequest, RemapFlags};
use crate::stats::Counter;
use crate::testkit::{self, Builder, HostEnv, check, exhaust, run_as_user};
use crate::thp::promote::{PromoteError, promote_range};
use crate::thp::promoter;

const BASE: u64 = 0x4000_0000;
const PAGE: u64 = 4096;

fn machine(thp: ThpMode) -> Builder {
    Builder::new().ram_mib(64).config(move |config| config.thp = thp)
}

fn map(mm: &Mm, space: &KArc<AddressSpace>, addr: u64, pages: u64) {
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    let prot = MapProt::READ | MapProt::WRITE;
    mm.mmap(space, &MmapRequest { addr, len: pages * PAGE, prot, flags, offset: 0 }).unwrap();
}

fn put(mm: &Mm, space: &KArc<AddressSpace>, page: u64, value: u8) {
    mm.write_user(space, VirtAddr::new(BASE + page * PAGE), &[value]).unwrap();
}

fn get(mm: &Mm, space: &KArc<AddressSpace>, page: u64) -> u8 {
    let mut byte = [0];
    mm.read_user(space, VirtAddr::new(BASE + page * PAGE), &mut byte).unwrap();
    byte[0]
}

/// Boots, makes a space with `pages` at [`BASE`], and looks that all pages are back when all is over.
fn with_parent(thp: ThpMode, pages: u64, f: impl FnOnce(&Mm, &'static HostEnv, &KArc<AddressSpace>)) {
    testkit::with_space(&machine(thp), |mm, env, space| {
        map(mm, space, BASE, pages);
        f(mm, env, space);
        assert_eq!(mm.lineages.count(), 1, "nodes of spaces that have ended");
    });
}

/// Each side sees what was there, and from then on only what it writes itself; whoever writes first has the copy.
#[test]
fn both_sides_keep_their_own() {
    with_parent(ThpMode::Never, 700, |mm, env, parent| {
        (0..700).step_by(7).for_each(|n| put(mm, parent, n, n as u8));
        get(mm, parent, 1);
        let child = mm.fork_space(parent).unwrap();
        check(mm);
        put(mm, parent, 7, 100);
        put(mm, &child, 14, 200);
        put(mm, &child, 1, 3);
        check(mm);
        for n in (0..700).step_by(7) {
            assert_eq!(get(mm, parent, n), if n == 7 { 100 } else { n as u8 });
            assert_eq!(get(mm, &child, n), if n == 14 { 200 } else { n as u8 });
        }
        assert_eq!((get(mm, parent, 1), get(mm, &child, 1)), (0, 3));
        assert_eq!(mm.stats.get(Counter::CowCopy), 2);
        mm.destroy_space(&child);
        check(mm);
        // What the child mapped too is the parent's alone now: nothing is copied.
        run_as_user(mm, env, parent, || {
            (0..700).step_by(7).for_each(|n| user_store(VirtAddr::new(BASE + n * PAGE), 9).unwrap());
            (0..700).step_by(7).for_each(|n| assert_eq!(user_load(VirtAddr::new(BASE + n * PAGE)), Ok(9)));
        });
        assert_eq!(mm.stats.get(Counter::CowCopy), 2);
    });
}

/// A block is shared as a block; a write to it copies one page, and the other side keeps its block.
#[test]
fn a_block_is_split_where_it_is_written() {
    with_parent(ThpMode::Always, 1024, |mm, _, parent| {
        put(mm, parent, 0, 1);
        put(mm, parent, 600, 2);
        let before = mm.free_page_count();
        let child = mm.fork_space(parent).unwrap();
        check(mm);
        assert_eq!(mm.usage(&child).anon_huge, 1024);
        put(mm, &child, 5, 3);
        check(mm);
        assert_eq!((get(mm, parent, 5), get(mm, &child, 5), get(mm, &child, 0)), (0, 3, 1));
        assert_eq!((mm.usage(parent).anon_huge, mm.usage(&child).anon_huge), (1024, 512));
        // Root, two tables on the way, the table of pages, and the copy; the second block is shared still.
        assert_eq!(before - mm.free_page_count(), 5);
        mm.destroy_space(&child);
        put(mm, parent, 0, 4);
        put(mm, parent, 600, 5);
        assert_eq!(mm.usage(parent).anon_huge, 1024, "reused as blocks");
        assert_eq!(mm.stats.get(Counter::CowCopy), 1);
    });
}

/// Reservations stay with the parent: it goes on to populate them; the child, which has pages there, takes single ones.
#[test]
fn reservations_stay_with_the_parent() {
    with_parent(ThpMode::Reserve, 512, |mm, _, parent| {
        (0..8).for_each(|n| put(mm, parent, n, n as u8 + 1));
        let child = mm.fork_space(parent).unwrap();
        check(mm);
        let reserved = mm.stats.get(Counter::NrThpReserved);
        put(mm, &child, 100, 50);
        assert_eq!(mm.stats.get(Counter::NrThpReserved), reserved);
        put(mm, parent, 101, 51);
        assert_eq!(mm.stats.get(Counter::NrThpReserved), reserved - 1);
        put(mm, parent, 0, 60);
        put(mm, &child, 1, 61);
        check(mm);
        assert_eq!((get(mm, parent, 0), get(mm, &child, 0)), (60, 1));
        assert_eq!((get(mm, parent, 1), get(mm, &child, 1)), (2, 61));
        mm.destroy_space(&child);
        check(mm);
        put(mm, parent, 2, 62);
        assert_eq!(mm.stats.get(Counter::CowCopy), 2);
    });
}

/// A reservation outlives a fork: while the child has pages of the block nothing is promoted and nothing given up; when
/// it has ended the promotion brings back what the parent has copied meanwhile.
#[test]
fn a_reservation_outlives_a_fork() {
    with_parent(ThpMode::Reserve, 512, |mm, _, parent| {
        (0..400).for_each(|n| put(mm, parent, n, n as u8));
        let child = mm.fork_space(parent).unwrap();
        (0..60).for_each(|n| put(mm, parent, n, 7));
        put(mm, parent, 450, 8);
        promoter::drain(mm);
        check(mm);
        assert_eq!((mm.usage(parent).anon_huge, mm.stats.get(Counter::ThpResBroken)), (0, 0));
        assert_eq!(
            promote_range(mm, parent, VirtAddr::new(BASE)),
            Err(PromoteError::Shared(VirtAddr::new(BASE)))
        );
        assert_eq!(get(mm, &child, 59), 59);
        mm.destroy_space(&child);
        let free = mm.free_page_count();
        assert_eq!(promoter::drain(mm), 1);
        put(mm, parent, 100, 9);
        check(mm);
        assert_eq!((mm.usage(parent).anon_huge, mm.stats.get(Counter::ResPagesBroughtBack)), (512, 60));
        assert!(mm.free_page_count() > free + 60, "the strays and the table are back");
        let expected = |n: u64| match n {
            0..60 => 7,
            100 => 9,
            450 => 8,
            400.. => 0,
            _ => n as u8,
        };
        (0..512).for_each(|n| assert_eq!(get(mm, parent, n), expected(n), "page {n}"));
    });
}

/// Spaces of a chain end in any order, and every page is back; what a space that is gone had left stays readable.
#[test]
fn chains_end_in_any_order() {
    for reverse in [false, true] {
        with_parent(ThpMode::Never, 16, |mm, _, parent| {
            put(mm, parent, 0, 1);
            let mut chain = vec![parent.clone()];
            for n in 1..40u8 {
                let child = mm.fork_space(&chain[chain.len() - 1]).unwrap();
                put(mm, &child, u64::from(n % 16), n + 1);
                chain.push(child);
            }
            check(mm);
            assert_eq!(mm.lineages.count(), 40);
            let youngest = chain.pop().unwrap();
            if reverse {
                chain.reverse();
            }
            for space in chain.iter().filter(|space| space.id != parent.id) {
                mm.destroy_space(space);
            }
            check(mm);
            assert_eq!(get(mm, &youngest, 7), 40);
            assert_eq!(get(mm, &youngest, 6), 39);
            assert_eq!(mm.lineages.count(), 40, "all stay for the sake of the youngest");
            mm.destroy_space(&youngest);
        });
    }
}

/// mprotect of shared pages gives no right to write to them; of pages that are the space's alone it does.
#[test]
fn mprotect_grants_no_write_to_shared_pages() {
    with_parent(ThpMode::Never, 4, |mm, _, parent| {
        (0..4).for_each(|n| put(mm, parent, n, 1));
        let child = mm.fork_space(parent).unwrap();
        let read = MapProt::READ;
        mm.mprotect(parent, BASE, 4 * PAGE, read).unwrap();
        mm.mprotect(parent, BASE, 4 * PAGE, read | MapProt::WRITE).unwrap();
        check(mm);
        put(mm, parent, 0, 2);
        assert_eq!((get(mm, parent, 0), get(mm, &child, 0)), (2, 1));
        mm.mprotect(parent, BASE, 4 * PAGE, read).unwrap();
        let faults = mm.stats.get(Counter::PgFault);
        mm.mprotect(parent, BASE, 4 * PAGE, read | MapProt::WRITE).unwrap();
        put(mm, parent, 0, 3);
        assert_eq!(mm.stats.get(Counter::PgFault), faults, "an exclusive page is writable at once");
        for n in 1..4 {
            put(mm, parent, n, 4);
            assert_eq!(get(mm, &child, n), 1, "a shared page that follows it is not");
        }
        mm.destroy_space(&child);
    });
}

/// VMAs are the same, even where several share a table, and the heap goes on.
#[test]
fn many_vmas_in_one_table() {
    with_parent(ThpMode::Never, 1, |mm, _, parent| {
        for n in 0..100 {
            map(mm, parent, BASE + PageSize::Size2M.bytes() + n * 2 * PAGE, 1);
            put(mm, parent, 512 + 2 * n, n as u8);
        }
        let child = mm.fork_space(parent).unwrap();
        check(mm);
        assert_eq!(child.vma_count(), parent.vma_count());
        (0..100).for_each(|n| assert_eq!(get(mm, &child, 512 + 2 * n), n as u8));
        mm.destroy_space(&child);
    });
}

/// A hugetlb folio that is referred to as often as can be counted is not copied: that takes one reference more.
#[test]
fn a_full_hugetlb_folio_is_not_copied() {
    let bytes = PageSize::Size2M.bytes();
    machine(ThpMode::Never).boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 2).persistent, 2);
        let parent = mm.new_space().unwrap();
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED | MapFlags::HUGETLB;
        let prot = MapProt::READ | MapProt::WRITE;
        mm.mmap(&parent, &MmapRequest { addr: BASE, len: bytes, prot, flags, offset: 0 }).unwrap();
        put(mm, &parent, 0, 1);
        let child = mm.fork_space(&parent).unwrap();
        let (head, free) = (folio_at(mm, &parent, 0), mm.hugetlb.counts(HugeSize::M2).free);
        let references = head.refcount();
        head.set_refcount(MOST_REFERENCES);
        let error = mm.write_user(&child, VirtAddr::new(BASE), &[2]).unwrap_err();
        assert_eq!(error.reason, FaultReason::TooManyReferences(head.pfn()));
        assert_eq!((head.refcount(), mm.hugetlb.counts(HugeSize::M2).free), (MOST_REFERENCES, free));
        head.set_refcount(references);
        put(mm, &child, 0, 2);
        assert_eq!((get(mm, &parent, 0), get(mm, &child, 0)), (1, 2));
        [parent, child].iter().for_each(|space| mm.destroy_space(space));
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// hugetlb folios are shared and copied from what the pool has to spare; what it has promised stays the parent's.
#[test]
fn hugetlb_copies_come_from_what_is_not_promised() {
    let bytes = PageSize::Size2M.bytes();
    machine(ThpMode::Never).boot(|mm, _| {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 4).persistent, 4);
        let parent = mm.new_space().unwrap();
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED | MapFlags::HUGETLB;
        let prot = MapProt::READ | MapProt::WRITE;
        mm.mmap(&parent, &MmapRequest { addr: BASE, len: 3 * bytes, prot, flags, offset: 0 }).unwrap();
        put(mm, &parent, 0, 1);
        put(mm, &parent, 512, 2);
        let child = mm.fork_space(&parent).unwrap();
        check(mm);
        assert_eq!((mm.hugetlb.counts(HugeSize::M2).free, mm.hugetlb.counts(HugeSize::M2).reserved), (2, 1));
        put(mm, &child, 0, 9);
        assert_eq!((get(mm, &parent, 0), get(mm, &child, 0)), (1, 9));
        assert_eq!((mm.hugetlb.counts(HugeSize::M2).free, mm.hugetlb.counts(HugeSize::M2).reserved), (1, 1));
        for (space, page) in [(&parent, 512), (&child, 512), (&child, 1024)] {
            let error = mm.write_user(space, VirtAddr::new(BASE + page * PAGE), &[1]).unwrap_err();
            assert_eq!(error.signal(), Signal::Bus, "nothing is to spare");
        }
        put(mm, &parent, 0, 3);
        put(mm, &parent, 1024, 4);
        assert_eq!(mm.stats.get(Counter::CowCopy), 1);
        check(mm);
        mm.destroy_space(&parent);
        put(mm, &child, 512, 5);
        assert_eq!((get(mm, &child, 512), get(mm, &child, 513)), (5, 0));
        assert_eq!(mm.stats.get(Counter::CowCopy), 1, "the child is alone with it");
        check(mm);
        mm.destroy_space(&child);
        assert_eq!((mm.hugetlb.counts(HugeSize::M2).free, mm.hugetlb.counts(HugeSize::M2).reserved), (4, 0));
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}

/// The page or folio that a space maps at a page of the range.
fn folio_at(mm: &Mm, space: &AddressSpace, page: u64) -> PageRef {
    let leaf = space.ptl.lock().walk(VirtAddr::new(BASE + page * PAGE)).leaf().unwrap();
    normal_folio(mm, leaf.desc, leaf.level).unwrap()
}

/// A pinned page stays the parent's, writable; the child has a copy from the start, of single pages also of a block.
#[test]
fn pinned_pages_are_copied_at_once() {
    for (thp, copies) in [(ThpMode::Never, 1), (ThpMode::Always, 512)] {
        with_parent(thp, 512, |mm, env, parent| {
            put(mm, parent, 3, 7);
            put(mm, parent, 4, 8);
            let page = folio_at(mm, parent, 3);
            let pin = page.get();
            page.set_pincount(1);
            let (free, anon) = (mm.free_page_count(), mm.stats.get(Counter::NrAnon));
            let child = mm.fork_space(parent).unwrap();
            assert_eq!(mm.stats.get(Counter::NrAnon) - anon, if copies == 1 { 2 } else { 512 });
            assert!(free - mm.free_page_count() >= copies);
            let faults = mm.stats.get(Counter::PgFault);
            run_as_user(mm, env, parent, || user_store(VirtAddr::new(BASE + 3 * PAGE), 70).unwrap());
            assert_eq!(mm.stats.get(Counter::PgFault), faults, "the pinned page is writable all along");
            assert_eq!(folio_at(mm, parent, 3), page);
            assert_eq!((get(mm, &child, 3), get(mm, &child, 4)), (7, 8));
            page.set_pincount(0);
            mm.put_folio(pin);
            check(mm);
            mm.destroy_space(&child);
        });
    }
}

/// A pinned page that has lost the right to write, by mprotect, gets it back without being copied.
#[test]
fn a_pinned_page_is_reused() {
    with_parent(ThpMode::Never, 1, |mm, _, parent| {
        put(mm, parent, 0, 7);
        let page = folio_at(mm, parent, 0);
        let pin = page.get();
        page.set_pincount(1);
        mm.mprotect(parent, BASE, PAGE, MapProt::READ).unwrap();
        mm.mprotect(parent, BASE, PAGE, MapProt::READ | MapProt::WRITE).unwrap();
        put(mm, parent, 0, 8);
        assert_eq!(folio_at(mm, parent, 0), page);
        page.set_pincount(0);
        mm.put_folio(pin);
    });
}

/// A reference that nobody can explain makes a page shared: it is copied, not reused.
#[test]
fn a_page_that_somebody_holds_is_copied() {
    with_parent(ThpMode::Never, 1, |mm, _, parent| {
        put(mm, parent, 0, 7);
        mm.destroy_space(&mm.fork_space(parent).unwrap());
        let page = folio_at(mm, parent, 0);
        let held = page.get();
        put(mm, parent, 0, 8);
        assert_ne!(folio_at(mm, parent, 0), page);
        mm.put_folio(held);
    });
}

/// 2^31 references to a folio of 512 pages that are mapped one by one: 2^22 spaces may share it, and the next fork
/// fails, with nothing lost. (Begun near the end.)
#[test]
fn fork_refuses_before_a_count_wraps() {
    const SPACES: u32 = 1 << 22;
    with_parent(ThpMode::Always, 512, |mm, _, parent| {
        put(mm, parent, 0, 1);
        // A change of rights in the middle makes pages of the block.
        mm.mprotect(parent, BASE + 4 * PAGE, PAGE, MapProt::READ).unwrap();
        let head = folio_at(mm, parent, 0);
        assert_eq!(head.refcount(), 512);
        let others = (SPACES - 2) * 512;
        head.get_many(others);
        let last = mm.fork_space(parent).unwrap();
        assert_eq!(head.refcount(), MOST_REFERENCES);
        let (free, nodes) = (mm.free_page_count(), mm.lineages.count());
        for space in [parent, &last] {
            let error = mm.fork_space(space).err().unwrap();
            assert_eq!(error, ForkError::TooManyMappings(head.pfn()));
            assert_eq!(error.errno(), Errno::NoMem);
            assert!(error.to_string().contains("close to overflow"));
        }
        assert_eq!(
            (head.refcount(), mm.free_page_count(), mm.lineages.count()),
            (MOST_REFERENCES, free, nodes)
        );
        let error = mm.write_user(&last, VirtAddr::new(BASE), &[1]).unwrap_err();
        assert_eq!(error.reason, FaultReason::TooManyReferences(head.pfn()));
        assert_eq!(error.signal(), Signal::Bus);
        head.set_refcount(head.refcount() - others);
        check(mm);
        put(mm, &last, 0, 2);
        assert_eq!((get(mm, parent, 0), get(mm, &last, 0)), (1, 2));
        mm.destroy_space(&last);
    });
}

/// A gigantic page that is mapped by 2^18 entries at a time may be mapped 8192 times; a block is not split where its
/// pieces would be too many.
#[test]
fn counts_end_where_the_arithmetic_says() {
    with_parent(ThpMode::Always, 512, |mm, _, parent| {
        put(mm, parent, 0, 1);
        let head = folio_at(mm, parent, 0);
        let mappings = (0..).take_while(|_| head.try_get_many(1 << 18)).count();
        assert_eq!(mappings, 8192);
        let error = mm.mprotect(parent, BASE, PAGE, MapProt::READ).unwrap_err();
        assert_eq!(error.errno(), Errno::NoMem);
        head.set_refcount(1);
        let child = mm.fork_space(parent).unwrap();
        head.get_many(MOST_REFERENCES);
        let error = mm.write_user(&child, VirtAddr::new(BASE), &[1]).unwrap_err();
        assert_eq!(error.signal(), Signal::Bus, "the block cannot be split");
        head.set_refcount(2);
        mm.destroy_space(&child);
    });
}

/// A parent and its children.
type Family = (KArc<AddressSpace>, RefCell<Vec<KArc<AddressSpace>>>);

/// Memory may run out at each allocation of fork and of the writes after it: nothing is lost, the parent has what it
/// had.
#[test]
fn each_allocation_may_fail() {
    for (thp, least) in [(ThpMode::Never, 9), (ThpMode::Always, 8), (ThpMode::Reserve, 9)] {
        for failing in [Failing::Once, Failing::Onwards] {
            let setup = |mm: &Mm| -> Family {
                let parent = mm.new_space().unwrap();
                map(mm, &parent, BASE, 1024);
                map(mm, &parent, BASE + (1 << 31), 3);
                get(mm, &parent, 1);
                for n in [0, 1, 600, 1 << 19] {
                    put(mm, &parent, n, 5);
                }
                (parent, RefCell::default())
            };
            let run = |mm: &Mm, (parent, children): &Family| {
                let child = mm.fork_space(parent).map_err(|error| error.to_string())?;
                children.borrow_mut().push(child.clone());
                for (space, page) in [(&child, 0), (parent, 1), (parent, 600), (&child, 1 << 19)] {
                    let va = VirtAddr::new(BASE + page * PAGE);
                    mm.write_user(space, va, &[6]).map_err(|error| error.to_string())?;
                }
                Ok::<_, String>(())
            };
            let undo = |mm: &Mm, (parent, children): Family| {
                assert!([5, 6].contains(&get(mm, &parent, 600)));
                children.into_inner().iter().for_each(|child| mm.destroy_space(child));
                put(mm, &parent, 0, 7);
                mm.destroy_space(&parent);
            };
            let failures = exhaust(&machine(thp), failing, setup, run, undo);
            assert!(failures >= least, "{thp:?}: only {failures} allocations were failed");
        }
    }
}

/// Blocks and pieces of blocks are shared, split and copied under every way of counting, in VMAs that share a table;
/// counts agree with the tables all along, and who is alone at last writes without a copy where the scheme can tell.
#[test]
fn every_way_of_counting() {
    for &mapcount in Mapcount::ALL {
        let machine = Builder::new().ram_mib(64).config(|config| {
            (config.mapcount, config.thp) = (mapcount, ThpMode::Always);
            config.hvo = HvoStrategy::Off;
        });
        testkit::with_space(&machine, |mm, _, parent| {
            println!("{mapcount:?}");
            map(mm, parent, BASE, 1024);
            put(mm, parent, 0, 1);
            put(mm, parent, 600, 2);
            let first = mm.fork_space(parent).unwrap();
            check(mm);
            mm.mprotect(parent, BASE + 8 * PAGE, 8 * PAGE, MapProt::READ).unwrap();
            check(mm);
            let second = mm.fork_space(parent).unwrap();
            check(mm);
            put(mm, &first, 20, 3);
            put(mm, &second, 20, 4);
            put(mm, parent, 20, 5);
            check(mm);
            mm.munmap(&second, BASE + 100 * PAGE, 200 * PAGE).unwrap();
            check(mm);
            assert_eq!([parent, &first, &second].map(|space| get(mm, space, 20)), [5, 3, 4]);
            mm.destroy_space(&first);
            check(mm);
            put(mm, parent, 21, 6);
            put(mm, &second, 600, 7);
            assert_eq!([parent, &second].map(|space| get(mm, space, 21)), [6, 0]);
            assert_eq!([parent, &second].map(|space| get(mm, space, 600)), [2, 7]);
            check(mm);
            mm.destroy_space(&second);
            check(mm);
            (0..1024).filter(|n| !(8..16).contains(n)).for_each(|n| put(mm, parent, n, n as u8));
            check(mm);
            (0..1024).filter(|n| !(8..16).contains(n)).for_each(|n| assert_eq!(get(mm, parent, n), n as u8));
        });
    }
}

/// A row of blocks, with holes, that is longer than one step: the child has them all, and of none the parent may go on
/// to write to what the child sees.
#[test]
fn a_long_row_of_blocks() {
    const BLOCKS: u64 = 45;
    let machine = Builder::new().ram_mib(192).config(|config| config.thp = ThpMode::Always);
    let filled = |n: &u64| !n.is_multiple_of(7);
    testkit::with_space(&machine, |mm, env, parent| {
        map(mm, parent, BASE, 512 * BLOCKS);
        (0..BLOCKS).filter(filled).for_each(|n| put(mm, parent, 512 * n, n as u8));
        let child = mm.fork_space(parent).unwrap();
        check(mm);
        let blocks = (0..BLOCKS).filter(filled).count() as u64;
        assert_eq!(mm.usage(&child).anon_huge, 512 * blocks);
        run_as_user(mm, env, parent, || {
            let page = |n: u64| VirtAddr::new(BASE + 512 * n * PAGE);
            (0..BLOCKS).filter(filled).for_each(|n| user_store(page(n), 99).unwrap());
        });
        (0..BLOCKS).for_each(|n| {
            assert_eq!(get(mm, &child, 512 * n), if filled(&n) { n as u8 } else { 0 });
        });
        mm.destroy_space(&child);
    });
}

/// Entries in a row map a folio to its end and the next folio from its beginning, frame after frame: each folio has its
/// own counts.
#[test]
fn a_run_ends_with_its_folio() {
    const TO: u64 = BASE + (64 << 20) + 16 * PAGE;
    with_parent(ThpMode::Always, 1024, |mm, _, parent| {
        put(mm, parent, 0, 1);
        put(mm, parent, 512, 2);
        let mut folios = [0, 512].map(|page| (folio_at(mm, parent, page), page));
        folios.sort();
        assert_eq!(folios[0].0.nth(512), folios[1].0, "neighbours");
        for (place, (_, page)) in folios.into_iter().enumerate() {
            let flags = RemapFlags::MAYMOVE | RemapFlags::FIXED;
            let (addr, new_addr) = (BASE + page * PAGE, TO + place as u64 * 512 * PAGE);
            let request = MremapRequest { addr, old_len: 512 * PAGE, new_len: 512 * PAGE, flags, new_addr };
            mm.mremap(parent, &request).unwrap();
        }
        let child = mm.fork_space(parent).unwrap();
        check(mm);
        assert_eq!(folios.map(|(head, _)| head.refcount()), [1024; 2]);
        mm.destroy_space(&child);
        check(mm);
        assert_eq!(folios.map(|(head, _)| head.refcount()), [512; 2]);
    });
}

/// A chain as deep as a stack is not: its spaces end from either end.
#[test]
fn deep_chains() {
    for reverse in [false, true] {
        let machine = Builder::new().ram_mib(256).config(|config| config.thp = ThpMode::Never);
        machine.boot(|mm, _| {
            let mut chain = vec![mm.new_space().unwrap()];
            map(mm, &chain[0], BASE, 1);
            put(mm, &chain[0], 0, 9);
            for n in 0..DEPTH {
                chain.push(mm.fork_space(&chain[n]).unwrap());
            }
            assert_eq!(folio_at(mm, &chain[DEPTH], 0).refcount() as usize, DEPTH + 1);
            if reverse {
                chain.reverse();
            }
            chain.iter().for_each(|space| mm.destroy_space(space));
            assert_eq!(mm.lineages.count(), 0);
        });
    }
}

/// Spaces of a deep chain.
const DEPTH: usize = 10_000;
