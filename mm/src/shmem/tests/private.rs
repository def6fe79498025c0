//! Private mappings of an object: they see it until they write.

use super::*;
use crate::page::PageKind;
use crate::space::Advice;
use crate::stats::Counter;

/// A read maps the object's page; a write, to an entry or to none, is the space's own from then on.
#[test]
fn a_write_is_a_copy() {
    with_spaces(|mm, [a, b]| {
        let object = mm.new_object(4 * PAGE_SIZE).unwrap();
        map(mm, a, &object, 4, 0, MapFlags::SHARED);
        map(mm, b, &object, 4, 0, MapFlags::PRIVATE);
        for page in 0..2 {
            write(mm, a, at(page), 10 + page).unwrap();
        }
        assert_eq!(read(mm, b, at(0)), Ok(10));
        assert_eq!(object.page(0).unwrap().raw_mapcount(), 2);
        write(mm, a, at(0), 20).unwrap();
        assert_eq!(read(mm, b, at(0)), Ok(20), "not written yet: still the object's page");
        write(mm, b, at(0), 30).unwrap();
        write(mm, b, at(1).add(8), 31).unwrap();
        assert_eq!((read(mm, a, at(0)), read(mm, b, at(0))), (Ok(20), Ok(30)));
        assert_eq!((read(mm, b, at(1)), read(mm, b, at(1).add(8))), (Ok(11), Ok(31)));
        assert_eq!(read(mm, a, at(1).add(8)), Ok(0));
        write(mm, a, at(0), 40).unwrap();
        assert_eq!(read(mm, b, at(0)), Ok(30), "the copy is the space's own");
        assert_eq!(object.page(0).unwrap().raw_mapcount(), 1);
        assert_eq!(mm.stats.get(Counter::NrAnon), 2);
        mm.close_object(object);
    });
}

/// The right to write, taken and given back by mprotect, does not let a private mapping write the object.
#[test]
fn mprotect_does_not_open_the_object() {
    with_spaces(|mm, [a, b]| {
        let object = mm.new_object(PAGE_SIZE).unwrap();
        map(mm, a, &object, 1, 0, MapFlags::SHARED);
        map(mm, b, &object, 1, 0, MapFlags::PRIVATE);
        write(mm, a, at(0), 1).unwrap();
        assert_eq!(read(mm, b, at(0)), Ok(1));
        mm.mprotect(b, BASE.raw(), PAGE_SIZE, MapProt::READ).unwrap();
        check(mm);
        mm.mprotect(b, BASE.raw(), PAGE_SIZE, RW).unwrap();
        check(mm);
        write(mm, b, at(0), 2).unwrap();
        assert_eq!((read(mm, a, at(0)), read(mm, b, at(0))), (Ok(1), Ok(2)));
        mm.close_object(object);
    });
}

/// MADV_DONTNEED of a private mapping drops copies: the object is seen again.
#[test]
fn dropping_a_copy_shows_the_object() {
    with_spaces(|mm, [a]| {
        let object = mm.new_object(PAGE_SIZE).unwrap();
        map(mm, a, &object, 1, 0, MapFlags::PRIVATE);
        write(mm, a, at(0), 9).unwrap();
        assert_eq!(object.page(0).unwrap().kind(), PageKind::Shmem);
        mm.madvise(a, BASE.raw(), PAGE_SIZE, Advice::DontNeed).unwrap();
        assert_eq!(read(mm, a, at(0)), Ok(0));
        mm.close_object(object);
    });
}

/// fork hands private copies on like all anonymous memory; what is not copied yet both go on reading from the object.
#[test]
fn fork_hands_copies_on() {
    with_spaces(|mm, [a, b]| {
        let object = mm.new_object(2 * PAGE_SIZE).unwrap();
        map(mm, a, &object, 2, 0, MapFlags::SHARED);
        map(mm, b, &object, 2, 0, MapFlags::PRIVATE);
        write(mm, a, at(0), 1).unwrap();
        assert_eq!(read(mm, b, at(0)), Ok(1));
        write(mm, b, at(1), 2).unwrap();
        let child = mm.fork_space(b).unwrap();
        check(mm);
        write(mm, a, at(0), 3).unwrap();
        assert_eq!((read(mm, b, at(0)), read(mm, &child, at(0))), (Ok(3), Ok(3)));
        assert_eq!(read(mm, &child, at(1)), Ok(2));
        write(mm, &child, at(1), 4).unwrap();
        write(mm, b, at(0), 5).unwrap();
        assert_eq!((read(mm, b, at(1)), read(mm, &child, at(0))), (Ok(2), Ok(3)));
        check(mm);
        mm.truncate_object(&object, PAGE_SIZE).unwrap();
        assert!(is_beyond(read(mm, b, at(1))) && is_beyond(read(mm, &child, at(1))), "copies go too");
        check(mm);
        mm.destroy_space(&child);
        mm.close_object(object);
    });
}
