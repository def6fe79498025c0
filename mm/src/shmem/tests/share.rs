//! What several spaces see of one object, and who is counted.

use core::ops::ControlFlow;

use super::*;
use crate::hugetlb::HugeSize;
use crate::hvo::Switch;
use crate::page::PageKind;
use crate::space::{Advice, MapProt};
use crate::testkit::{run_as_user, with_space};

/// Two spaces that map one object, at other offsets, see each other's writes; each entry is a reference and a mapping.
#[test]
fn writes_are_seen_by_all() {
    with_spaces(|mm, [a, b]| {
        let object = mm.new_object(16 * PAGE_SIZE).unwrap();
        map(mm, a, &object, 16, 0, MapFlags::SHARED);
        map(mm, b, &object, 8, 8, MapFlags::SHARED);
        write(mm, a, at(9), 0x1234).unwrap();
        assert_eq!(read(mm, b, at(1)), Ok(0x1234));
        write(mm, b, at(1), 0x5678).unwrap();
        assert_eq!(read(mm, a, at(9)), Ok(0x5678));
        let page = object.page(9).unwrap();
        assert_eq!((page.kind(), page.refcount(), page.raw_mapcount()), (PageKind::Shmem, 3, 2));
        assert_eq!((page.mapping(), page.index()), (object.id.mapping(), 9));
        assert_eq!((object.pages(), object.spaces()), (1, 2));
        mm.close_object(object);
    });
}

/// A page that one space has read, another has written: it was one page from the first access on.
#[test]
fn reading_makes_the_page() {
    with_spaces(|mm, [a, b]| {
        let object = mm.new_object(PAGE_SIZE).unwrap();
        [a, b].into_iter().for_each(|space| map(mm, space, &object, 1, 0, MapFlags::SHARED));
        assert_eq!(read(mm, a, at(0)), Ok(0));
        write(mm, b, at(0), 7).unwrap();
        assert_eq!(read(mm, a, at(0)), Ok(7));
        mm.close_object(object);
    });
}

/// MAP_SHARED | MAP_ANONYMOUS makes an object that lives as long as the mapping.
#[test]
fn shared_anonymous_memory_is_an_object() {
    with_spaces(|mm, [a]| {
        let va = mm.mmap(a, &request(4, MapFlags::SHARED | MapFlags::ANONYMOUS)).unwrap();
        write(mm, a, va, 1).unwrap();
        assert_eq!(mm.objects.len(), 1);
        assert_eq!(a.vma_at(va).unwrap().pgoff, 0);
        mm.munmap(a, va.raw(), 3 * PAGE_SIZE).unwrap();
        assert_eq!(mm.objects.len(), 1, "a page is still mapped");
        mm.munmap(a, va.raw() + 3 * PAGE_SIZE, PAGE_SIZE).unwrap();
        assert!(mm.objects.is_empty());
    });
}

/// munmap and MADV_DONTNEED take entries, not pages: what was written is there when it is mapped again.
#[test]
fn pages_outlive_their_entries() {
    with_spaces(|mm, [a]| {
        let object = mm.new_object(4 * PAGE_SIZE).unwrap();
        map(mm, a, &object, 4, 0, MapFlags::SHARED);
        write(mm, a, at(2), 0xabc).unwrap();
        mm.madvise(a, BASE.raw(), 4 * PAGE_SIZE, Advice::DontNeed).unwrap();
        assert_eq!(object.page(2).unwrap().refcount(), 1, "the object's own");
        assert_eq!(read(mm, a, at(2)), Ok(0xabc));
        mm.munmap(a, BASE.raw(), 4 * PAGE_SIZE).unwrap();
        assert_eq!(object.spaces(), 0);
        map(mm, a, &object, 4, 0, MapFlags::SHARED);
        assert_eq!(read(mm, a, at(2)), Ok(0xabc));
        mm.close_object(object);
    });
}

/// Neighbouring VMAs of one object are one where the index goes on, and two where it does not.
#[test]
fn neighbours_merge_where_the_index_goes_on() {
    with_spaces(|mm, [a]| {
        let object = mm.new_object(4 * PAGE_SIZE).unwrap();
        let piece = |page: u64, first: u64| {
            let request = MmapRequest { offset: first * PAGE_SIZE, ..request(1, MapFlags::SHARED) };
            mm.mmap_object(a, &request.fixed(at(page).raw()), &object).unwrap();
        };
        piece(0, 0);
        piece(1, 1);
        assert_eq!(a.vma_count(), 1);
        piece(2, 0);
        assert_eq!(a.vma_count(), 2);
        write(mm, a, at(2), 3).unwrap();
        assert_eq!(read(mm, a, at(0)), Ok(3), "one page, twice in one space");
        check(mm);
        mm.close_object(object);
    });
}

/// Rights of a shared VMA come and go by mprotect, seen through the TLB.
#[test]
fn rights_come_and_go() {
    with_space(&Builder::new().ram_mib(32), |mm, env, space| {
        let va = mm.mmap(space, &request(1, MapFlags::SHARED | MapFlags::ANONYMOUS)).unwrap();
        run_as_user(mm, env, space, || {
            arch::model::user_store(va, 5).unwrap();
            mm.mprotect(space, va.raw(), PAGE_SIZE, MapProt::READ).unwrap();
            assert!(arch::model::user_store(va, 6).is_err());
            assert_eq!(arch::model::user_load(va), Ok(5));
            mm.mprotect(space, va.raw(), PAGE_SIZE, RW).unwrap();
            arch::model::user_store(va, 7).unwrap();
            assert_eq!(arch::model::user_load(va), Ok(7));
        });
    });
}

/// The reverse map finds every address that has a page of these indices, and no other.
#[test]
fn mappers_are_found() {
    with_spaces(|mm, [a, b, _]| {
        let object = mm.new_object(8 * PAGE_SIZE).unwrap();
        map(mm, a, &object, 8, 0, MapFlags::SHARED);
        map(mm, b, &object, 4, 4, MapFlags::PRIVATE);
        let mut found = Vec::new();
        let all = object.visit_mappers(3..6, |space, _, va| -> ControlFlow<()> {
            found.push((space.id, va));
            ControlFlow::Continue(())
        });
        assert!(all.is_continue());
        assert_eq!(found, [(a.id, at(3)), (a.id, at(4)), (a.id, at(5)), (b.id, at(0)), (b.id, at(1))]);
        let first = object.visit_mappers(4..5, |space, _, _| ControlFlow::Break(space.id));
        assert_eq!(first, ControlFlow::Break(a.id));
        mm.close_object(object);
    });
}

/// What mmap of an object refuses, as Linux numbers it.
#[test]
fn what_cannot_be_mapped() {
    use crate::space::Errno;
    with_spaces(|mm, [a]| {
        let object = mm.new_object(PAGE_SIZE).unwrap();
        let refused = |request: MmapRequest| mm.mmap_object(a, &request, &object).unwrap_err().errno();
        let shared = request(1, MapFlags::SHARED);
        assert_eq!(refused(MmapRequest { offset: 1, ..shared }), Errno::Inval);
        assert_eq!(refused(MmapRequest { offset: i64::MAX as u64 & !0xfff, ..shared }), Errno::Overflow);
        assert_eq!(refused(MmapRequest { flags: MapFlags::FIXED, ..shared }), Errno::Inval);
        assert_eq!(refused(shared.with(MapFlags::HUGETLB)), Errno::Inval);
        let unknown = MapFlags::from_bits_retain(3 | 0x0080_0000);
        assert_eq!(refused(MmapRequest { flags: unknown, ..shared }), Errno::OpNotSupp);
        assert_eq!((a.vma_count(), object.spaces()), (0, 0));
        mm.close_object(object);
    });
}

/// A child of fork shares what its parent shares: no entry is copied, and what either writes the other sees.
#[test]
fn fork_shares_objects() {
    with_spaces(|mm, [a]| {
        let va = mm.mmap(a, &request(4, MapFlags::SHARED | MapFlags::ANONYMOUS)).unwrap();
        write(mm, a, va, 1).unwrap();
        let child = mm.fork_space(a).unwrap();
        check(mm);
        assert_eq!(child.ptl.lock().walk(va).leaf(), None, "the child's faults find the page");
        assert_eq!(read(mm, &child, va), Ok(1));
        write(mm, &child, va, 2).unwrap();
        write(mm, &child, va.add(PAGE_SIZE), 3).unwrap();
        assert_eq!((read(mm, a, va), read(mm, a, va.add(PAGE_SIZE))), (Ok(2), Ok(3)));
        check(mm);
        mm.munmap(a, va.raw(), 4 * PAGE_SIZE).unwrap();
        assert_eq!(mm.objects.len(), 1, "the child still maps it");
        assert_eq!(read(mm, &child, va), Ok(2));
        mm.destroy_space(&child);
        assert!(mm.objects.is_empty());
    });
}

/// mremap moves, grows and shrinks a shared mapping: pages keep their index, the space its share, and what is shared
/// can be mapped once more.
#[test]
fn mremap_keeps_the_index() {
    use crate::space::{MremapRequest, RemapFlags};
    with_spaces(|mm, [a]| {
        let object = mm.new_object(8 * PAGE_SIZE).unwrap();
        map(mm, a, &object, 4, 2, MapFlags::SHARED);
        (0..4).for_each(|page| write(mm, a, at(page), 2 + page).unwrap());
        let remap = |page: u64, old: u64, new: u64, flags: RemapFlags, to: u64| {
            let (addr, new_addr) = (at(page).raw(), at(to).raw());
            let request =
                MremapRequest { addr, old_len: old * PAGE_SIZE, new_len: new * PAGE_SIZE, flags, new_addr };
            let moved = mm.mremap(a, &request);
            check(mm);
            moved
        };
        assert_eq!(remap(0, 4, 6, RemapFlags::empty(), 0), Ok(at(0)));
        write(mm, a, at(5), 7).unwrap();
        let moves = RemapFlags::MAYMOVE | RemapFlags::FIXED;
        assert_eq!(remap(1, 3, 2, moves, 100), Ok(at(100)));
        assert_eq!((read(mm, a, at(100)), read(mm, a, at(101))), (Ok(3), Ok(4)));
        write(mm, a, at(100), 33).unwrap();
        assert_eq!(remap(100, 0, 2, moves, 200), Ok(at(200)), "once more");
        assert_eq!((read(mm, a, at(200)), read(mm, a, at(100))), (Ok(33), Ok(33)));
        assert_eq!(remap(200, 2, 1, RemapFlags::empty(), 0), Ok(at(200)));
        let mut places = Vec::new();
        let _ = object.visit_mappers(3..4, |_, _, va| -> ControlFlow<()> {
            places.push(va);
            ControlFlow::Continue(())
        });
        assert_eq!(places, [at(100), at(200)]);
        mm.close_object(object);
    });
}

/// What objects have counts for each space that maps them, touched by whomever; what a pool would get back does not:
/// so much is free when the space ends, or at least.
#[test]
fn the_end_of_a_space_frees_what_is_said() {
    with_spaces(|mm, [a]| {
        mm.hvo.set_switch(mm, Switch::Off).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).persistent, 1);
        let rights = MapProt::READ | MapProt::WRITE;
        let huge = MmapRequest::anonymous(512 * PAGE_SIZE, rights).with(MapFlags::HUGETLB);
        let pool = mm.mmap(a, &huge).unwrap();
        mm.write_user(a, pool, &[1]).unwrap();
        let free = mm.free_page_count();
        let before = mm.usage(a).resident();
        let shared = mm.mmap(a, &request(100, MapFlags::SHARED | MapFlags::ANONYMOUS)).unwrap();
        (0..100).for_each(|n| mm.write_user(a, shared.add(n * PAGE_SIZE), &[1]).unwrap());
        let usage = mm.usage(a);
        assert_eq!((usage.shared, usage.hugetlb), (100, 512));
        let grown = usage.resident() - before;
        mm.munmap(a, shared.raw(), 100 * PAGE_SIZE).unwrap();
        assert!((100..110).contains(&grown) && mm.free_page_count() + 16 >= free, "{grown}: {usage:?}");
        mm.munmap(a, pool.raw(), 512 * PAGE_SIZE).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).persistent, 0);
    });
}
