//! Every allocation fails once, and once with all that follow.

use super::*;
use crate::kalloc::inject::Failing;
use crate::space::{Advice, MmapError};
use crate::testkit::exhaust;

/// What a run has taken.
struct Taken {
    space: KArc<AddressSpace>,
    object: ObjectUse,
}

fn run(op: impl Fn(&Mm, &Taken) -> Result<(), MmapError>) -> u64 {
    [Failing::Once, Failing::Onwards]
        .map(|failing| {
            exhaust(
                &Builder::new().ram_mib(32),
                failing,
                |mm| Taken {
                    space: mm.new_space().unwrap(),
                    object: mm.new_object(600 * PAGE_SIZE).unwrap(),
                },
                &op,
                |mm, taken| {
                    mm.destroy_space(&taken.space);
                    mm.close_object(taken.object);
                    assert!(mm.objects.is_empty());
                },
            )
        })
        .into_iter()
        .sum()
}

fn or_memory<T>(result: Result<T, FaultError>) -> Result<(), MmapError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.reason == FaultReason::OutOfMemory => Err(MmapError::OutOfMemory),
        Err(error) => panic!("{error}"),
    }
}

/// mmap of objects, named or not, shared or private, over one another.
#[test]
fn mapping() {
    let failed = run(|mm, Taken { space, object }| {
        for flags in [MapFlags::SHARED, MapFlags::PRIVATE] {
            mm.mmap_object(space, &request(8, flags), object)?;
        }
        mm.mmap(space, &request(4, MapFlags::SHARED | MapFlags::ANONYMOUS))?;
        mm.munmap(space, at(1).raw(), PAGE_SIZE)
    });
    assert!(failed >= 10, "only {failed} allocations were failed");
}

/// Faults that make pages, nodes of the tree, tables and copies.
#[test]
fn faults() {
    let failed = run(|mm, Taken { space, object }| {
        mm.mmap_object(space, &request(300, MapFlags::SHARED), object)?;
        let private = request(300, MapFlags::PRIVATE).fixed(at(300).raw());
        mm.mmap_object(space, &private, object)?;
        for page in [0, 63, 64, 299] {
            or_memory(write(mm, space, at(page), page))?;
            or_memory(read(mm, space, at(300 + page)))?;
            or_memory(write(mm, space, at(300 + page), 1))?;
        }
        or_memory(write(mm, space, at(300 + 200), 1))
    });
    assert!(failed >= 20, "only {failed} allocations were failed");
}

/// Truncation and holes ask for no memory at all.
#[test]
fn taking_pages_out() {
    let failed = exhaust(
        &Builder::new().ram_mib(32),
        Failing::Onwards,
        |mm| {
            let (space, object) = (mm.new_space().unwrap(), mm.new_object(600 * PAGE_SIZE).unwrap());
            map(mm, &space, &object, 600, 0, MapFlags::SHARED);
            for page in [0, 1, 100, 599] {
                write(mm, &space, at(page), 1).unwrap();
            }
            Taken { space, object }
        },
        |mm, Taken { space, object }| {
            mm.madvise(space, at(0).raw(), 2 * PAGE_SIZE, Advice::Remove)?;
            mm.truncate_object(object, 50 * PAGE_SIZE + 1).map_err(|_| MmapError::OutOfMemory)
        },
        |mm, taken| {
            mm.destroy_space(&taken.space);
            mm.close_object(taken.object);
        },
    );
    assert_eq!(failed, 0);
}

/// fork of a space that maps objects.
#[test]
fn forking() {
    let failed = run(|mm, Taken { space, object }| {
        mm.mmap_object(space, &request(8, MapFlags::SHARED), object)?;
        mm.mmap_object(space, &request(8, MapFlags::PRIVATE).fixed(at(8).raw()), object)?;
        mm.mmap(space, &request(4, MapFlags::SHARED | MapFlags::ANONYMOUS).fixed(at(16).raw()))?;
        or_memory(write(mm, space, at(0), 1))?;
        or_memory(write(mm, space, at(8), 1))?;
        or_memory(write(mm, space, at(16), 1))?;
        let child = mm.fork_space(space).map_err(|_| MmapError::OutOfMemory)?;
        let used =
            or_memory(write(mm, &child, at(1), 1)).and_then(|()| or_memory(write(mm, &child, at(8), 1)));
        mm.destroy_space(&child);
        used
    });
    assert!(failed >= 30, "only {failed} allocations were failed");
}
