//! Pages of a space under laws, and the calls that change them.
#![forbid(unsafe_code)]

use core::fmt;
use std::ops::Range;

use arch::addr::PAGE_SIZE;
use arch::contract::Cpu;
use arch::{Machine, VirtAddr};

use super::law::{Contents, Law, Laws};
use crate::Mm;
use crate::hugetlb::HugeSize;
use crate::kalloc::KArc;
use crate::shmem::Object;
use crate::space::{
    AddressSpace, Advice, MapFlags, MapProt, MmapError, MmapRequest, MremapRequest, RemapFlags,
};

/// Read and write.
pub(super) const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// What an area is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Pages of 4 KiB, as far as the user can tell.
    Anon,
    /// The heap: anonymous, and only brk maps and unmaps it.
    Heap,
    /// hugetlb pages of this size, each promised at mmap.
    Promised(HugeSize),
    /// hugetlb pages of this size that are had as long as the pool has any.
    Loose(HugeSize),
    /// An object, from its first page on, by MAP_SHARED.
    Shared,
    /// The same by MAP_PRIVATE.
    Private,
}

/// A call that changes pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// mmap at a fixed address, in place of what is there.
    Map(MapProt),
    /// The same, and every page is faulted in.
    Populate(MapProt),
    /// munmap.
    Unmap,
    /// mprotect.
    Protect(MapProt),
    /// MADV_DONTNEED.
    Discard,
    /// mremap to somewhere else, and back.
    Move,
}

/// Whether a change took place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Changed {
    /// It did.
    Yes,
    /// It could not be done, or another vCPU changes a part of the same pages; nothing has changed.
    No,
}

/// A range of addresses of a space, in pages of its kind.
pub(super) struct Area {
    base: VirtAddr,
    kind: Kind,
    /// What it maps, where that has a name.
    object: Option<KArc<Object>>,
    laws: Laws,
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {:?} area at {}", self.kind, self.base)
    }
}

impl Area {
    /// `pages` pages from `base`; nothing is mapped.
    pub(super) fn new(kind: Kind, base: u64, pages: usize) -> Self {
        Area { base: VirtAddr::new(base), kind, object: None, laws: Laws::new(pages) }
    }
    /// The same of an object.
    pub(super) fn of_object(self, object: &KArc<Object>) -> Self {
        Area { object: Some(object.clone()), ..self }
    }
    /// The same in a child of the space: everything is mapped, readable and writable.
    pub(super) fn inherited(&self) -> Self {
        let area = Area { object: self.object.clone(), ..Area::new(self.kind, self.base.raw(), self.len()) };
        if let Some(claim) = area.laws.claim(0..area.len(), Contents::Stay) {
            claim.settle(Some(RW));
        }
        area
    }
    /// Its kind.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }
    /// Pages.
    pub(super) fn len(&self) -> usize {
        self.laws.len()
    }
    /// What holds for a page now.
    pub(super) fn law(&self, page: usize) -> Law {
        self.laws.at(page)
    }
    /// Where a page begins. May be one past the last.
    pub(super) fn va(&self, page: usize) -> VirtAddr {
        self.base.add(page as u64 * self.page_bytes())
    }
    /// Whether an access that is allowed may fail all the same.
    pub(super) fn may_run_short(&self) -> bool {
        matches!(self.kind, Kind::Loose(_))
    }

    fn page_bytes(&self) -> u64 {
        if let Some(object) = &self.object {
            return object.unit();
        }
        match self.kind {
            Kind::Anon | Kind::Heap | Kind::Shared | Kind::Private => PAGE_SIZE,
            Kind::Promised(size) | Kind::Loose(size) => size.bytes(),
        }
    }
    fn request(&self, len: u64, prot: MapProt) -> MmapRequest {
        let request = MmapRequest::anonymous(len, prot);
        match self.kind {
            Kind::Anon | Kind::Heap => request,
            Kind::Shared => MmapRequest { flags: MapFlags::SHARED, ..request },
            Kind::Private => MmapRequest { flags: MapFlags::PRIVATE, ..request },
            Kind::Promised(size) => request.with(hugetlb(size)),
            Kind::Loose(size) => request.with(hugetlb(size) | MapFlags::NORESERVE),
        }
    }

    fn map(&self, mm: &Mm, space: &KArc<AddressSpace>, request: &MmapRequest) -> Result<(), MmapError> {
        let Some(object) = &self.object else { return mm.mmap(space, request).map(|_| ()) };
        let offset = request.addr - self.base.raw();
        mm.mmap_object(space, &MmapRequest { offset, ..*request }, object).map(|_| ())
    }

    /// Changes pages, which are a part of the area, and their laws with them.
    ///
    /// # Panics
    /// The call fails for a reason that it cannot have.
    pub(super) fn change(
        &self,
        mm: &Mm,
        space: &KArc<AddressSpace>,
        pages: Range<usize>,
        change: Change,
    ) -> Changed {
        let stays = matches!(change, Change::Protect(_) | Change::Move);
        let contents = if stays { Contents::Stay } else { Contents::Go };
        let (start, len) = (self.va(pages.start).raw(), self.va(pages.end).offset_from(self.va(pages.start)));
        let Some(claim) = self.laws.claim(pages, contents) else { return Changed::No };
        let (outcome, prot) = match change {
            Change::Map(prot) | Change::Populate(prot) => {
                let mut request = self.request(len, prot).fixed(start);
                if matches!(change, Change::Populate(_)) {
                    request = request.with(MapFlags::POPULATE);
                }
                (self.map(mm, space, &request), Some(prot))
            }
            Change::Unmap => (mm.munmap(space, start, len), Some(MapProt::empty())),
            Change::Protect(prot) => (mm.mprotect(space, start, len, prot), Some(prot)),
            Change::Discard => (discard(mm, space, start, len), None),
            Change::Move => (there_and_back(mm, space, start, len), None),
        };
        match outcome {
            Ok(()) => claim.settle(prot),
            // What lies before the hole has changed.
            Err(MmapError::Hole(at)) if let Change::Protect(prot) = change => {
                let below = (0..self.len()).find(|&page| self.va(page) >= at).unwrap_or(self.len());
                claim.settle_below(below, prot);
            }
            Err(error) => {
                assert!(
                    may_fail(change, error),
                    "{change:?} of {len:#x} bytes at {start:#x} of {self}: {error}"
                );
                claim.abandon();
                return Changed::No;
            }
        }
        Changed::Yes
    }

    /// Moves the end of the heap from page `old` to page `new` of the area.
    ///
    /// # Panics
    /// It cannot be moved.
    pub(super) fn move_heap_end(&self, mm: &Mm, space: &AddressSpace, old: usize, new: usize) -> Changed {
        let Some(claim) = self.laws.claim(old.min(new)..old.max(new), Contents::Go) else {
            return Changed::No;
        };
        let end = self.va(new);
        assert_eq!(mm.brk(space, end.raw()), end, "the end of the heap was not moved");
        claim.settle(Some(if new > old { RW } else { MapProt::empty() }));
        Changed::Yes
    }

    /// Notes that the space with everything in it has ended while nobody was in it.
    pub(super) fn forget(&self) {
        match self.laws.claim(0..self.len(), Contents::Go) {
            Some(claim) => claim.settle(Some(MapProt::empty())),
            None => panic!("{self} is changed in a space that nobody is in"),
        }
    }
}

/// The flags of mmap for pages of this size.
fn hugetlb(size: HugeSize) -> MapFlags {
    MapFlags::HUGETLB | MapFlags::from_bits_retain(size.bytes().ilog2() << 26)
}

/// MADV_DONTNEED; a hole in the range is no reason to fail, as the rest is done.
fn discard(mm: &Mm, space: &KArc<AddressSpace>, start: u64, len: u64) -> Result<(), MmapError> {
    match mm.madvise(space, start, len, Advice::DontNeed) {
        Err(MmapError::Hole(_)) => Ok(()),
        outcome => outcome,
    }
}

/// mremap to a place that only this vCPU uses, and back.
fn there_and_back(mm: &Mm, space: &KArc<AddressSpace>, start: u64, len: u64) -> Result<(), MmapError> {
    let there = AWAY + Machine::id().index() as u64 * AWAY_EACH + start % AWAY_EACH;
    let moves = RemapFlags::MAYMOVE.union(RemapFlags::FIXED);
    let mremap = |from: u64, to: u64| {
        let request = MremapRequest { addr: from, old_len: len, new_len: len, flags: moves, new_addr: to };
        mm.mremap(space, &request).map(|_| ())
    };
    mremap(start, there)?;
    // Memory may be out: what is there is not lost.
    while mremap(there, start).is_err() {}
    Ok(())
}

/// Where mappings go for a moment.
const AWAY: u64 = 0x60_0000_0000;
/// Bytes of it that each vCPU has.
const AWAY_EACH: u64 = 16 << 30;

/// Whether a call may fail with this error and change nothing.
fn may_fail(change: Change, error: MmapError) -> bool {
    match change {
        Change::Map(_) | Change::Populate(_) => matches!(error, MmapError::HugetlbPool(_)),
        Change::Discard => matches!(error, MmapError::Unadvisable(_)),
        // A part is not mapped, or the pages are of several mappings.
        Change::Move => matches!(error, MmapError::NotOneMapping(_)),
        Change::Unmap | Change::Protect(_) => false,
    }
}
