//! What the tests of hugetlb and HVO share: the variants of the machine, and frozen folios.

use arch::features::BbmLevel;
use arch::model::{MachineDesc, try_kernel_access};
use arch::{Access, Machine, Order, PhysMem, VirtAddr};
use mm::Mm;
use mm::config::{TailEncoding, VmemmapMap};
use mm::hvo::{VmemmapEntry, describe};
use mm::page::{FolioRef, PageKind, PageRef};
use mm::testkit::Builder;

/// One machine and its boot choices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    pub(crate) vmemmap: VmemmapMap,
    pub(crate) tails: TailEncoding,
    pub(crate) bbm: BbmLevel,
}

impl Variant {
    /// Each way to map vmemmap, with each encoding, at FEAT_BBM 0 to 2.
    pub(crate) fn all() -> impl Iterator<Item = Variant> {
        let levels = [BbmLevel::Level0, BbmLevel::Level1, BbmLevel::Level2];
        VmemmapMap::ALL.iter().flat_map(move |&vmemmap| {
            TailEncoding::ALL
                .iter()
                .flat_map(move |&tails| levels.into_iter().map(move |bbm| Variant { vmemmap, tails, bbm }))
        })
    }

    /// A machine of 32 MiB and two vCPUs.
    pub(crate) fn builder(self) -> Builder {
        let set_bbm = |desc: &mut MachineDesc| desc.features.bbm = self.bbm;
        Builder::new().ram_mib(32).machine(set_bbm).config(|config| {
            config.vmemmap = self.vmemmap;
            config.tails = self.tails;
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
