//! Private mappings of objects of hugetlb pages, of which the object's page fails, or the private copy.

use arch::addr::PAGE_SIZE;
use mm::config::Mapcount;
use mm::fault::FaultReason;
use mm::hugetlb::HugeSize;
use mm::hugetlb::poison::Outcome;
use mm::space::{Advice, MapFlags, MmapRequest};

use crate::poison_kit::*;

fn copying(size: HugeSize, pages: u64) -> MmapRequest {
    MmapRequest { flags: MapFlags::PRIVATE, ..shared(size, pages) }
}

/// The object's page fails: who has a copy keeps it, all others get an error, also for a write, which would copy it.
#[test]
fn a_copy_outlives_the_page_that_it_was_made_of() {
    for size in SMALL {
        machine(size).boot(|mm, _| {
            grow(mm, size, 4);
            let (file, space) = (object(mm, size, 1), mm.new_space().unwrap());
            let plain = mm.mmap_object(&space, &shared(size, 1), &file).unwrap();
            let [own, view] = [0, 1].map(|_| mm.mmap_object(&space, &copying(size, 1), &file).unwrap());
            write(mm, &space, plain, 1).unwrap();
            write(mm, &space, own, 2).unwrap();
            assert_eq!(read(mm, &space, view), Ok(1));
            let pfn = frame(mm, &space, plain.add(PAGE_SIZE));
            assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Held), "{size}");
            mm.check_all().unwrap();
            for va in [plain, view] {
                assert_eq!(read(mm, &space, va), Err(lost(size)));
                assert_eq!(write(mm, &space, va, 3), Err(lost(size)));
            }
            assert_eq!(read(mm, &space, own), Ok(2));
            mm.punch_object(&file, 0..size.order().pages());
            assert_eq!([plain, own, view].map(|va| read(mm, &space, va)), [Ok(0), Ok(2), Ok(0)]);
            mm.check_all().unwrap();
            mm.destroy_space(&space);
            mm.close_object(file);
            assert!(is_retired(pfn));
            assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 0));
            grow(mm, size, 0);
            mm.check_all().unwrap();
        });
    }
}

/// A private copy fails: its space and those that fork has made get an error, and never the object's page in its place;
/// MADV_DONTNEED and truncation end that.
#[test]
fn a_lost_copy_is_not_the_objects_page() {
    for size in SMALL {
        for mapcount in [Mapcount::MmOwner, Mapcount::RfcV2] {
            for after in [0, 1] {
                machine(size).config(|config| config.mapcount = mapcount).boot(|mm, _| {
                    grow(mm, size, 4);
                    let (file, space) = (object(mm, size, 1), mm.new_space().unwrap());
                    let plain = mm.mmap_object(&space, &shared(size, 1), &file).unwrap();
                    let own = mm.mmap_object(&space, &copying(size, 1), &file).unwrap();
                    write(mm, &space, plain, 1).unwrap();
                    write(mm, &space, own, 2).unwrap();
                    let child = mm.fork_space(&space).unwrap();
                    let pfn = frame(mm, &space, own);
                    assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Retired), "{size}");
                    mm.check_all().unwrap();
                    let grandchild = mm.fork_space(&child).unwrap();
                    for of in [&space, &child, &grandchild] {
                        assert_eq!(read(mm, of, own), Err(lost(size)), "{size} {mapcount}");
                        assert_eq!(write(mm, of, own, 3), Err(lost(size)));
                        assert_eq!(read(mm, of, plain), Ok(1));
                    }
                    mm.check_all().unwrap();
                    if after == 0 {
                        mm.madvise(&space, own.raw(), size.bytes(), Advice::DontNeed).unwrap();
                        mm.check_all().unwrap();
                        assert_eq!(read(mm, &space, own), Ok(1));
                        assert_eq!(read(mm, &child, own), Err(lost(size)));
                    } else {
                        mm.truncate_object(&file, 0).unwrap();
                        assert_eq!(read(mm, &child, own), Err(FaultReason::BeyondObject));
                        mm.truncate_object(&file, size.bytes()).unwrap();
                        assert_eq!([&space, &child].map(|of| read(mm, of, own)), [Ok(0); 2]);
                    }
                    mm.check_all().unwrap();
                    [space, child, grandchild].iter().for_each(|of| mm.destroy_space(of));
                    mm.close_object(file);
                    assert_eq!(mm.hugetlb.counts(size), counts(3, 3, 0));
                    grow(mm, size, 0);
                    mm.check_all().unwrap();
                });
            }
        }
    }
}
