//! Memory of hugetlb that fails where smaller entries are permitted: 4 KiB are lost, and the rest is used as before.

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::config::{Hgm, HvoStrategy, Mapcount, MmConfig};
use mm::fault::FaultReason;
use mm::hugetlb::HugeSize;
use mm::hugetlb::hgm::{ContinueError, HugetlbPte, MapSize};
use mm::hugetlb::poison::Outcome;
use mm::kalloc::{KArc, inject};
use mm::shmem::{DeliverError, ObjectUse};
use mm::space::{AddressSpace, Advice, Errno};
use mm::testkit::Builder;

use crate::poison_kit::*;

const LOST: FaultReason = FaultReason::PAGE_FAILURE;

fn split_machine(size: HugeSize, mapcount: Mapcount, hgm: Hgm) -> Builder {
    machine(size).config(move |config: &mut MmConfig| {
        (config.mapcount, config.hvo, config.hgm) = (mapcount, HvoStrategy::Off, hgm);
    })
}

/// An object of one page, which a space maps whole, and once more where smaller entries are permitted. The other
/// mapping has been read.
struct Site<'m> {
    mm: &'m Mm,
    size: HugeSize,
    file: ObjectUse,
    space: KArc<AddressSpace>,
    whole: VirtAddr,
    start: VirtAddr,
}

impl<'m> Site<'m> {
    fn new(mm: &'m Mm, size: HugeSize) -> Self {
        grow(mm, size, 2);
        let (file, space) = (object(mm, size, 1), mm.new_space().unwrap());
        let [whole, start] = [0, 1].map(|_| mm.mmap_object(&space, &shared(size, 1), &file).unwrap());
        write(mm, &space, whole, 1).unwrap();
        let site = Site { mm, size, file, space, whole, start };
        site.advise(Advice::Split).unwrap();
        assert_eq!(site.read(0), Ok(1));
        site
    }
    fn advise(&self, advice: Advice) -> Result<(), Errno> {
        let result = self.mm.madvise(&self.space, self.start.raw(), self.size.bytes(), advice);
        result.map_err(|error| error.errno())
    }
    fn read(&self, offset: u64) -> Result<u8, FaultReason> {
        read(self.mm, &self.space, self.start.add(offset))
    }
    /// The 4 KiB at this offset fail.
    fn fail(&self, offset: u64) {
        let pfn = frame(self.mm, &self.space, self.start).add(offset / PAGE_SIZE);
        assert_eq!(self.mm.memory_failure(pfn), Ok(Outcome::Held));
        self.check();
    }
    /// How much of the page is not mapped where smaller entries are permitted, and the largest entry.
    fn mapped(&self) -> (u64, Option<MapSize>) {
        let (mut va, mut blank, mut largest) = (self.start, 0, None);
        while va < self.start.add(self.size.bytes()) {
            let pte = HugetlbPte::at(&self.space.ptl.lock(), va, self.size, self.mm.config.contpte);
            if pte.is_leaf() {
                largest = largest.max(Some(pte.size));
            } else {
                blank += pte.size.bytes();
            }
            va = pte.va.add(pte.size.bytes());
        }
        (blank, largest)
    }
    fn check(&self) {
        if self.size != HugeSize::G1 {
            self.mm.check_all().unwrap();
        }
    }
    fn end(self, failed: u64) {
        self.mm.check_all().unwrap();
        self.mm.destroy_space(&self.space);
        self.mm.close_object(self.file);
        assert_eq!(self.mm.hugetlb.counts(self.size), counts(1, 1, 0));
        assert_eq!(self.mm.failed_frames(), failed);
        grow(self.mm, self.size, 0);
        self.mm.check_all().unwrap();
    }
}

fn ways(size: HugeSize) -> &'static [Mapcount] {
    match size {
        HugeSize::G1 => &[Mapcount::MmOwner, Mapcount::VmaPt],
        HugeSize::M32 => &[Mapcount::MmOwner, Mapcount::ThpLike, Mapcount::RfcV1Counted],
        _ => Mapcount::ALL,
    }
}

/// Only the 4 KiB that failed are unmapped, and only they are an error; what is around them stays mapped and is not
/// even faulted again. The mapping without the permission loses the whole page.
#[test]
fn only_4_kib_are_lost() {
    for size in HugeSize::ALL {
        for &mapcount in ways(size) {
            for hgm in [Hgm::Sizes, Hgm::Pages] {
                if hgm == Hgm::Pages && size == HugeSize::G1 {
                    continue;
                }
                split_machine(size, mapcount, hgm).boot(|mm, _| {
                    let site = Site::new(mm, size);
                    let bad = size.bytes() / 2 + 3 * PAGE_SIZE;
                    if hgm == Hgm::Pages {
                        site.read(bad).unwrap();
                    }
                    let before = site.mapped().0;
                    site.fail(bad);
                    assert_eq!(site.mapped().0, before + PAGE_SIZE, "{size} {mapcount}");
                    for offset in [bad, bad + 4095] {
                        assert_eq!(site.read(offset), Err(LOST));
                        assert_eq!(write(mm, &site.space, site.start.add(offset), 1), Err(LOST));
                    }
                    let near = [bad - 1, bad + PAGE_SIZE, 8, size.bytes() - 1];
                    for offset in near {
                        write(mm, &site.space, site.start.add(offset), 7).unwrap();
                        assert_eq!(site.read(offset), Ok(7));
                    }
                    assert_eq!(read(mm, &site.space, site.whole), Err(lost(size)));
                    let child = mm.fork_space(&site.space).unwrap();
                    for offset in near {
                        assert_eq!(read(mm, &child, site.start.add(offset)), Ok(7), "{size} {mapcount}");
                    }
                    assert_eq!(read(mm, &child, site.start.add(bad)), Err(LOST));
                    site.check();
                    // One beside it, of which the child has a mapping too.
                    let pfn = frame(mm, &child, site.start.add(bad + PAGE_SIZE));
                    assert_eq!(mm.memory_failure(pfn), Ok(Outcome::Held));
                    for space in [&site.space, &child] {
                        assert_eq!(read(mm, space, site.start.add(bad + PAGE_SIZE)), Err(LOST));
                        assert_eq!(read(mm, space, site.start.add(bad + 2 * PAGE_SIZE)), Ok(0));
                    }
                    site.check();
                    mm.destroy_space(&child);
                    site.end(2);
                });
            }
        }
    }
}

/// Faults, continuing and collapse map as much as they may, and nothing that has failed.
#[test]
fn entries_are_as_large_as_failures_let_them() {
    let huge = |size| Some(MapSize::Huge(size));
    let cases = [
        (HugeSize::K64, Some(MapSize::Page)),
        (HugeSize::M2, huge(HugeSize::K64)),
        (HugeSize::M32, huge(HugeSize::M2)),
        (HugeSize::G1, huge(HugeSize::M32)),
    ];
    for (size, largest) in cases {
        split_machine(size, Mapcount::MmOwner, Hgm::Sizes).boot(|mm, _| {
            let site = Site::new(mm, size);
            let bad = size.bytes() / 2 + 3 * PAGE_SIZE;
            site.fail(bad);
            // A fault in what is blank.
            site.advise(Advice::DontNeed).unwrap();
            assert_eq!(site.read(bad), Err(LOST));
            assert_eq!(site.mapped().0, size.bytes());
            assert_eq!(site.read(0), Ok(1));
            assert_eq!(site.mapped().1, largest, "{size}");
            assert_eq!(site.read(bad + PAGE_SIZE), Ok(0));
            site.check();
            // Continuing ends at what has failed.
            site.advise(Advice::DontNeed).unwrap();
            let range = |from: u64, to: u64| site.start.add(from)..site.start.add(to);
            let (done, why) = mm.continue_huge(&site.space, range(0, size.bytes()));
            assert_eq!((done, why), (bad, Err(ContinueError::Failed(site.start.add(bad)))), "{size}");
            assert_eq!(ContinueError::Failed(site.start).errno(), Errno::Io);
            // Nor is content brought there.
            let bring = |at: u64| mm.deliver(&site.file, at, &[0; 8]);
            assert_eq!((bring(bad), bring(bad + 8)), (Err(DeliverError::NoPage), Err(DeliverError::NoPage)));
            assert_eq!((bring(bad - 8), bring(bad + PAGE_SIZE)), (Ok(()), Ok(())));
            let rest = mm.continue_huge(&site.space, range(bad + PAGE_SIZE, size.bytes()));
            assert_eq!(rest, (size.bytes() - bad - PAGE_SIZE, Ok(())));
            assert_eq!(site.mapped(), (PAGE_SIZE, largest), "{size}");
            site.check();
            // Collapse leaves it out.
            site.advise(Advice::Collapse).unwrap();
            assert_eq!(site.mapped(), (PAGE_SIZE, largest), "{size}");
            site.check();
            site.advise(Advice::DontNeed).unwrap();
            site.advise(Advice::Collapse).unwrap();
            let (blank, found) = site.mapped();
            let expected = if size == HugeSize::K64 { None } else { largest };
            assert_eq!((blank, found), (HugeSize::K64.bytes(), expected), "{size}");
            assert_eq!(site.read(bad), Err(LOST));
            assert_eq!(site.read(bad - PAGE_SIZE), Ok(0));
            // Nor does the end of the permission map any of it.
            mm.punch_object(&site.file, 0..size.order().pages());
            assert_eq!(site.read(bad), Ok(0));
            site.advise(Advice::Collapse).unwrap();
            assert_eq!(site.mapped(), (0, huge(size)), "{size}: a new page");
            site.end(1);
        });
    }
}

/// With entries of 4 KiB and no others, the end of the permission maps no page of which a part has failed.
#[test]
fn the_end_of_small_pages_leaves_a_failed_page_out() {
    for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
        split_machine(size, Mapcount::MmOwner, Hgm::Pages).boot(|mm, _| {
            let site = Site::new(mm, size);
            site.fail(0);
            assert_eq!((site.read(0), site.read(PAGE_SIZE)), (Err(LOST), Ok(0)));
            site.advise(Advice::Collapse).unwrap();
            assert_eq!([0, PAGE_SIZE].map(|at| site.read(at)), [Err(lost(size)); 2], "{size}");
            site.end(1);
        });
    }
}

/// Where there is no memory for tables all of the page is unmapped, and faults map the rest again. Each allocation
/// fails once, and all from each on.
#[test]
fn without_tables_the_rest_comes_back() {
    for size in [HugeSize::M2, HugeSize::M32] {
        for failing in [inject::Failing::Once, inject::Failing::Onwards] {
            for k in 1.. {
                let mut done = false;
                split_machine(size, Mapcount::MmOwner, Hgm::Sizes).boot(|mm, _| {
                    let site = Site::new(mm, size);
                    let bad = 5 * PAGE_SIZE;
                    inject::fail(k, failing);
                    site.fail(bad);
                    let failed = inject::disarm();
                    done = !failed;
                    let all = mm.failed_frames() != 1;
                    assert_eq!(all, k == 1, "the first allocation is for the note");
                    let blank = site.mapped().0;
                    assert!(blank == PAGE_SIZE || (failed && blank == size.bytes()), "{size} {k}: {blank}");
                    assert_eq!(site.read(bad), Err(LOST));
                    assert_eq!(site.read(0), if all { Err(LOST) } else { Ok(1) });
                    site.end(if all { size.order().pages() } else { 1 });
                });
                if done {
                    break;
                }
            }
        }
    }
}
