//! fork and copy-on-write on the model.

use arch::model::{user_load, user_store};
use arch::{PageSize, VirtAddr};

use crate::Mm;
use crate::config::ThpMode;
use crate::kalloc::KArc;
use crate::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use crate::stats::Counter;
use crate::testkit::{self, Builder, HostEnv, check, run_as_user};

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
        put(mm, parent, 0, 1);
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
