//! The size of an object, holes, and who maps it meanwhile.

use super::*;
use crate::space::{Advice, Errno};

/// An access beyond the end is a SIGBUS; where the object grows it is memory.
#[test]
fn beyond_the_end() {
    with_spaces(|mm, [a]| {
        let object = mm.new_object(PAGE_SIZE + 1).unwrap();
        map(mm, a, &object, 4, 0, MapFlags::SHARED);
        assert_eq!(read(mm, a, at(1)), Ok(0), "the last page is whole");
        let error = read(mm, a, at(2)).unwrap_err();
        assert_eq!(error.reason, FaultReason::BeyondObject);
        assert_eq!(error.signal(), crate::fault::Signal::Bus);
        mm.truncate_object(&object, 3 * PAGE_SIZE).unwrap();
        assert_eq!(read(mm, a, at(2)), Ok(0));
        assert!(is_beyond(read(mm, a, at(3))));
        mm.close_object(object);
    });
}

/// An object of four pages, each with its number, counted from 1: `a` maps it shared, `b` privately, and both have
/// looked.
fn four_pages(mm: &Mm, a: &KArc<AddressSpace>, b: &KArc<AddressSpace>) -> ObjectUse {
    let object = mm.new_object(4 * PAGE_SIZE).unwrap();
    map(mm, a, &object, 4, 0, MapFlags::SHARED);
    map(mm, b, &object, 4, 0, MapFlags::PRIVATE);
    for page in 0..4 {
        write(mm, a, at(page), 1 + page).unwrap();
        read(mm, b, at(page)).unwrap();
    }
    object
}

/// Truncation takes entries away in every space, shared or private, copies too; the rest of the last page is zeros,
/// also when the object grows again.
#[test]
fn truncation_reaches_everybody() {
    with_spaces(|mm, [a, b]| {
        let object = four_pages(mm, a, b);
        (0..4).for_each(|page| write(mm, a, at(page).add(0x800), 0xff).unwrap());
        write(mm, b, at(2), 100).unwrap();
        mm.truncate_object(&object, PAGE_SIZE + 0x800).unwrap();
        check(mm);
        for space in [a, b] {
            assert_eq!(read(mm, space, at(0)), Ok(1));
            assert_eq!((read(mm, space, at(1)), read(mm, space, at(1).add(0x800))), (Ok(2), Ok(0)));
            assert!(is_beyond(read(mm, space, at(2))) && is_beyond(read(mm, space, at(3))));
        }
        assert_eq!(object.pages(), 2);
        mm.truncate_object(&object, 4 * PAGE_SIZE).unwrap();
        assert_eq!((read(mm, a, at(2)), read(mm, b, at(2))), (Ok(0), Ok(0)));
        mm.close_object(object);
    });
}

/// MADV_REMOVE takes pages out for everybody but who has a copy; Linux's errors otherwise.
#[test]
fn holes() {
    with_spaces(|mm, [a, b]| {
        let object = four_pages(mm, a, b);
        write(mm, b, at(1), 100).unwrap();
        mm.madvise(a, at(1).raw(), 2 * PAGE_SIZE, Advice::Remove).unwrap();
        check(mm);
        assert_eq!(object.pages(), 2);
        assert_eq!([0, 1, 2, 3].map(|page| read(mm, a, at(page))), [Ok(1), Ok(0), Ok(0), Ok(4)]);
        assert_eq!([0, 1, 2, 3].map(|page| read(mm, b, at(page))), [Ok(1), Ok(100), Ok(0), Ok(4)]);
        let errno = |space| mm.madvise(space, at(0).raw(), PAGE_SIZE, Advice::Remove).unwrap_err().errno();
        assert_eq!(errno(b), Errno::Acces);
        mm.mprotect(a, at(0).raw(), PAGE_SIZE, MapProt::READ).unwrap();
        assert_eq!(errno(a), Errno::Acces);
        mm.mmap(a, &request(1, MapFlags::PRIVATE | MapFlags::ANONYMOUS)).unwrap();
        assert_eq!(errno(a), Errno::Inval);
        mm.close_object(object);
    });
}

/// The tree holds the highest index that there is, and gives its nodes back.
#[test]
fn sparse_objects() {
    with_spaces(|mm, [a]| {
        let object = mm.new_object(MOST_BYTES).unwrap();
        assert_eq!(mm.truncate_object(&object, MOST_BYTES + 1), Err(SizeError::TooLong(MOST_BYTES + 1)));
        for first in [0, 63, 64, 4095, 4096, 1 << 40, (MOST_BYTES - 1) / PAGE_SIZE - 1] {
            map(mm, a, &object, 1, first, MapFlags::SHARED);
            write(mm, a, at(0), first).unwrap();
            assert_eq!(read(mm, a, at(0)), Ok(first));
        }
        assert_eq!(object.pages(), 7);
        map(mm, a, &object, 1, 1 << 40, MapFlags::SHARED);
        assert_eq!(read(mm, a, at(0)), Ok(1 << 40));
        mm.truncate_object(&object, 64 * PAGE_SIZE).unwrap();
        assert_eq!(object.pages(), 2);
        mm.close_object(object);
    });
}

/// A page that is mapped as often as can be counted is mapped no more: SIGBUS, and nothing wraps.
#[test]
fn too_many_references() {
    use crate::page::MOST_REFERENCES;
    with_spaces(|mm, [a]| {
        let object = mm.new_object(PAGE_SIZE).unwrap();
        for flags in [MapFlags::SHARED, MapFlags::PRIVATE] {
            map(mm, a, &object, 1, 0, flags);
            read(mm, a, at(0)).unwrap();
            mm.madvise(a, BASE.raw(), PAGE_SIZE, Advice::DontNeed).unwrap();
            let page = object.page(0).unwrap();
            page.set_refcount(MOST_REFERENCES);
            let error = write(mm, a, at(0), 1).unwrap_err();
            assert_eq!(error.reason, FaultReason::TooManyReferences(page.pfn()));
            assert_eq!(error.signal(), crate::fault::Signal::Bus);
            page.set_refcount(1);
        }
        mm.close_object(object);
    });
}
