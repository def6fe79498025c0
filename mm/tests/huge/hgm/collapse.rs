//! Smaller entries become large ones again.

use mm::config::{Hgm, Mapcount};
use mm::hugetlb::HugeSize;
use mm::hugetlb::hgm::MapSize;
use mm::space::{Advice, Errno};
use mm::stats::Counter;

use super::site::{G1, K64, KIB, M2, M32, MIB, OF_GIANTS, PAGE, Site, machine, some};

/// A page of 1 GiB by pages, partly, becomes one block in one step or by way of 2 MiB and 32 MiB; what was never
/// continued is mapped too; tables, references and mappings of the old entries are gone, in every way of counting.
#[test]
fn collapse_in_one_step_and_in_several() {
    for mapcount in OF_GIANTS {
        machine(HugeSize::G1, mapcount).boot(|mm, _| {
            let site = Site::new(mm, HugeSize::G1, 1);
            let head = site.file.as_ref().unwrap().page(0).unwrap();
            let tables = mm.stats.get(Counter::NrPageTable);
            let populate = || {
                for at in [0, 8 * KIB, MIB, 2 * MIB, 34 * MIB, 900 * MIB] {
                    site.go_on(at, 4 * KIB).1.unwrap();
                }
                site.go_on(512 * MIB, 2 * MIB).1.unwrap();
                site.put(900 * MIB + 8, 9);
            };
            populate();
            assert_eq!(head.refcount(), 2 + 7);
            site.advise(0, 2 * MIB, Advice::Collapse).unwrap();
            assert_eq!(site.sizes(0, 2 * MIB), some([M2]));
            assert_eq!(head.refcount(), 2 + 5, "{mapcount}");
            site.advise(32 * MIB, 32 * MIB, Advice::Collapse).unwrap();
            assert_eq!(site.sizes(32 * MIB, 32 * MIB), some([M32]));
            mm.check_all().unwrap();
            site.advise(0, 1 << 30, Advice::Collapse).unwrap();
            assert_eq!(site.sizes(0, 1 << 30), some([G1]));
            assert_eq!(head.refcount(), 2 + 1, "{mapcount}");
            assert_eq!(mm.stats.get(Counter::NrPageTable), tables);
            assert_eq!((site.read(900 * MIB + 8), site.read(700 * MIB)), (Ok(9), Ok(0)));
            // Once more is nothing.
            site.advise(0, 1 << 30, Advice::Collapse).unwrap();
            // In one step.
            site.advise(0, 1 << 30, Advice::DontNeed).unwrap();
            populate();
            site.advise(0, 1 << 30, Advice::Collapse).unwrap();
            assert_eq!((site.sizes(0, 1 << 30), head.refcount()), (some([G1]), 3));
            site.end();
        });
    }
}

/// The same for the smaller sizes, and for parts of 64 KiB.
#[test]
fn collapse_of_smaller_pages() {
    for &mapcount in Mapcount::ALL {
        for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
            machine(size, mapcount).boot(|mm, _| {
                let site = Site::new(mm, size, 2);
                let bytes = size.bytes();
                for page in 0..2 {
                    site.go_on(page * bytes + 8 * KIB, 8 * KIB).1.unwrap();
                    site.go_on(page * bytes + bytes - 4 * KIB, 4 * KIB).1.unwrap();
                }
                site.put(bytes + 9 * KIB, 3);
                // Too small for anything larger.
                site.advise(0, 32 * KIB, Advice::Collapse).unwrap();
                assert_eq!(site.sizes(8 * KIB, 8 * KIB), some([PAGE, PAGE]));
                site.advise(0, 64 * KIB, Advice::Collapse).unwrap();
                assert_eq!(site.sizes(0, 64 * KIB), some([K64]), "{size} {mapcount}");
                mm.check_all().unwrap();
                site.advise(0, 2 * bytes, Advice::Collapse).unwrap();
                assert_eq!(site.sizes(0, 2 * bytes), some([MapSize::Huge(size); 2]), "{size} {mapcount}");
                mm.check_all().unwrap();
                assert_eq!((site.read(bytes + 9 * KIB), site.read(0)), (Ok(3), Ok(1)));
                let head = site.file.as_ref().unwrap().page(0).unwrap();
                assert_eq!(head.refcount(), 1 + 2 * size.entries() as u32);
                site.end();
            });
        }
    }
}

/// `hgm=pages`: MADV_SPLIT unmaps, whatever comes is pages of 4 KiB, and a collapse of whole pages ends it.
#[test]
fn the_simpler_way_maps_pages_only() {
    for &mapcount in Mapcount::ALL {
        for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
            machine(size, mapcount).config(|config| config.hgm = Hgm::Pages).boot(|mm, _| {
                let site = Site::new(mm, size, 2);
                let bytes = size.bytes();
                site.go_on(0, 64 * KIB).1.unwrap();
                assert_eq!(site.sizes(0, 64 * KIB), some([PAGE; 16]), "{size} {mapcount}");
                site.read(bytes + 20 * KIB).unwrap();
                assert_eq!(site.sizes(bytes + 20 * KIB, 4 * KIB), some([PAGE]));
                mm.check_all().unwrap();
                // Again changes nothing.
                site.advise(0, bytes, Advice::Split).unwrap();
                assert_eq!(site.sizes(0, 4 * KIB), some([PAGE]));
                assert_eq!(site.advise(4 * KIB, bytes, Advice::Collapse), Err(Errno::Inval));
                site.put(9 * KIB, 5);
                site.advise(0, 2 * bytes, Advice::Collapse).unwrap();
                assert_eq!(site.sizes(0, 2 * bytes), some([MapSize::Huge(size); 2]));
                assert_eq!(site.read(9 * KIB), Ok(5));
                assert_eq!(site.go_on(0, 4 * KIB), (0, Err(Errno::Inval)));
                mm.check_all().unwrap();
                site.end();
            });
        }
    }
}
