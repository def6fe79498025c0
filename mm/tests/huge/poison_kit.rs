//! What the tests of memory failure share.

use arch::Pfn;
use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::fault::FaultReason;
use mm::hugetlb::{Counts, HugeSize};
use mm::kalloc::KArc;
use mm::page::{PageKind, page_of};
use mm::report::pagemap;
use mm::shmem::ObjectUse;
use mm::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use mm::testkit::Builder;

pub(crate) const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
pub(crate) const SMALL: [HugeSize; 3] = [HugeSize::K64, HugeSize::M2, HugeSize::M32];

pub(crate) fn machine(size: HugeSize) -> Builder {
    let mib = match size {
        HugeSize::K64 | HugeSize::M2 => 32,
        HugeSize::M32 => 256,
        HugeSize::G1 => 4 << 10,
    };
    Builder::new().ram_mib(mib)
}

pub(crate) fn grow(mm: &Mm, size: HugeSize, pages: u64) {
    assert_eq!(mm.hugetlb.set_nr(mm, size, pages).persistent, pages, "{size}");
}

pub(crate) fn counts(nr: u64, free: u64, reserved: u64) -> Counts {
    Counts { nr, free, reserved, surplus: 0, overcommit: 0 }
}

pub(crate) fn private(size: HugeSize, pages: u64) -> MmapRequest {
    let huge = MapFlags::HUGETLB | MapFlags::from_bits_retain(size.bytes().ilog2() << 26);
    MmapRequest::anonymous(pages * size.bytes(), RW).with(huge)
}

pub(crate) fn shared(size: HugeSize, pages: u64) -> MmapRequest {
    MmapRequest { flags: MapFlags::SHARED, ..MmapRequest::anonymous(pages * size.bytes(), RW) }
}

pub(crate) fn object(mm: &Mm, size: HugeSize, pages: u64) -> ObjectUse {
    let object = mm.new_named_object(b"test", Some(size)).unwrap();
    mm.truncate_object(&object, pages * size.bytes()).unwrap();
    object
}

pub(crate) fn read(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> Result<u8, FaultReason> {
    let mut byte = [0];
    mm.read_user(space, va, &mut byte).map_err(|error| error.reason)?;
    Ok(byte[0])
}

pub(crate) fn write(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr, byte: u8) -> Result<(), FaultReason> {
    mm.write_user(space, va, &[byte]).map_err(|error| error.reason)
}

/// The frame that is mapped at `va`.
pub(crate) fn frame(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> Pfn {
    let mut word = [0];
    mm.read_pagemap(space, va.raw() / PAGE_SIZE, &mut word);
    assert!(word[0] & pagemap::PRESENT != 0, "nothing is mapped at {va}");
    Pfn::new(word[0] & pagemap::PFN)
}

pub(crate) fn lost(size: HugeSize) -> FaultReason {
    FaultReason::MemoryFailure { lsb: size.bytes().ilog2() as u8 }
}

pub(crate) fn is_retired(pfn: Pfn) -> bool {
    page_of(pfn).kind() == PageKind::Failed
}

/// Of `before` free pages these have failed, and HVO may keep two: a table, and the page of shared tails.
pub(crate) fn assert_missing(mm: &Mm, before: u64, failed: u64) {
    let kept = before - mm.free_page_count() - failed;
    assert!(kept <= 2, "{kept} pages are missing beside {failed} that failed");
}

pub(crate) fn kpageflags(mm: &Mm, pfn: Pfn) -> u64 {
    let mut word = [0];
    mm.read_kpageflags(pfn.raw(), &mut word);
    word[0]
}
