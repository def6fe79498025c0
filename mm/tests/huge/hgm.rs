//! High-granularity mapping: hugetlb pages that stay one folio, mapped by entries of any smaller size.

use arch::contract::Cpu;
use arch::model::{Job, MachineDesc, run_on_cpus};
use arch::{Machine, VirtAddr};
use mm::Mm;
use mm::config::{Hgm, HvoStrategy, Mapcount, MmConfig};
use mm::fault::FaultReason;
use mm::hugetlb::hgm::{ContinueError, HugetlbPte, MapSize, NotSplit, split_to_page};
use mm::hugetlb::{HugeSize, take_spare};
use mm::kalloc::KArc;
use mm::pgtable::TableStock;
use mm::report::Reading;
use mm::rmap::{MoveWhat, migrate_folio};
use mm::shmem::ObjectUse;
use mm::space::{AddressSpace, Advice, Errno, MapFlags, MapProt, MmapRequest, MremapRequest, RemapFlags};
use mm::stats::Counter;
use mm::testkit::{Builder, fail_every_allocation};

const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const PAGE: MapSize = MapSize::Page;
const K64: MapSize = MapSize::Huge(HugeSize::K64);
const M2: MapSize = MapSize::Huge(HugeSize::M2);
const M32: MapSize = MapSize::Huge(HugeSize::M32);
const G1: MapSize = MapSize::Huge(HugeSize::G1);

fn machine(size: HugeSize, mapcount: Mapcount) -> Builder {
    let mib = match size {
        HugeSize::K64 | HugeSize::M2 => 32,
        HugeSize::M32 => 128,
        HugeSize::G1 => 2 << 10 | 128,
    };
    let choices = move |config: &mut MmConfig| (config.mapcount, config.hvo) = (mapcount, HvoStrategy::Off);
    Builder::new().ram_mib(mib).config(choices)
}

/// The ways of counting that are tried with a page of 1 GiB, of which a full check takes long: each that counts where
/// entries stand, or each page, and one of the others.
const OF_GIANTS: [Mapcount; 5] =
    [Mapcount::RfcV1Counted, Mapcount::ThpLike, Mapcount::Vmacount, Mapcount::VmaPt, Mapcount::MmOwner];

/// Each size with the ways of counting that are tried with it.
fn all_ways() -> impl Iterator<Item = (HugeSize, Mapcount)> {
    let ways = |size| if size == HugeSize::G1 { &OF_GIANTS[..] } else { Mapcount::ALL };
    HugeSize::ALL.into_iter().flat_map(move |size| ways(size).iter().map(move |&mapcount| (size, mapcount)))
}

/// An object of hugetlb pages, all of which are there, and a space that maps it twice: where contents are written, and
/// where smaller entries are permitted.
struct Site<'m> {
    mm: &'m Mm,
    size: HugeSize,
    file: Option<ObjectUse>,
    space: KArc<AddressSpace>,
    plain: VirtAddr,
    start: VirtAddr,
    pages: u64,
}

impl<'m> Site<'m> {
    fn new(mm: &'m Mm, size: HugeSize, pages: u64) -> Self {
        assert_eq!(mm.hugetlb.set_nr(mm, size, pages).persistent, pages, "{size}");
        let file = mm.new_named_object(b"hgm", Some(size)).unwrap();
        mm.truncate_object(&file, pages * size.bytes()).unwrap();
        let space = mm.new_space().unwrap();
        let request =
            MmapRequest { flags: MapFlags::SHARED, ..MmapRequest::anonymous(pages * size.bytes(), RW) };
        let plain = mm.mmap_object(&space, &request, &file).unwrap();
        let start = mm.mmap_object(&space, &request, &file).unwrap();
        let site = Site { mm, size, file: Some(file), space, plain, start, pages };
        (0..pages).for_each(|page| site.put(page * size.bytes(), 1));
        site.advise(0, pages * size.bytes(), Advice::Split).unwrap();
        site
    }

    fn at(&self, offset: u64) -> VirtAddr {
        self.start.add(offset)
    }
    /// Writes a byte through the plain mapping.
    fn put(&self, offset: u64, byte: u8) {
        self.mm.write_user(&self.space, self.plain.add(offset), &[byte]).unwrap();
    }
    fn read(&self, offset: u64) -> Result<u8, FaultReason> {
        let mut byte = [0];
        self.mm.read_user(&self.space, self.at(offset), &mut byte).map_err(|error| error.reason)?;
        Ok(byte[0])
    }
    fn advise(&self, offset: u64, bytes: u64, advice: Advice) -> Result<(), Errno> {
        let result = self.mm.madvise(&self.space, self.at(offset).raw(), bytes, advice);
        result.map_err(|error| error.errno())
    }
    fn go_on(&self, offset: u64, bytes: u64) -> (u64, Result<(), Errno>) {
        let (done, result) = self.mm.continue_huge(&self.space, self.at(offset)..self.at(offset + bytes));
        (done, result.map_err(ContinueError::errno))
    }
    /// The sizes of what maps a range, one after the other; `None`: nothing does.
    fn sizes(&self, offset: u64, bytes: u64) -> Vec<Option<MapSize>> {
        let mut found = Vec::new();
        let mut va = self.at(offset);
        while va < self.at(offset + bytes) {
            let pte = HugetlbPte::at(&self.space.ptl.lock(), va, self.size, self.mm.config.contpte);
            found.push(pte.is_leaf().then_some(pte.size));
            va = pte.va.add(pte.size.bytes());
        }
        found
    }
    fn split(&self, offset: u64) {
        self.try_split(offset).unwrap();
    }
    /// Splits what maps a place, as somebody does who comes from the page.
    fn try_split(&self, offset: u64) -> Result<(), NotSplit> {
        let vma = self.space.vma_at(self.at(offset)).unwrap();
        let mut stock = TableStock::new(self.mm, 2).unwrap();
        let mut tree = self.space.ptl.lock();
        split_to_page(self.mm, &self.space, &vma, &mut tree, self.at(offset), &mut stock)
    }
    /// All counts and tables; of a page of 1 GiB only in the end.
    fn check(&self) {
        if self.size != HugeSize::G1 {
            self.mm.check_all().unwrap();
        }
    }
    fn end(mut self) {
        self.mm.check_all().unwrap();
        self.mm.destroy_space(&self.space);
        self.mm.close_object(self.file.take().unwrap());
        let counts = self.mm.hugetlb.counts(self.size);
        assert_eq!((counts.nr, counts.free, counts.reserved), (self.pages, self.pages, 0));
        self.mm.check_all().unwrap();
        assert_eq!(self.mm.hugetlb.set_nr(self.mm, self.size, 0).persistent, 0);
    }
}

fn some<const N: usize>(sizes: [MapSize; N]) -> Vec<Option<MapSize>> {
    sizes.map(Some).to_vec()
}

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

/// What is mapped by entries of several sizes goes through fork, mprotect, mremap, a move of its folio, MADV_DONTNEED,
/// truncation and munmap, in every way of counting.
#[test]
fn every_call_meets_entries_of_several_sizes() {
    let of_giants = [Mapcount::RfcV1Counted, Mapcount::VmaPt];
    let few = |way: &(HugeSize, Mapcount)| way.0 != HugeSize::G1 || of_giants.contains(&way.1);
    for (size, mapcount) in all_ways().filter(few) {
        let ram = if size == HugeSize::G1 { 3 << 10 | 128 } else { 256 };
        machine(size, mapcount).ram_mib(ram).boot(|mm, _| {
            let site = Site::new(mm, size, 2);
            let bytes = size.bytes();
            let populate = || {
                site.go_on(bytes + 4 * KIB, 8 * KIB).1.unwrap();
                site.go_on(bytes + bytes / 2, bytes / 2).1.unwrap();
            };
            populate();
            let before = site.sizes(bytes, bytes);
            let child = mm.fork_space(&site.space).unwrap();
            mm.write_user(&child, site.at(bytes + 6 * KIB), &[6]).unwrap();
            assert_eq!(site.read(bytes + 6 * KIB), Ok(6));
            site.check();
            mm.destroy_space(&child);
            mm.mprotect(&site.space, site.at(bytes).raw(), bytes, MapProt::READ).unwrap();
            let refused = mm.write_user(&site.space, site.at(bytes + 6 * KIB), &[7]).unwrap_err();
            assert_eq!(refused.reason, FaultReason::Rights);
            site.check();
            mm.mprotect(&site.space, site.at(bytes).raw(), bytes, RW).unwrap();
            for at in [6 * KIB, bytes - 1] {
                mm.write_user(&site.space, site.at(bytes + at), &[7]).unwrap();
            }
            assert_eq!(site.sizes(bytes, bytes), before, "{size} {mapcount}");
            site.check();
            // To another place and back.
            let there = VirtAddr::new(0x7000_0000_0000);
            let (old, new) = (site.at(bytes).raw(), there.raw());
            let flags = RemapFlags::MAYMOVE | RemapFlags::FIXED;
            for (from, to) in [(old, new), (new, old)] {
                let request =
                    MremapRequest { addr: from, old_len: bytes, new_len: bytes, flags, new_addr: to };
                mm.mremap(&site.space, &request).unwrap();
                site.check();
            }
            assert_eq!((site.sizes(bytes, bytes), site.read(2 * bytes - 1)), (before, Ok(7)));
            site.advise(bytes, bytes, Advice::DontNeed).unwrap();
            assert!(site.sizes(bytes, bytes).iter().all(Option::is_none));
            populate();
            site.check();
            let file = site.file.as_ref().unwrap();
            mm.truncate_object(file, bytes).unwrap();
            assert_eq!(site.read(bytes + 6 * KIB), Err(FaultReason::BeyondObject));
            site.check();
            mm.truncate_object(file, 2 * bytes).unwrap();
            site.put(bytes, 2);
            site.go_on(bytes, 4 * KIB).1.unwrap();
            assert_eq!(site.read(bytes), Ok(2));
            mm.munmap(&site.space, site.at(bytes).raw(), bytes).unwrap();
            site.end();
        });
    }
}

/// A page that is mapped by entries of several sizes moves to another of the pool, and all entries follow.
#[test]
fn a_page_by_pieces_moves() {
    for &mapcount in Mapcount::ALL {
        for size in [HugeSize::K64, HugeSize::M2, HugeSize::M32] {
            machine(size, mapcount).boot(|mm, _| {
                let site = Site::new(mm, size, 1);
                assert_eq!(mm.hugetlb.set_nr(mm, size, 2).persistent, 2);
                site.put(12 * KIB, 8);
                site.go_on(8 * KIB, 8 * KIB).1.unwrap();
                site.go_on(size.bytes() / 2, size.bytes() / 2).1.unwrap();
                let before = site.sizes(0, size.bytes());
                let old = site.file.as_ref().unwrap().page(0).unwrap();
                let target = take_spare(mm, size, |_| true).unwrap();
                let folio = mm.try_get_folio(old.pfn()).unwrap();
                migrate_folio(mm, folio, target, MoveWhat::All).unwrap();
                assert_ne!(site.file.as_ref().unwrap().page(0), Some(old));
                assert_eq!(site.sizes(0, size.bytes()), before, "{size} {mapcount}");
                assert_eq!(site.read(12 * KIB), Ok(8));
                mm.check_all().unwrap();
                assert_eq!(mm.hugetlb.set_nr(mm, size, 1).persistent, 1);
                site.end();
            });
        }
    }
}

/// Who asks wrongly is told Linux's error, and nothing changes: MADV_SPLIT of private or other memory, of a part of a
/// page, of a hole; collapse where nothing was permitted, or of a hole; continuing of what is mapped, absent, unaligned
/// or no shared hugetlb memory.
#[test]
fn wrong_requests() {
    let size = HugeSize::M2;
    machine(size, Mapcount::MmOwner).boot(|mm, _| {
        let site = Site::new(mm, size, 2);
        let space = &site.space;
        let errno = |va: VirtAddr, bytes: u64, advice| {
            mm.madvise(space, va.raw(), bytes, advice).map_err(|error| error.errno())
        };
        let anonymous = mm.mmap(space, &MmapRequest::anonymous(4 * MIB, RW)).unwrap();
        assert_eq!(errno(anonymous, 2 * MIB, Advice::Split), Err(Errno::Inval));
        assert_eq!(mm.hugetlb.set_nr(mm, size, 3).persistent, 3);
        let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::HUGETLB;
        let private = mm.mmap(space, &MmapRequest { flags, ..MmapRequest::anonymous(2 * MIB, RW) }).unwrap();
        assert_eq!(errno(private, 2 * MIB, Advice::Split), Err(Errno::Inval));
        assert_eq!(errno(private, 2 * MIB, Advice::Collapse), Err(Errno::Inval));
        assert_eq!(errno(site.plain, 2 * MIB, Advice::Collapse), Err(Errno::Inval));
        assert_eq!(errno(site.plain.add(4096), MIB, Advice::Split), Err(Errno::Inval));
        assert_eq!(errno(site.plain, 2 * MIB + 4096, Advice::Split), Err(Errno::Inval));
        assert_eq!(errno(site.plain.add(1), 2 * MIB, Advice::Split), Err(Errno::Inval));
        mm.munmap(space, site.at(2 * MIB).raw(), 2 * MIB).unwrap();
        site.go_on(0, 4096).1.unwrap();
        assert_eq!(site.advise(0, 4 * MIB, Advice::Collapse), Err(Errno::NoMem));
        assert_eq!(site.sizes(0, 2 * MIB), some([M2]), "what lies below a hole is done");
        assert_eq!(site.advise(0, 4 * MIB, Advice::Split), Err(Errno::NoMem));
        site.advise(0, 2 * MIB, Advice::DontNeed).unwrap();

        site.go_on(8 * KIB, 4 * KIB).1.unwrap();
        assert_eq!(site.go_on(0, 16 * KIB), (8 * KIB, Err(Errno::Exist)));
        assert_eq!(site.go_on(0, 0), (0, Err(Errno::Inval)));
        assert_eq!(site.go_on(1, 4 * KIB), (0, Err(Errno::Inval)));
        assert_eq!(site.go_on(0, 3 * MIB), (0, Err(Errno::NoEnt)));
        assert_eq!(site.go_on(2 * MIB, 4 * KIB), (0, Err(Errno::NoEnt)));
        let of =
            |va: VirtAddr, bytes| mm.continue_huge(space, va..va.add(bytes)).1.map_err(ContinueError::errno);
        assert_eq!(of(anonymous, 4 * KIB), Err(Errno::NoEnt));
        assert_eq!(of(private, 2 * MIB), Err(Errno::NoEnt));
        assert_eq!(of(site.plain, 4 * KIB), Err(Errno::Inval), "whole pages where nothing is permitted");
        mm.madvise(space, site.plain.raw(), 2 * MIB, Advice::Remove).unwrap();
        assert_eq!(site.go_on(0, 4 * KIB), (0, Err(Errno::Fault)));
        assert_eq!(of(site.plain, 2 * MIB), Err(Errno::Fault));
        mm.check_all().unwrap();
        mm.munmap(space, private.raw(), 2 * MIB).unwrap();
        assert_eq!(mm.hugetlb.set_nr(mm, size, 2).persistent, 2);
        site.end();
    });
}

/// `hgm=off` knows no MADV_SPLIT.
#[test]
fn without_the_choice_the_advice_is_not_known() {
    let size = HugeSize::M2;
    machine(size, Mapcount::MmOwner).config(|config| config.hgm = Hgm::Off).boot(|mm, _| {
        let flags = MapFlags::SHARED | MapFlags::ANONYMOUS | MapFlags::HUGETLB;
        assert_eq!(mm.hugetlb.set_nr(mm, size, 1).persistent, 1);
        let space = mm.new_space().unwrap();
        let start = mm.mmap(&space, &MmapRequest { flags, ..MmapRequest::anonymous(2 * MIB, RW) }).unwrap();
        let refused = mm.madvise(&space, start.raw(), 2 * MIB, Advice::Split).unwrap_err();
        assert_eq!(refused.errno(), Errno::Inval);
        mm.destroy_space(&space);
    });
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

/// smaps of a page that one process maps by two entries: private, where the way of counting can tell one process from
/// several.
#[test]
fn smaps_of_a_page_by_pieces() {
    for &mapcount in Mapcount::ALL {
        let size = HugeSize::M2;
        machine(size, mapcount).boot(|mm, _| {
            let site = Site::new(mm, size, 1);
            mm.munmap(&site.space, site.plain.raw(), size.bytes()).unwrap();
            site.go_on(4 * KIB, 8 * KIB).1.unwrap();
            let sizes = || mm.sizes(&site.space, site.start, site.at(size.bytes()), Reading::Locked);
            let cannot_tell = matches!(mapcount, Mapcount::RfcV2 | Mapcount::TotalMapped);
            let (private, shared) = if cannot_tell { (0, 8 * KIB) } else { (8 * KIB, 0) };
            let found = sizes();
            assert_eq!((found.private_hugetlb, found.shared_hugetlb), (private, shared), "{mapcount}");
            let child = mm.fork_space(&site.space).unwrap();
            mm.write_user(&child, site.at(4 * KIB), &[1]).unwrap();
            assert_ne!(sizes().shared_hugetlb, 0, "{mapcount}");
            mm.destroy_space(&child);
            site.end();
        });
    }
}

/// The flaw of `rfc-v1`: truncation zaps the leaves, and the count stays with the table; the proposed mark repairs it.
#[test]
fn truncation_strands_a_count_of_rfc_v1() {
    for (mapcount, stranded) in [(Mapcount::RfcV1, 1), (Mapcount::RfcV1Counted, 0), (Mapcount::RfcV2, 0)] {
        machine(HugeSize::G1, mapcount).boot(|mm, _| {
            let site = Site::new(mm, HugeSize::G1, 1);
            mm.munmap(&site.space, site.plain.raw(), 1 << 30).unwrap();
            site.go_on(0, 64 * KIB).1.unwrap();
            site.go_on(2 * MIB, 2 * MIB).1.unwrap();
            mm.truncate_object(site.file.as_ref().unwrap(), 0).unwrap();
            assert_eq!(mm.stats.get(Counter::MapcountStranded), stranded, "{mapcount}");
            site.end();
        });
    }
}

/// Faults, continuing, collapse, MADV_DONTNEED, fork, truncation, and splits by somebody who comes from the page without
/// M, all of one page at once: nobody loses a reference, a mapping, a table or a byte.
#[test]
fn all_at_once() {
    for (size, mapcount) in [
        (HugeSize::K64, Mapcount::MmOwner),
        (HugeSize::M2, Mapcount::RfcV1Counted),
        (HugeSize::M2, Mapcount::ThpLike),
        (HugeSize::M2, Mapcount::VmaPt),
        (HugeSize::M32, Mapcount::TotalMapped),
    ] {
        for seed in 0..8 {
            let seeded = |desc: &mut MachineDesc| desc.seed = seed;
            machine(size, mapcount).cpus(4).machine(seeded).boot(|mm, _| {
                let site = Site::new(mm, size, 1);
                let (bytes, site) = (size.bytes(), &site);
                let places = [0, 4 * KIB, 8 * KIB, bytes / 2, bytes - 4 * KIB];
                let touch: Job<'_> = Box::new(move || {
                    for at in places.into_iter().cycle().take(15) {
                        // While the page is on its way back to the pool, there is none.
                        let read = site.read(at);
                        let may_fail = [FaultReason::BeyondObject, FaultReason::HugetlbEmpty];
                        assert!(read.map_or_else(|why| may_fail.contains(&why), |byte| byte <= 1));
                        Machine::relax();
                    }
                });
                let go_on: Job<'_> = Box::new(move || {
                    for (at, length) in
                        [(4 * KIB, 4 * KIB), (bytes / 2, bytes / 2), (0, bytes), (8 * KIB, 8 * KIB)]
                    {
                        let (done, _) = site.go_on(at, length);
                        assert!(done <= length);
                        Machine::relax();
                    }
                });
                let change: Job<'_> = Box::new(move || {
                    for round in 0..4 {
                        site.advise(0, 64 * KIB, Advice::Collapse).unwrap();
                        site.advise(0, bytes, Advice::Collapse).unwrap();
                        if round % 2 == 0 {
                            site.advise(0, bytes, Advice::DontNeed).unwrap();
                        }
                        let child = mm.fork_space(&site.space).unwrap();
                        mm.destroy_space(&child);
                    }
                });
                let shake: Job<'_> = Box::new(move || {
                    let file = site.file.as_ref().unwrap();
                    for round in 0..6 {
                        let _ = site.try_split(places[round % places.len()]);
                        if round == 3 {
                            mm.truncate_object(file, 0).unwrap();
                            mm.truncate_object(file, bytes).unwrap();
                        }
                        Machine::relax();
                    }
                });
                run_on_cpus(vec![touch, go_on, change, shake]);
                mm.check_all().unwrap();
            });
        }
    }
}

/// Whichever allocation fails while a page is continued by pieces, split and collapsed: the error is ENOMEM, nothing is
/// lost, and what was done counts.
#[test]
fn every_allocation_may_fail() {
    let size = HugeSize::M2;
    let failed = fail_every_allocation(
        &machine(size, Mapcount::RfcV1Counted),
        |mm| assert_eq!(mm.hugetlb.set_nr(mm, size, 1).persistent, 1),
        |mm, ()| by_pieces(mm, size),
    );
    assert!(failed >= 8, "{failed}: object, space, lists, tables");
}

fn by_pieces(mm: &Mm, size: HugeSize) -> Result<(), Errno> {
    let result = with_object(mm, size);
    let counts = mm.hugetlb.counts(size);
    assert_eq!((counts.nr, counts.free, counts.reserved), (1, 1, 0));
    assert_eq!(mm.hugetlb.set_nr(mm, size, 0).persistent, 0);
    result
}

fn with_object(mm: &Mm, size: HugeSize) -> Result<(), Errno> {
    let file = mm.new_huge_object(size, size.bytes()).map_err(|_| Errno::NoMem)?;
    let result = mm.new_space().map_err(|_| Errno::NoMem).and_then(|space| {
        let result = continue_and_collapse(mm, size, &file, &space);
        mm.check_all().unwrap();
        mm.destroy_space(&space);
        result
    });
    mm.close_object(file);
    result
}

fn continue_and_collapse(
    mm: &Mm,
    size: HugeSize,
    file: &ObjectUse,
    space: &KArc<AddressSpace>,
) -> Result<(), Errno> {
    let request = MmapRequest { flags: MapFlags::SHARED, ..MmapRequest::anonymous(size.bytes(), RW) };
    let errno = |error: mm::space::MmapError| error.errno();
    let start = mm.mmap_object(space, &request, file).map_err(errno)?;
    mm.write_user(space, start.add(9), &[1]).map_err(|_| Errno::NoMem)?;
    mm.madvise(space, start.raw(), size.bytes(), Advice::DontNeed).map_err(errno)?;
    mm.madvise(space, start.raw(), size.bytes(), Advice::Split).map_err(|_| Errno::NoMem)?;
    mm.continue_huge(space, start.add(4 * KIB)..start.add(8 * KIB)).1.map_err(ContinueError::errno)?;
    mm.madvise(space, start.raw(), 64 * KIB, Advice::Collapse).map_err(errno)?;
    mm.check_all().unwrap();
    mm.madvise(space, start.raw(), size.bytes(), Advice::Collapse).map_err(errno)
}
