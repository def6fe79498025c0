//! Which entries come to map a page: by continuing, by faults, by splits.

use mm::config::Mapcount;
use mm::hugetlb::HugeSize;
use mm::hugetlb::hgm::MapSize;
use mm::space::Advice;

use super::site::{K64, KIB, M2, M32, MIB, OF_GIANTS, PAGE, Site, all_ways, machine, some};

/// A range is continued by the largest entries that its ends allow, in every way of counting; the rest stays blank. All
/// of it is one folio, and each entry has its reference.
#[test]
fn a_range_is_continued_by_the_largest_entries() {
    for mapcount in OF_GIANTS {
        machine(HugeSize::G1, mapcount).boot(|mm, _| {
            let site = Site::new(mm, HugeSize::G1, 1);
            assert_eq!(site.go_on(2 * MIB - 4 * KIB, 72 * KIB), (72 * KIB, Ok(())));
            assert_eq!(site.sizes(2 * MIB - 4 * KIB, 72 * KIB), some([PAGE, K64, PAGE]));
            assert_eq!(site.go_on(30 * MIB, 36 * MIB), (36 * MIB, Ok(())));
            assert_eq!(site.sizes(30 * MIB, 36 * MIB), some([M2, M32, M2]), "{mapcount}");
            site.put(31 * MIB, 5);
            assert_eq!(site.read(31 * MIB), Ok(5));
            let head = site.file.as_ref().unwrap().page(0).unwrap();
            // The object's, the plain block, 16 + 2 pages, 16 + 2 blocks.
            assert_eq!(head.refcount(), 1 + 1 + 18 + 18);
            site.end();
        });
    }
}

/// A fault fills the blank entry that it meets, as large as that is: in a page nobody has touched all of it, beside
/// smaller entries what one mapping can.
#[test]
fn a_fault_fills_the_blank_entry() {
    machine(HugeSize::G1, Mapcount::MmOwner).boot(|mm, _| {
        let site = Site::new(mm, HugeSize::G1, 1);
        site.go_on(0, 4 * KIB).1.unwrap();
        site.put(5000, 7);
        assert_eq!(site.read(5000), Ok(7));
        assert_eq!(site.sizes(4096, 4096), some([PAGE]));
        site.read(64 * KIB).unwrap();
        assert_eq!(site.sizes(64 * KIB, 64 * KIB), some([K64]));
        site.read(3 * MIB).unwrap();
        assert_eq!(site.sizes(2 * MIB, 2 * MIB), some([M2]));
        site.read(40 * MIB).unwrap();
        assert_eq!(site.sizes(32 * MIB, 32 * MIB), some([M32]));
        site.end();
    });
    for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
        machine(size, Mapcount::MmOwner).boot(|mm, _| {
            let site = Site::new(mm, size, 1);
            site.read(5000).unwrap();
            assert_eq!(site.sizes(0, size.bytes()), some([MapSize::Huge(size)]));
            site.end();
        });
    }
}

/// One leaf is taken apart around an address, step by step down to 4 KiB: what it mapped stays mapped, with the same
/// rights, by entries that are counted and referenced.
#[test]
fn leaves_are_split_down_to_a_page() {
    for (size, mapcount) in all_ways() {
        machine(size, mapcount).boot(|mm, _| {
            let site = Site::new(mm, size, 1);
            let last = size.bytes() - 4 * KIB;
            site.put(last, 4);
            site.read(0).unwrap();
            site.split(last);
            let folded = if size == HugeSize::K64 { K64 } else { PAGE };
            assert_eq!(site.sizes(last, 4 * KIB), some([folded]), "{size} {mapcount}");
            assert_eq!((site.read(0), site.read(last)), (Ok(1), Ok(4)));
            let leaves = site.sizes(0, size.bytes()).into_iter().flatten();
            assert_eq!(leaves.map(MapSize::bytes).sum::<u64>(), size.bytes());
            site.check();
            site.advise(0, size.bytes(), Advice::Collapse).unwrap();
            assert_eq!(site.sizes(0, size.bytes()), some([MapSize::Huge(size)]));
            site.end();
        });
    }
}
