//! mmap.
//!
//! | flag | here |
//! |---|---|
//! | MAP_PRIVATE \| MAP_ANONYMOUS | as on Linux |
//! | MAP_SHARED \| MAP_ANONYMOUS | EOPNOTSUPP: without fork nobody could share it |
//! | a file | ENODEV: no file here can be mapped |
//! | MAP_FIXED, MAP_FIXED_NOREPLACE | as on Linux; below 64 KiB EPERM |
//! | MAP_HUGETLB | 2 MiB pages; another size EINVAL |
//! | MAP_NORESERVE, MAP_POPULATE | as on Linux |
//! | MAP_LOCKED | as MAP_POPULATE: nothing is ever swapped |
//! | MAP_GROWSDOWN | grows on faults below it ([`super::growth`]), and a guard gap below is kept free |
//! | MAP_STACK, others | mean nothing, as on Linux |
//! | PROT_WRITE \| PROT_EXEC | EACCES |
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::layout::{USER_END, USER_START};
use arch::{Access, PageSize, VirtAddr};

use super::munmap::page_align;
use super::{
    AddressSpace, Commit, Growth, HugeAdvice, MapFlags, MmapError, MmapRequest, Prot, Vma, VmaKind, gap,
};
use crate::Mm;
use crate::hugetlb;
use crate::kalloc::KArc;

/// Where the mapping goes.
#[derive(Clone, Copy)]
enum Place {
    /// Anywhere, at this address if it can be.
    Hint(u64),
    /// There, in place of what is there.
    Replace(VirtAddr),
    /// There, if nothing is there.
    Free(VirtAddr),
}

/// A request that is possible as far as can be told without looking at the address space.
struct Plan {
    place: Place,
    bytes: u64,
    prot: Prot,
    kind: VmaKind,
    commit: Commit,
    growth: Growth,
}

impl Plan {
    fn new(request: &MmapRequest) -> Result<Self, MmapError> {
        let MmapRequest { addr, len, prot, flags, offset } = *request;
        if !offset.is_multiple_of(PAGE_SIZE) {
            return Err(MmapError::Offset(offset));
        }
        let prot = prot.rights()?;
        let kind = kind(flags)?;
        let bytes = length(len, kind)?;
        let place = place(addr, bytes, flags, kind.granule())?;
        check_type(flags)?;
        let commit = if flags.contains(MapFlags::NORESERVE) { Commit::NoReserve } else { Commit::Account };
        let growth = if flags.contains(MapFlags::GROWSDOWN) { Growth::Down } else { Growth::Fixed };
        Ok(Plan { place, bytes, prot, kind, commit, growth })
    }

    fn vma_at(&self, start: VirtAddr) -> Vma {
        let Plan { bytes, prot, kind, commit, growth, .. } = *self;
        let (end, pgoff) = (start.add(bytes), start.raw() / PAGE_SIZE);
        Vma { start, end, prot, kind, advice: HugeAdvice::None, commit, growth, pgoff }
    }
}

fn kind(flags: MapFlags) -> Result<VmaKind, MmapError> {
    if !flags.contains(MapFlags::HUGETLB | MapFlags::ANONYMOUS) {
        return Ok(VmaKind::Anon);
    }
    match flags.huge_shift() {
        0 => Ok(VmaKind::Hugetlb),
        log if log == PageSize::Size2M.level().shift() => Ok(VmaKind::Hugetlb),
        log => Err(MmapError::HugeSize(log)),
    }
}

/// Bytes, whole pages of the kind.
fn length(len: u64, kind: VmaKind) -> Result<u64, MmapError> {
    let granule = kind.granule().bytes();
    let bytes = page_align(len).and_then(|bytes| bytes.checked_next_multiple_of(granule));
    match bytes {
        Some(0) => Err(MmapError::Length(len)),
        Some(bytes) if bytes <= USER_END.offset_from(USER_START) => Ok(bytes),
        _ => Err(MmapError::NoGap(len)),
    }
}

fn place(addr: u64, bytes: u64, flags: MapFlags, granule: PageSize) -> Result<Place, MmapError> {
    let start = VirtAddr::new(addr);
    if !flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
        return Ok(Place::Hint(addr));
    }
    if addr > USER_END.raw() - bytes {
        return Err(MmapError::NoGap(bytes));
    }
    if !start.is_aligned(granule.bytes()) {
        return Err(MmapError::Unaligned(start));
    }
    if start < USER_START {
        return Err(MmapError::BelowMinimum(start));
    }
    let free = flags.contains(MapFlags::FIXED_NOREPLACE);
    Ok(if free { Place::Free(start) } else { Place::Replace(start) })
}

/// MAP_PRIVATE of nothing but anonymous memory.
fn check_type(flags: MapFlags) -> Result<(), MmapError> {
    let anonymous = flags.contains(MapFlags::ANONYMOUS);
    match flags.map_type() {
        1 if anonymous => Err(MmapError::SharedAnonymous),
        2 if anonymous => Ok(()),
        1..=3 if !anonymous => Err(MmapError::NoDevice),
        _ => Err(MmapError::Flags(flags.bits())),
    }
}

impl Mm {
    /// Maps memory into `space` and returns its first address. Nothing is backed yet, but with MAP_POPULATE.
    /// May sleep.
    ///
    /// # Errors
    /// [`MmapError`]; nothing has changed.
    pub fn mmap(&self, space: &KArc<AddressSpace>, request: &MmapRequest) -> Result<VirtAddr, MmapError> {
        let plan = Plan::new(request)?;
        let vma = self.map_planned(space, &plan)?;
        if request.flags.intersects(MapFlags::POPULATE | MapFlags::LOCKED) {
            let access = if vma.prot.contains(Prot::WRITE) { Access::Write } else { Access::Read };
            // What cannot be had now is asked for again when it is used (Linux: mm_populate ignores errors).
            let _ = self.populate(space, vma.start, vma.end, access);
        }
        Ok(vma.start)
    }

    fn map_planned(&self, space: &AddressSpace, plan: &Plan) -> Result<Vma, MmapError> {
        let _mmap = space.mmap_lock.write(self.env);
        let vma = plan.vma_at(find_place(space, plan)?);
        self.check_commit(&vma)?;
        self.prepare_cuts(space, vma.start, vma.end, 1)?;
        if vma.kind == VmaKind::Hugetlb && vma.commit == Commit::Account {
            let pages = vma.bytes() / PageSize::Size2M.bytes();
            hugetlb::reserve(self, pages).map_err(|_| MmapError::HugetlbPool(pages))?;
        }
        if matches!(plan.place, Place::Replace(_)) {
            self.unmap_prepared(space, vma.start, vma.end);
        }
        space.vmas.lock().insert(vma);
        Ok(vma)
    }

    /// Refuses what can never be kept: more writable memory in one piece than the machine has (Linux:
    /// vm.overcommit_memory 0, `__vm_enough_memory`).
    pub(super) fn check_commit(&self, vma: &Vma) -> Result<(), MmapError> {
        let pages = vma.bytes() / PAGE_SIZE;
        let counts =
            vma.kind == VmaKind::Anon && vma.commit == Commit::Account && vma.prot.contains(Prot::WRITE);
        if counts && pages > self.managed_pages() {
            return Err(MmapError::Overcommit(pages));
        }
        Ok(())
    }
}

/// Where the mapping goes. M is held for writing.
fn find_place(space: &AddressSpace, plan: &Plan) -> Result<VirtAddr, MmapError> {
    let vmas = space.vmas.lock();
    match plan.place {
        Place::Replace(start) => Ok(start),
        Place::Free(start) => match vmas.overlapping(start, start.add(plan.bytes)).next() {
            Some(vma) => Err(MmapError::Exists(*vma)),
            None => Ok(start),
        },
        Place::Hint(hint) => {
            gap::find(&vmas, hint, plan.bytes, plan.kind.granule()).ok_or(MmapError::NoGap(plan.bytes))
        }
    }
}
