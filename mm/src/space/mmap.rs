//! mmap.
//!
//! | flag | here |
//! |---|---|
//! | MAP_PRIVATE \| MAP_ANONYMOUS | as on Linux |
//! | MAP_SHARED \| MAP_ANONYMOUS | an object of its own ([`crate::shmem`]) |
//! | an object, MAP_SHARED or MAP_PRIVATE | from the offset on ([`Mm::mmap_object`]) |
//! | a device | what its handler puts in ([`Mm::mmap_device`]); PROT_EXEC EACCES |
//! | MAP_PRIVATE of a hugetlb object | its pages, or private ones of the pool, which promises one for each |
//! | MAP_FIXED, MAP_FIXED_NOREPLACE | as on Linux; below 64 KiB EPERM |
//! | MAP_HUGETLB | pages of a pool: 64 KiB, 2 MiB (without a size too), 32 MiB, 1 GiB; another size EINVAL |
//! | MAP_NORESERVE, MAP_POPULATE | as on Linux |
//! | MAP_LOCKED | as MAP_POPULATE: nothing is ever swapped |
//! | MAP_GROWSDOWN | grows on faults below it ([`super::growth`]), and a guard gap below is kept free |
//! | MAP_STACK, others | mean nothing, as on Linux |
//! | PROT_WRITE \| PROT_EXEC | EACCES |
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::layout::{USER_END, USER_START};
use arch::{Access, VirtAddr};

use super::munmap::page_align;
use super::{
    AccessPattern, AddressSpace, Commit, Grain, Growth, HugeAdvice, MapFlags, MmapError, MmapRequest, Prot,
    Vma, VmaKind, gap,
};
use crate::Mm;
use crate::device::{DeviceMap, Entries, Inserter, Sharing};
use crate::hugetlb::{self, HugeSize};
use crate::kalloc::KArc;
use crate::shmem::{self, Object, ObjectId};
use crate::trace::Point;

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

/// What is where the mapping goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// Nothing.
    Free,
    /// Mappings that it replaces.
    Taken,
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Memory without a name: MAP_ANONYMOUS.
    Anonymous,
    /// This object, of hugetlb pages or not.
    Object(ObjectId, Option<HugeSize>),
    /// A device, which puts this in.
    Device(Entries),
}

/// A request that is possible as far as can be told without looking at the address space.
struct Plan {
    place: Place,
    bytes: u64,
    prot: Prot,
    kind: VmaKind,
    commit: Commit,
    growth: Growth,
    /// The linear index of the first page; `None`: its page number.
    pgoff: Option<u64>,
}

impl Plan {
    fn new(request: &MmapRequest, source: Source) -> Result<Self, MmapError> {
        let MmapRequest { addr, len, prot, flags, offset } = *request;
        let unit = match source {
            Source::Object(_, Some(size)) => size.bytes(),
            _ => PAGE_SIZE,
        };
        if !offset.is_multiple_of(unit) {
            return Err(MmapError::Offset(offset));
        }
        let prot = prot.rights()?;
        let kind = kind(flags, source)?;
        let bytes = length(len, kind)?;
        let place = place(addr, bytes, flags, kind.granule())?;
        check_type(flags, source)?;
        let pgoff = match source {
            Source::Anonymous => None,
            Source::Object(..) | Source::Device(_) => Some(offset_in_object(offset, bytes)?),
        };
        let commit = if flags.contains(MapFlags::NORESERVE) { Commit::NoReserve } else { Commit::Account };
        let growth = if flags.contains(MapFlags::GROWSDOWN) { Growth::Down } else { Growth::Fixed };
        Ok(Plan { place, bytes, prot, kind, commit, growth, pgoff })
    }

    /// The same, for all of an object that was made for it.
    fn shared(self, id: ObjectId) -> Self {
        let kind = match self.kind.huge_size() {
            Some(size) => VmaKind::HugeShared(size, id),
            None => VmaKind::Shared(id),
        };
        Plan { kind, pgoff: Some(0), ..self }
    }

    fn vma_at(&self, start: VirtAddr) -> Vma {
        let Plan { bytes, prot, kind, commit, growth, .. } = *self;
        let (end, pgoff) = (start.add(bytes), self.pgoff.unwrap_or(start.raw() / PAGE_SIZE));
        let (advice, pattern) = (HugeAdvice::None, AccessPattern::Normal);
        let (grain, userfault) = (Grain::Whole, None);
        Vma { start, end, prot, kind, advice, pattern, commit, grain, userfault, growth, pgoff }
    }
}

fn kind(flags: MapFlags, source: Source) -> Result<VmaKind, MmapError> {
    let private = flags.map_type() == MapFlags::PRIVATE.bits();
    match source {
        Source::Object(id, Some(size)) if private => return Ok(VmaKind::HugePrivate(size, id)),
        Source::Object(id, Some(size)) => return Ok(VmaKind::HugeShared(size, id)),
        Source::Object(id, None) if private => return Ok(VmaKind::Private(id)),
        Source::Object(id, None) => return Ok(VmaKind::Shared(id)),
        Source::Device(entries) => {
            let sharing = if private { Sharing::Private } else { Sharing::Shared };
            return Ok(VmaKind::Device(DeviceMap { entries, sharing }));
        }
        Source::Anonymous => {}
    }
    if !flags.contains(MapFlags::HUGETLB | MapFlags::ANONYMOUS) {
        return Ok(VmaKind::Anon);
    }
    match flags.huge_shift() {
        0 => Ok(VmaKind::Hugetlb(HugeSize::DEFAULT)),
        log => HugeSize::from_log(log).map(VmaKind::Hugetlb).ok_or(MmapError::HugeSize(log)),
    }
}

/// Bytes, whole pages of the kind.
fn length(len: u64, kind: VmaKind) -> Result<u64, MmapError> {
    let granule = kind.granule();
    let bytes = page_align(len).and_then(|bytes| bytes.checked_next_multiple_of(granule));
    match bytes {
        Some(0) => Err(MmapError::Length(len)),
        Some(bytes) if bytes <= USER_END.offset_from(USER_START) => Ok(bytes),
        _ => Err(MmapError::NoGap(len)),
    }
}

fn place(addr: u64, bytes: u64, flags: MapFlags, granule: u64) -> Result<Place, MmapError> {
    let start = VirtAddr::new(addr);
    if !flags.intersects(MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) {
        return Ok(Place::Hint(addr));
    }
    if addr > USER_END.raw() - bytes {
        return Err(MmapError::NoGap(bytes));
    }
    if !start.is_aligned(granule) {
        return Err(MmapError::Unaligned(start));
    }
    if start < USER_START {
        return Err(MmapError::BelowMinimum(start));
    }
    let free = flags.contains(MapFlags::FIXED_NOREPLACE);
    Ok(if free { Place::Free(start) } else { Place::Replace(start) })
}

/// The index of the first page, where an object can have all that are asked for.
fn offset_in_object(offset: u64, bytes: u64) -> Result<u64, MmapError> {
    match offset.checked_add(bytes) {
        Some(end) if end <= shmem::MOST_BYTES => Ok(offset / PAGE_SIZE),
        _ => Err(MmapError::OffsetEnd(offset)),
    }
}

/// MAP_SHARED or MAP_PRIVATE; for an object also MAP_SHARED_VALIDATE, which refuses what it does not know.
fn check_type(flags: MapFlags, source: Source) -> Result<(), MmapError> {
    let anonymous = flags.contains(MapFlags::ANONYMOUS);
    match (source, flags.map_type()) {
        (_, 1 | 3) if flags.contains(MapFlags::GROWSDOWN) => Err(MmapError::Flags(flags.bits())),
        (Source::Anonymous, _) if !anonymous => Err(MmapError::NoDevice),
        (Source::Object(_, None) | Source::Device(_), 1..=3) if flags.contains(MapFlags::HUGETLB) => {
            Err(MmapError::Flags(flags.bits()))
        }
        (Source::Object(..) | Source::Device(_), 3) if !MapFlags::KNOWN.contains(flags) => {
            Err(MmapError::Unknown(flags.bits()))
        }
        (_, 1 | 2) | (Source::Object(..) | Source::Device(_), 3) => Ok(()),
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
        self.told_mmap(request, || self.map_memory(space, request))
    }

    fn told_mmap(
        &self,
        request: &MmapRequest,
        map: impl FnOnce() -> Result<VirtAddr, MmapError>,
    ) -> Result<VirtAddr, MmapError> {
        let end = |mapped: &Result<VirtAddr, _>| (0, [mapped.as_ref().map_or(0, |va| va.raw()), 0, 0, 0]);
        self.stats.slice(Point::Mmap, (0, || [request.len, 0, 0, 0]), end, map)
    }

    fn map_memory(&self, space: &KArc<AddressSpace>, request: &MmapRequest) -> Result<VirtAddr, MmapError> {
        let plan = Plan::new(request, Source::Anonymous)?;
        if request.flags.map_type() == MapFlags::PRIVATE.bits() {
            return self.map_whole(space, request, &plan, None);
        }
        let object = match plan.kind.huge_size() {
            Some(size) => self.new_huge_object(size, plan.bytes)?,
            None => self.new_object(plan.bytes)?,
        };
        let mapped = self.map_whole(space, request, &plan.shared(object.id), Some(&object));
        self.close_object(object);
        mapped
    }

    /// Maps an object, from `offset` on, as [`Self::mmap`] maps memory without a name. The length may reach beyond the
    /// object's end. Whether the descriptor permits it is the caller's matter (EACCES). May sleep.
    ///
    /// # Errors
    /// [`MmapError`]; nothing has changed.
    pub fn mmap_object(
        &self,
        space: &KArc<AddressSpace>,
        request: &MmapRequest,
        object: &KArc<Object>,
    ) -> Result<VirtAddr, MmapError> {
        self.told_mmap(request, || {
            let plan = Plan::new(request, Source::Object(object.id, object.huge))?;
            self.map_whole(space, request, &plan, Some(object))
        })
    }

    /// Maps a device: `handler` puts its memory in, all of it, and may refuse ([`crate::device::map`]). Nothing of it
    /// is executed. May sleep.
    ///
    /// # Errors
    /// [`MmapError`], also what the handler says. Nothing is mapped; but as on Linux, what MAP_FIXED was to replace is
    /// gone if it was the handler that refused.
    pub fn mmap_device(
        &self,
        space: &KArc<AddressSpace>,
        request: &MmapRequest,
        entries: Entries,
        handler: impl FnOnce(&mut Inserter<'_>) -> Result<(), MmapError>,
    ) -> Result<VirtAddr, MmapError> {
        let plan = Plan::new(request, Source::Device(entries))?;
        let map = plan.kind.device().ok_or(MmapError::NoDevice)?;
        if plan.prot.contains(Prot::EXEC) {
            return Err(MmapError::DeviceExec);
        }
        let _mmap = space.mmap_lock.write(self.env);
        let vma = self.map_locked(space, &plan, None)?;
        let filled = handler(&mut Inserter::new(self, space, &vma, map));
        if filled.is_err() {
            // A VMA of its own, which is not cut.
            self.unmap_prepared(space, vma.start, vma.end);
        }
        filled.map(|()| vma.start)
    }

    fn map_whole(
        &self,
        space: &KArc<AddressSpace>,
        request: &MmapRequest,
        plan: &Plan,
        object: Option<&KArc<Object>>,
    ) -> Result<VirtAddr, MmapError> {
        let vma = self.map_planned(space, plan, object)?;
        if request.flags.intersects(MapFlags::POPULATE | MapFlags::LOCKED) {
            let access = if vma.prot.contains(Prot::WRITE) { Access::Write } else { Access::Read };
            // What cannot be had now is asked for again when it is used (Linux: mm_populate ignores errors).
            let _ = self.populate(space, vma.start, vma.end, access);
        }
        Ok(vma.start)
    }

    fn map_planned(
        &self,
        space: &KArc<AddressSpace>,
        plan: &Plan,
        object: Option<&KArc<Object>>,
    ) -> Result<Vma, MmapError> {
        let _mmap = space.mmap_lock.write(self.env);
        self.map_locked(space, plan, object)
    }

    /// M is held for writing.
    fn map_locked(
        &self,
        space: &KArc<AddressSpace>,
        plan: &Plan,
        object: Option<&KArc<Object>>,
    ) -> Result<Vma, MmapError> {
        let (start, ground) = find_place(space, plan)?;
        let vma = plan.vma_at(start);
        self.check_commit(&vma)?;
        if ground == Ground::Taken {
            self.prepare_cuts(space, vma.start, vma.end, 1)?;
        }
        if let (VmaKind::Hugetlb(size), Commit::Account) = (vma.kind, vma.commit) {
            let pages = vma.bytes() / size.bytes();
            hugetlb::reserve(self, size, pages).map_err(|_| MmapError::HugetlbPool(pages))?;
        }
        if let Some(object) = object {
            self.attach_object(space, object, vma.bytes() / PAGE_SIZE)?;
            self.promise_object(space, object, &vma).inspect_err(|_| {
                self.detach_object(space, object.id, vma.bytes() / PAGE_SIZE);
            })?;
        }
        if ground == Ground::Taken {
            self.unmap_prepared(space, vma.start, vma.end);
        }
        if let (VmaKind::HugePrivate(size, _), Commit::Account) = (vma.kind, vma.commit) {
            space.objects.owed.add(size, &(vma.start..vma.end));
        }
        space.change_vmas(self, vma.start, vma.end, |vmas| vmas.insert(vma));
        Ok(vma)
    }

    /// The pool promises what a mapping of a hugetlb object asks for: a shared one the pages that the object has not
    /// nor was promised; a private one a page for each slot, which the caller notes (Linux: `hugetlb_reserve_pages`).
    fn promise_object(&self, space: &AddressSpace, object: &Object, vma: &Vma) -> Result<(), MmapError> {
        let (Some(size), Commit::Account) = (object.huge, vma.commit) else { return Ok(()) };
        let pages = vma.bytes() / size.bytes();
        if matches!(vma.kind, VmaKind::HugePrivate(..)) {
            // One range more, and one that the end of what is replaced may leave.
            space.objects.owed.prepare(Some(size), 2)?;
            return hugetlb::reserve(self, size, pages).map_err(|_| MmapError::HugetlbPool(pages));
        }
        let first = vma.pgoff / (size.bytes() / PAGE_SIZE);
        self.promise_pages(object, size, first..first + pages)
    }

    /// Refuses what can never be kept: more writable memory in one piece than the machine has (Linux:
    /// vm.overcommit_memory 0, `__vm_enough_memory`).
    pub(super) fn check_commit(&self, vma: &Vma) -> Result<(), MmapError> {
        let pages = vma.bytes() / PAGE_SIZE;
        let private = matches!(vma.kind, VmaKind::Anon | VmaKind::Private(_));
        let counts = private && vma.commit == Commit::Account && vma.prot.contains(Prot::WRITE);
        if counts && pages > self.managed_pages() {
            return Err(MmapError::Overcommit(pages));
        }
        Ok(())
    }
}

/// Where the mapping goes. Room is made for it where it is free. M is held for writing.
fn find_place(space: &AddressSpace, plan: &Plan) -> Result<(VirtAddr, Ground), MmapError> {
    let mut vmas = space.vmas.lock();
    let in_the_way = |start: VirtAddr| vmas.first_in(start, start.add(plan.bytes));
    let start = match plan.place {
        Place::Replace(start) if in_the_way(start).is_some() => return Ok((start, Ground::Taken)),
        Place::Replace(start) => start,
        Place::Free(start) => match in_the_way(start) {
            Some(vma) => return Err(MmapError::Exists(*vma)),
            None => start,
        },
        Place::Hint(hint) => {
            let gap = gap::find(&vmas, hint, plan.bytes, plan.kind.granule());
            gap.ok_or(MmapError::NoGap(plan.bytes))?
        }
    };
    vmas.prepare(1)?;
    Ok((start, Ground::Free))
}
