//! What a workload says agrees with what its counters count.

use arch::{Order, VirtAddr};

use super::super::{Phase, Point, Points, Record};
use super::{assert_nested, read};
use crate::Mm;
use crate::config::PromotionThreshold;
use crate::hvo;
use crate::kalloc::KArc;
use crate::page::PageKind;
use crate::rmap;
use crate::space::{AddressSpace, Advice, MapFlags, MapProt, MmapRequest};
use crate::testkit::Builder;
use crate::thp::promoter;

const BASE: u64 = 0x4000_0000;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

fn write(mm: &Mm, space: &KArc<AddressSpace>, page: u64) {
    mm.write_user(space, VirtAddr::new(BASE + page * 4096), &[1]).unwrap();
}

/// Faults, reservations, a promotion, fork and what is copied after it, a split, a migration, a huge page by copy,
/// hugetlb, a remap there and back, and the end of all of it.
fn work(mm: &Mm, space: &KArc<AddressSpace>) {
    let request = MmapRequest::anonymous(8 << 20, RW).fixed(BASE);
    mm.mmap(space, &request).unwrap();
    (0..40).for_each(|page| write(mm, space, page));
    promoter::drain(mm);
    write(mm, space, 600);
    let child = mm.fork_space(space).unwrap();
    (0..3).for_each(|page| write(mm, &child, page));
    mm.destroy_space(&child);
    let leaf = || space.ptl.lock().walk(VirtAddr::new(BASE + 600 * 4096)).leaf().unwrap();
    let folio = crate::page::page_of(leaf().desc.output(leaf().level).pfn());
    let target = mm.alloc_pages(Order::PAGE, PageKind::Anon).unwrap();
    let held = folio.try_get().unwrap();
    let _may_fail =
        rmap::migrate_folio(mm, held, target, rmap::MoveWhat::All).map_err(|no| mm.put_folio(no.target));
    mm.mprotect(space, BASE, 4096, MapProt::READ).unwrap();
    let more = BASE + (6 << 20);
    let _may_fail = mm.madvise(space, more, 2 << 20, Advice::Collapse);
    assert_eq!(mm.hugetlb.set_nr(mm, crate::hugetlb::HugeSize::M2, 2).persistent, 2);
    let request = MmapRequest::anonymous(2 << 20, RW).with(MapFlags::HUGETLB);
    let huge = mm.mmap(space, &request).unwrap();
    mm.write_user(space, huge, &[1]).unwrap();
    mm.munmap(space, huge.raw(), 2 << 20).unwrap();
    let head = mm.alloc_pages(Order::PMD, PageKind::Hugetlb).unwrap();
    head.prep_compound(PageKind::Hugetlb, Order::PMD, mm.config.tails);
    assert!(head.freeze(1));
    hvo::optimize_folio(mm, *head).unwrap();
    hvo::restore_folio(mm, *head).unwrap();
    mm.free_pages(head, Order::PMD);
    mm.munmap(space, BASE, 8 << 20).unwrap();
}

/// Runs the workload with all points on, and gives the records, and by how much each point's counter went up.
fn traced(f: impl Fn(&[Record], &dyn Fn(Point) -> Option<u64>)) {
    let threshold = PromotionThreshold::new(32).unwrap();
    let builder = Builder::new().ram_mib(96).cpus(2).config(|config| config.promotion_threshold = threshold);
    builder.boot(|mm, _| {
        let space = mm.new_space().unwrap();
        let trace = &mm.stats.trace;
        trace.switch_on(mm, Points::ALL).unwrap();
        work(mm, &space);
        trace.switch_off(mm, Points::ALL);
        let records = read(mm);
        let lost: u64 = trace.with_still(mm, |still| still.cpus().map(|cpu| still.lost(cpu)).sum());
        assert_eq!(lost, 0);
        f(&records, &|point| trace.with_still(mm, |still| still.counted(point)));
        trace.forget(mm);
        mm.destroy_space(&space);
    });
}

/// Of every point that counts, the sum of `n` over its records is the difference of its counter; and the points that the
/// workload is made to pass are passed.
#[test]
fn records_agree_with_counters() {
    traced(|records, counted| {
        for &point in Point::ALL {
            let Some(counted) = counted(point) else { continue };
            let n: u64 =
                records.iter().filter(|record| record.point == point).map(|record| u64::from(record.n)).sum();
            assert_eq!(n, counted, "{}", point.name());
        }
        let passed = [
            Point::Fault,
            Point::Cow,
            Point::Reserve,
            Point::Take,
            Point::Promote,
            Point::SplitBlock,
            Point::ReserveBreak,
            Point::Store,
            Point::Break,
            Point::Make,
            Point::Flush,
            Point::TlbiVa,
            Point::Step,
            Point::Optimise,
            Point::Restore,
            Point::Grace,
            Point::Migrate,
            Point::HugetlbFault,
            Point::Fork,
            Point::Mmap,
            Point::Munmap,
            Point::Mprotect,
            Point::Madvise,
            Point::Exit,
            Point::Alloc,
            Point::Free,
        ];
        for point in passed {
            assert!(records.iter().any(|record| record.point == point), "{} was not passed", point.name());
        }
    });
}

/// Every slice that begins ends, those of one thread nest, and of slices whose counter counts them one by one there are
/// as many as it says.
#[test]
fn slices_begin_nest_and_end() {
    traced(|records, counted| {
        let slices = assert_nested(records);
        let of = |point| slices.iter().find(|(of, _)| *of == point).map_or(0, |(_, n)| *n);
        for point in [Point::Fault, Point::Flush, Point::Grace, Point::Hold] {
            assert_eq!(Some(of(point)), counted(point), "{}", point.name());
        }
        assert!(of(Point::Fault) > 40 && of(Point::Munmap) == 2, "{slices:?}");
        let inside = records.iter().skip_while(|record| record.point != Point::Optimise);
        let inside: Vec<_> = inside
            .take_while(|record| (record.point, record.phase) != (Point::Optimise, Phase::End))
            .collect();
        assert!(
            inside.iter().any(|record| record.point == Point::Step),
            "the steps are within the list's slice"
        );
        assert!(inside.iter().any(|record| record.point == Point::Flush), "and so are its flushes");
    });
}
