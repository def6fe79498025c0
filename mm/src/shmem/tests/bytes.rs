//! Reading and writing by offset, against a vector of bytes; and by the side of mappings.

use super::*;
use crate::kalloc::inject::Failing;
use crate::testkit::{Random, exhaust};

/// Random writes, reads and sizes, beside loads and stores through a mapping: all of them see the same bytes.
#[test]
fn as_a_vector_of_bytes() {
    for seed in 0..4 {
        with_spaces(|mm, [a]| {
            let mut random = Random::for_test("as_a_vector_of_bytes", seed);
            let (object, mut oracle) = (mm.new_named_object(b"x", None).unwrap(), Vec::<u8>::new());
            map(mm, a, &object, 6, 0, MapFlags::SHARED);
            for step in 0..300u64 {
                let (offset, len) = (random.below(5 * PAGE_SIZE) as usize, random.below(6000) as usize);
                match random.below(6) {
                    0 => {
                        mm.truncate_object(&object, offset as u64).unwrap();
                        oracle.resize(offset, 0);
                    }
                    1 if offset + 8 < oracle.len() && offset % 4096 < 4088 => {
                        write(mm, a, BASE.add(offset as u64), step).unwrap();
                        oracle[offset..offset + 8].copy_from_slice(&step.to_le_bytes());
                    }
                    2 | 3 => {
                        let bytes = vec![step as u8; len];
                        mm.write_object(&object, offset as u64, &bytes).unwrap();
                        oracle.resize(oracle.len().max(if len == 0 { 0 } else { offset + len }), 0);
                        let from = offset.min(oracle.len());
                        oracle[from..][..len].copy_from_slice(&bytes);
                    }
                    _ => {
                        let mut bytes = vec![0xee; len];
                        let got = mm.read_object(&object, offset as u64, &mut bytes).unwrap();
                        let from = offset.min(oracle.len());
                        let expected = &oracle[from..oracle.len().min(from + len)];
                        assert_eq!(&bytes[..got], expected, "step {step}");
                        assert!(bytes[got..].iter().all(|&byte| byte == 0xee));
                    }
                }
                assert_eq!(object.bytes(), oracle.len() as u64, "step {step}");
            }
            check(mm);
            mm.close_object(object);
        });
    }
}

/// Holes read as zeros and get no page; what lies too far is refused; the rest of a last page that a user has written
/// behind the end is zeros when the object grows over it.
#[test]
fn holes_ends_and_far_away() {
    with_spaces(|mm, [a]| {
        let object = mm.new_object(0).unwrap();
        mm.write_object(&object, 10 * PAGE_SIZE + 1, b"abc").unwrap();
        let mut bytes = [7; 8];
        assert_eq!((mm.read_object(&object, 10 * PAGE_SIZE - 2, &mut bytes), object.pages()), (Ok(6), 1));
        assert_eq!(bytes, [0, 0, 0, b'a', b'b', b'c', 7, 7]);
        assert_eq!(mm.read_object(&object, u64::MAX, &mut bytes), Ok(0));
        assert_eq!(mm.write_object(&object, MOST_BYTES - 1, b"xy"), Err(WriteError::TooFar));
        assert_eq!(mm.write_object(&object, u64::MAX, b"xy"), Err(WriteError::TooFar));
        map(mm, a, &object, 11, 0, MapFlags::SHARED);
        write(mm, a, at(10).add(0x800), 0xff).unwrap();
        mm.write_object(&object, 10 * PAGE_SIZE + 0xfff, b"z").unwrap();
        assert_eq!(read(mm, a, at(10).add(0x800)), Ok(0));
        mm.close_object(object);
    });
}

/// Every allocation of a write fails once: the object is as it was, or has the bytes of whole pages.
#[test]
fn out_of_memory() {
    for failing in [Failing::Once, Failing::Onwards] {
        let failed = exhaust(
            &Builder::new().ram_mib(32),
            failing,
            |mm| mm.new_object(0).unwrap(),
            |mm, object| {
                mm.close_object(mm.new_named_object(b"name", None)?);
                for page in [0, 70, 5000] {
                    mm.write_object(object, page * PAGE_SIZE + 4000, &[1; 200])
                        .map_err(|_| crate::error::OutOfMemory)?;
                }
                Ok::<(), crate::error::OutOfMemory>(())
            },
            |mm, object| mm.close_object(object),
        );
        assert!(failed >= 8, "only {failed} allocations were failed");
    }
}

/// maps shows the name that memfd_create was told, and that nobody else can open it.
#[test]
fn names() {
    with_spaces(|mm, [a]| {
        for (name, shown) in [
            (&b"cache"[..], "/memfd:cache (deleted)"),
            (b"", "/memfd: (deleted)"),
            (b"two\nlines", "/memfd:two\\012lines (deleted)"),
            (b"a\xffb", "/memfd:a\u{fffd}b (deleted)"),
        ] {
            for flags in [MapFlags::SHARED, MapFlags::PRIVATE] {
                let object = mm.new_named_object(name, None).unwrap();
                map(mm, a, &object, 1, 0, flags);
                let mut line = String::new();
                mm.write_maps(a, VirtAddr::new(0), BASE, &mut line).unwrap();
                assert!(line.ends_with(&format!(" {shown}\n")), "{line}");
                assert_eq!(line.find('/'), Some(73), "{line}");
                mm.munmap(a, BASE.raw(), PAGE_SIZE).unwrap();
                mm.close_object(object);
            }
        }
        mm.mmap(a, &request(1, MapFlags::SHARED | MapFlags::ANONYMOUS)).unwrap();
        let mut line = String::new();
        mm.write_maps(a, VirtAddr::new(0), BASE, &mut line).unwrap();
        assert!(line.ends_with(" /dev/zero (deleted)\n"), "{line}");
    });
}
