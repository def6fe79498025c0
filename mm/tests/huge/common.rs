//! What the tests of hugetlb and HVO share: machines, what is done with pages of any size, and frozen folios.

use arch::features::{BbmLevel, Features};
use arch::model::{MachineDesc, try_kernel_access};
use arch::{Access, Machine, Order, PhysMem, VirtAddr};
use mm::Mm;
use mm::config::{HvoStrategy, Mapcount, MmConfig, TailEncoding, VmemmapMap};
use mm::fault::FaultReason;
use mm::hugetlb::{Counts, HugeSize};
use mm::hvo::choice::{BEST_FIRST, fit};
use mm::hvo::{VmemmapEntry, describe};
use mm::kalloc::KArc;
use mm::page::{FolioRef, PageKind, PageRef};
use mm::shmem::ObjectUse;
use mm::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use mm::testkit::Builder;

pub(crate) const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// A machine on which two pages of this size, and one more in one piece, are to be had.
pub(crate) fn machine(size: HugeSize) -> Builder {
    let mib = match size {
        HugeSize::K64 | HugeSize::M2 => 32,
        HugeSize::M32 => 256,
        HugeSize::G1 => 5 << 10,
    };
    Builder::new().ram_mib(mib)
}

/// The same, in this way of counting; without HVO, which not all ways go with.
pub(crate) fn counting(size: HugeSize, mapcount: Mapcount) -> Builder {
    machine(size).config(|config| (config.mapcount, config.hvo) = (mapcount, HvoStrategy::Off))
}

/// Gives the pool of this size so many pages.
pub(crate) fn grow(mm: &Mm, size: HugeSize, pages: u64) {
    assert_eq!(mm.hugetlb.set_nr(mm, size, pages).persistent, pages, "{size}");
}

/// The numbers of a pool without surplus.
pub(crate) fn counts(nr: u64, free: u64, reserved: u64) -> Counts {
    Counts { nr, free, reserved, surplus: 0, overcommit: 0 }
}

/// The flags of MAP_HUGETLB for a size.
pub(crate) fn flags(size: HugeSize) -> MapFlags {
    MapFlags::HUGETLB | MapFlags::from_bits_retain(size.bytes().ilog2() << 26)
}

/// Maps private pages.
pub(crate) fn map(mm: &Mm, space: &KArc<AddressSpace>, size: HugeSize, pages: u64) -> VirtAddr {
    let request = MmapRequest::anonymous(pages * size.bytes(), RW).with(flags(size));
    mm.mmap(space, &request).unwrap()
}

/// An object of so many pages.
pub(crate) fn object(mm: &Mm, size: HugeSize, pages: u64) -> ObjectUse {
    let object = mm.new_named_object(b"test", Some(size)).unwrap();
    mm.truncate_object(&object, pages * size.bytes()).unwrap();
    object
}

/// A request for a shared mapping of so many pages of an object, from page `first` on.
pub(crate) fn of_object(size: HugeSize, first: u64, pages: u64) -> MmapRequest {
    let anonymous = MmapRequest::anonymous(pages * size.bytes(), RW);
    MmapRequest { flags: MapFlags::SHARED, offset: first * size.bytes(), ..anonymous }
}

/// A request for a private mapping of so many pages of an object, from page `first` on.
pub(crate) fn private(size: HugeSize, first: u64, pages: u64) -> MmapRequest {
    MmapRequest { flags: MapFlags::PRIVATE, ..of_object(size, first, pages) }
}

/// Maps an object.
pub(crate) fn map_object(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    file: &ObjectUse,
    request: &MmapRequest,
) -> VirtAddr {
    mm.mmap_object(space, request, file).unwrap()
}

/// The byte that the user loads from there.
pub(crate) fn read(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> u8 {
    let mut byte = [0];
    mm.read_user(space, va, &mut byte).unwrap();
    byte[0]
}

/// The user stores a byte there.
pub(crate) fn write(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr, byte: u8) -> Result<(), FaultReason> {
    mm.write_user(space, va, &[byte]).map_err(|error| error.reason)
}

/// One machine and its boot choices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) vmemmap: VmemmapMap,
    pub(crate) tails: TailEncoding,
    pub(crate) bbm: BbmLevel,
    pub(crate) hvo: HvoStrategy,
}

pub(crate) const LEVELS: [BbmLevel; 4] =
    [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2, BbmLevel::Level3];

impl Variant {
    /// Each strategy, with each way to map vmemmap and each encoding, at each level of FEAT_BBM where it can be had.
    pub(crate) fn all() -> impl Iterator<Item = Variant> {
        LEVELS.into_iter().flat_map(Self::at)
    }

    /// As [`Self::all`], at one level.
    pub(crate) fn at(bbm: BbmLevel) -> impl Iterator<Item = Variant> {
        let features = Features { bbm, ..Features::BASE };
        let maps = VmemmapMap::ALL.iter().flat_map(|&vmemmap| {
            TailEncoding::ALL.iter().map(move |&tails| MmConfig { vmemmap, tails, ..MmConfig::default() })
        });
        maps.flat_map(move |config| {
            let fits =
                BEST_FIRST.into_iter().filter(move |&strategy| fit(strategy, &config, &features).is_ok());
            fits.map(move |hvo| Variant { vmemmap: config.vmemmap, tails: config.tails, bbm, hvo })
        })
    }

    /// Each way to map vmemmap with each encoding, and the strategy that a boot would choose at FEAT_BBM 0.
    pub(crate) fn defaults() -> impl Iterator<Item = Variant> {
        let first = |at: &Variant| Self::at(at.bbm).find(|v| (v.vmemmap, v.tails) == (at.vmemmap, at.tails));
        Self::at(BbmLevel::Level0).filter(move |at| first(at).is_some_and(|best| best.hvo == at.hvo))
    }

    /// A machine of 32 MiB and two vCPUs.
    pub(crate) fn builder(self) -> Builder {
        let set_bbm = |desc: &mut MachineDesc| desc.features.bbm = self.bbm;
        Builder::new().ram_mib(32).machine(set_bbm).config(|config| {
            config.vmemmap = self.vmemmap;
            config.tails = self.tails;
            config.hvo = self.hvo;
        })
    }

    /// Pages that HVO keeps once a folio was optimised: the table of a split, the shared page.
    pub(crate) fn kept_pages(self) -> u64 {
        u64::from(self.vmemmap == VmemmapMap::Pmd) + u64::from(self.tails == TailEncoding::Mask)
    }
}

/// A frozen hugetlb folio that is in no pool; the test gives it back by [`give_back`].
pub(crate) fn folio(mm: &Mm) -> FolioRef {
    let head = mm.alloc_pages(Order::PMD, PageKind::Hugetlb).unwrap();
    head.prep_compound(PageKind::Hugetlb, Order::PMD, mm.config.tails);
    assert!(head.freeze(1));
    head
}

/// Gives a folio that is not optimised back to the buddy allocator.
pub(crate) fn give_back(mm: &Mm, head: FolioRef) {
    mm.free_pages(head, Order::PMD);
}

/// What a reader of vmemmap finds at the folio's struct pages, a page of vmemmap at a time.
pub(crate) fn contents(mm: &Mm, head: PageRef) -> [Vec<u8>; 8] {
    describe(mm, head.pfn()).map(|entry| {
        let mut bytes = vec![0; 4096];
        Machine::read_bytes(entry.output().unwrap(), &mut bytes);
        bytes
    })
}

/// Whether a store to this address of vmemmap succeeds.
pub(crate) fn is_writable(va: VirtAddr) -> bool {
    try_kernel_access(va, Access::Write).is_ok()
}

/// Whether this vmemmap page is mapped at level 3, read-only.
pub(crate) fn is_shared(entry: &VmemmapEntry) -> bool {
    entry.level == arch::Level::L3 && entry.flags().contains(arch::pte::PteFlags::READ_ONLY)
}
