//! A page, a space that maps it twice, and what is asked of both.

use arch::VirtAddr;
use mm::Mm;
use mm::config::{HvoStrategy, Mapcount, MmConfig};
use mm::fault::FaultReason;
use mm::hugetlb::HugeSize;
use mm::hugetlb::hgm::{ContinueError, HugetlbPte, MapSize, NotSplit, split_to_page};
use mm::kalloc::KArc;
use mm::pgtable::TableStock;
use mm::shmem::ObjectUse;
use mm::space::{AddressSpace, Advice, Errno, MapFlags, MapProt, MmapRequest};
use mm::testkit::Builder;

pub(super) const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const PAGE: MapSize = MapSize::Page;
pub(super) const K64: MapSize = MapSize::Huge(HugeSize::K64);
pub(super) const M2: MapSize = MapSize::Huge(HugeSize::M2);
pub(super) const M32: MapSize = MapSize::Huge(HugeSize::M32);
pub(super) const G1: MapSize = MapSize::Huge(HugeSize::G1);

pub(super) fn machine(size: HugeSize, mapcount: Mapcount) -> Builder {
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
pub(super) const OF_GIANTS: [Mapcount; 5] =
    [Mapcount::RfcV1Counted, Mapcount::ThpLike, Mapcount::Vmacount, Mapcount::VmaPt, Mapcount::MmOwner];

/// Each size with the ways of counting that are tried with it.
pub(super) fn all_ways() -> impl Iterator<Item = (HugeSize, Mapcount)> {
    let ways = |size| if size == HugeSize::G1 { &OF_GIANTS[..] } else { Mapcount::ALL };
    HugeSize::ALL.into_iter().flat_map(move |size| ways(size).iter().map(move |&mapcount| (size, mapcount)))
}

/// An object of hugetlb pages, all of which are there, and a space that maps it twice: where contents are written, and
/// where smaller entries are permitted.
pub(super) struct Site<'m> {
    pub(super) mm: &'m Mm,
    pub(super) size: HugeSize,
    pub(super) file: Option<ObjectUse>,
    pub(super) space: KArc<AddressSpace>,
    pub(super) plain: VirtAddr,
    pub(super) start: VirtAddr,
    pub(super) pages: u64,
}

impl<'m> Site<'m> {
    pub(super) fn new(mm: &'m Mm, size: HugeSize, pages: u64) -> Self {
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

    pub(super) fn at(&self, offset: u64) -> VirtAddr {
        self.start.add(offset)
    }
    /// Writes a byte through the plain mapping.
    pub(super) fn put(&self, offset: u64, byte: u8) {
        self.mm.write_user(&self.space, self.plain.add(offset), &[byte]).unwrap();
    }
    pub(super) fn read(&self, offset: u64) -> Result<u8, FaultReason> {
        let mut byte = [0];
        self.mm.read_user(&self.space, self.at(offset), &mut byte).map_err(|error| error.reason)?;
        Ok(byte[0])
    }
    pub(super) fn advise(&self, offset: u64, bytes: u64, advice: Advice) -> Result<(), Errno> {
        let result = self.mm.madvise(&self.space, self.at(offset).raw(), bytes, advice);
        result.map_err(|error| error.errno())
    }
    pub(super) fn go_on(&self, offset: u64, bytes: u64) -> (u64, Result<(), Errno>) {
        let (done, result) = self.mm.continue_huge(&self.space, self.at(offset)..self.at(offset + bytes));
        (done, result.map_err(ContinueError::errno))
    }
    /// The sizes of what maps a range, one after the other; `None`: nothing does.
    pub(super) fn sizes(&self, offset: u64, bytes: u64) -> Vec<Option<MapSize>> {
        let mut found = Vec::new();
        let mut va = self.at(offset);
        while va < self.at(offset + bytes) {
            let pte = HugetlbPte::at(&self.space.ptl.lock(), va, self.size, self.mm.config.contpte);
            found.push(pte.is_leaf().then_some(pte.size));
            va = pte.va.add(pte.size.bytes());
        }
        found
    }
    pub(super) fn split(&self, offset: u64) {
        self.try_split(offset).unwrap();
    }
    /// Splits what maps a place, as somebody does who comes from the page.
    pub(super) fn try_split(&self, offset: u64) -> Result<(), NotSplit> {
        let vma = self.space.vma_at(self.at(offset)).unwrap();
        let mut stock = TableStock::new(self.mm, 2).unwrap();
        let mut tree = self.space.ptl.lock();
        split_to_page(self.mm, &self.space, &vma, &mut tree, self.at(offset), &mut stock)
    }
    /// All counts and tables; of a page of 1 GiB only in the end.
    pub(super) fn check(&self) {
        if self.size != HugeSize::G1 {
            self.mm.check_all().unwrap();
        }
    }
    pub(super) fn end(mut self) {
        self.mm.check_all().unwrap();
        self.mm.destroy_space(&self.space);
        self.mm.close_object(self.file.take().unwrap());
        let counts = self.mm.hugetlb.counts(self.size);
        assert_eq!((counts.nr, counts.free, counts.reserved), (self.pages, self.pages, 0));
        self.mm.check_all().unwrap();
        assert_eq!(self.mm.hugetlb.set_nr(self.mm, self.size, 0).persistent, 0);
    }
}

pub(super) fn some<const N: usize>(sizes: [MapSize; N]) -> Vec<Option<MapSize>> {
    sizes.map(Some).to_vec()
}
