//! mremap.
//!
//! | asked for | done |
//! |---|---|
//! | fewer bytes, no address | the rest is unmapped |
//! | more bytes | in place where the addresses behind are free, else moved with MREMAP_MAYMOVE, else ENOMEM |
//! | MREMAP_FIXED | moved to the new address; what is there is unmapped |
//! | MREMAP_DONTUNMAP | the pages move, the old mapping stays and is empty |
//! | 0 old bytes | what is shared is mapped once more; EINVAL for private memory |
//!
//! Linux's checks, in its order (`mremap`, `mremap_to`, `vma_to_resize`), and its error numbers. Where Linux has
//! already unmapped the new place, or the end of the old one, when it finds that it cannot go on, here nothing has
//! changed.
//!
//! A page keeps its linear index when it moves ([`Vma::pgoff`]); only a mapping that was never touched gets that of its
//! new place, so that it can merge with its neighbours there (Linux: `copy_vma`). Reservations of huge pages in the old
//! range are dropped.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;

use super::munmap::page_align;
use super::relocate::{self, Move};
use super::{AddressSpace, Commit, MmapError, MremapRequest, RemapFlags, Vma, VmaKind, gap};
use crate::Mm;
use crate::hugetlb::Owed;
use crate::kalloc::KArc;
use crate::thp::reservation;
use crate::trace::Point;

/// VMAs that a move may add before it takes any away (Linux asks for as many in `mremap_to`).
const MARGIN: usize = 5;

/// What becomes of the old mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Old {
    /// It is unmapped.
    Goes,
    /// It stays, without pages, or is shared and was mapped once more.
    Stays,
}

/// Where a mapping that moves goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Anywhere, near this address if that can be.
    Hint(u64),
    /// There, in place of what is there.
    Fixed(VirtAddr),
}

/// What is asked, in whole pages of the mapping.
#[derive(Clone, Copy, Debug)]
struct Plan {
    start: VirtAddr,
    old_len: u64,
    new_len: u64,
    flags: RemapFlags,
    new_addr: u64,
}

impl Plan {
    /// As far as can be told without looking at the address space.
    fn new(request: &MremapRequest) -> Result<Self, MmapError> {
        let MremapRequest { addr, old_len, new_len, flags, new_addr } = *request;
        let known = RemapFlags::MAYMOVE | RemapFlags::FIXED | RemapFlags::DONTUNMAP;
        let moves = flags.contains(RemapFlags::MAYMOVE);
        let fixed_alone = flags.contains(RemapFlags::FIXED) && !moves;
        let kept = flags.contains(RemapFlags::DONTUNMAP);
        if !known.contains(flags) || fixed_alone || (kept && (!moves || old_len != new_len)) {
            return Err(MmapError::Flags(flags.bits()));
        }
        let start = VirtAddr::new(addr);
        if !start.is_aligned(PAGE_SIZE) {
            return Err(MmapError::Unaligned(start));
        }
        // A length that wraps is 0 when it is rounded up.
        let (old_len, bytes) = (page_align(old_len).unwrap_or(0), page_align(new_len).unwrap_or(0));
        if bytes == 0 {
            return Err(MmapError::Length(new_len));
        }
        Ok(Plan { start, old_len, new_len: bytes, flags, new_addr })
    }

    /// In whole pages of the mapping's kind.
    fn for_kind(self, vma: &Vma) -> Result<Self, MmapError> {
        let granule = vma.kind.granule();
        if granule == PAGE_SIZE {
            return Ok(self);
        }
        let whole = |len: u64| len.checked_next_multiple_of(granule).ok_or(MmapError::Length(len));
        let plan = Plan { old_len: whole(self.old_len)?, new_len: whole(self.new_len)?, ..self };
        for va in [plan.start, VirtAddr::new(plan.new_addr)] {
            if !va.is_aligned(granule) {
                return Err(MmapError::Unaligned(va));
            }
        }
        if plan.new_len > plan.old_len {
            return Err(MmapError::HugeGrowth(plan.new_len - plan.old_len));
        }
        Ok(plan)
    }

    /// Whether it moves in any case.
    fn must_move(&self) -> bool {
        self.flags.intersects(RemapFlags::FIXED | RemapFlags::DONTUNMAP)
    }

    /// The new place of what must move.
    fn place(&self) -> Result<Place, MmapError> {
        let to = VirtAddr::new(self.new_addr);
        if !to.is_aligned(PAGE_SIZE) {
            return Err(MmapError::Unaligned(to));
        }
        let limit = USER_END.raw();
        if self.new_len > limit || self.new_addr > limit - self.new_len {
            return Err(MmapError::OutOfRange(to));
        }
        let old_end = self.start.raw().saturating_add(self.old_len);
        if old_end > self.new_addr && self.new_addr + self.new_len > self.start.raw() {
            return Err(MmapError::Overlap(to));
        }
        if !self.flags.contains(RemapFlags::FIXED) {
            return Ok(Place::Hint(self.new_addr));
        }
        if to < arch::layout::USER_START {
            return Err(MmapError::BelowMinimum(to));
        }
        Ok(Place::Fixed(to))
    }
}

impl Mm {
    /// Changes the length or the place of a mapping, and returns where it is. May sleep.
    ///
    /// # Errors
    /// EINVAL: `Flags`, `Unaligned`, `Length`, `OutOfRange`, `Overlap`, `NotShared`, `HugeGrowth`, `InsideHugePage`.
    /// EFAULT: `NotOneMapping`. EPERM: `BelowMinimum`. ENOMEM: `NoGap`, `TooManyVmas`, `Overcommit`, `OutOfMemory`.
    /// Nothing has changed.
    pub fn mremap(&self, space: &KArc<AddressSpace>, request: &MremapRequest) -> Result<VirtAddr, MmapError> {
        let end = |moved: &Result<VirtAddr, _>| (0, [moved.as_ref().map_or(0, |va| va.raw()), 0, 0, 0]);
        self.stats.slice(Point::Mremap, (0, || [0; 4]), end, || self.remap(space, request))
    }

    fn remap(&self, space: &KArc<AddressSpace>, request: &MremapRequest) -> Result<VirtAddr, MmapError> {
        let plan = Plan::new(request)?;
        let _mmap = space.mmap_lock.write(self.env);
        let vma = space.vma_at(plan.start).ok_or(MmapError::NotOneMapping(plan.start))?;
        let plan = plan.for_kind(&vma)?;
        if plan.must_move() {
            let place = plan.place()?;
            return self.move_mapping(space, &vma, &plan, place);
        }
        if plan.old_len >= plan.new_len {
            self.shrink_mapping(space, &plan)?;
            return Ok(plan.start);
        }
        self.check_growth(&vma, &plan, plan.old_len)?;
        if self.grow_in_place(space, &vma, &plan)? {
            return Ok(plan.start);
        }
        if !plan.flags.contains(RemapFlags::MAYMOVE) {
            return Err(MmapError::NoGap(plan.new_len));
        }
        self.move_mapping(space, &vma, &plan, Place::Hint(0))
    }

    /// Unmaps what the mapping is to lose; what lies there may be free or other mappings, as for munmap.
    fn shrink_mapping(&self, space: &AddressSpace, plan: &Plan) -> Result<(), MmapError> {
        let start = plan.start.add(plan.new_len);
        if plan.old_len == plan.new_len {
            return Ok(());
        }
        let end = plan.start.checked_add(plan.old_len).filter(|&end| end <= USER_END);
        let end = end.ok_or(MmapError::OutOfRange(start))?;
        self.prepare_cuts(space, start, end, 0)?;
        self.unmap_prepared(space, start, end);
        Ok(())
    }

    /// Whether `len` bytes from the plan's start are of this one mapping, and what it becomes can be (Linux:
    /// `vma_to_resize`).
    fn check_growth(&self, vma: &Vma, plan: &Plan, len: u64) -> Result<(), MmapError> {
        let device = vma.kind.device().is_some();
        if len == 0 && (!vma.kind.is_shared() || device) {
            return Err(MmapError::NotShared(*vma));
        }
        if device && plan.flags.contains(RemapFlags::DONTUNMAP) {
            return Err(MmapError::Flags(plan.flags.bits()));
        }
        if device && plan.new_len > len {
            return Err(MmapError::NotOneMapping(vma.end));
        }
        if len > vma.end.offset_from(plan.start) {
            return Err(MmapError::NotOneMapping(vma.end));
        }
        let pages = plan.new_len / PAGE_SIZE;
        vma.index_of(plan.start).checked_add(pages).ok_or(MmapError::Length(plan.new_len))?;
        let more = plan.new_len.saturating_sub(len);
        let promised = if plan.flags.contains(RemapFlags::DONTUNMAP) { plan.new_len } else { more };
        if promised > USER_END.raw() {
            return Err(MmapError::NoGap(plan.new_len));
        }
        let grown = Vma { start: VirtAddr::new(0), end: VirtAddr::new(promised), ..*vma };
        self.check_commit(&grown)
    }

    /// Whether the mapping could take the addresses behind it, and has.
    fn grow_in_place(&self, space: &KArc<AddressSpace>, vma: &Vma, plan: &Plan) -> Result<bool, MmapError> {
        let Some(end) = plan.start.checked_add(plan.new_len) else { return Ok(false) };
        if plan.start.add(plan.old_len) != vma.end || end > USER_END {
            return Ok(false);
        }
        if space.find_vma(vma.end).is_some_and(|next| next.start < end) {
            return Ok(false);
        }
        if let Some(id) = vma.kind.object() {
            space.objects.grow(id, end.offset_from(vma.end) / PAGE_SIZE);
        }
        space.change_vmas(self, vma.start, end, |vmas| vmas.extend(vma.start, end));
        Ok(true)
    }

    /// Moves a mapping, or as much of it as is asked for. M is held for writing.
    fn move_mapping(
        &self,
        space: &KArc<AddressSpace>,
        vma: &Vma,
        plan: &Plan,
        place: Place,
    ) -> Result<VirtAddr, MmapError> {
        let moved = plan.old_len.min(plan.new_len);
        self.check_growth(vma, plan, moved)?;
        let (start, end) = (plan.start, plan.start.add(moved));
        let rest = start.checked_add(plan.old_len).filter(|&end| end <= USER_END);
        let rest = rest.ok_or(MmapError::OutOfRange(start))?;
        let keeps = plan.flags.contains(RemapFlags::DONTUNMAP) || plan.old_len == 0;
        let old = if keeps { Old::Stays } else { Old::Goes };
        let to = match place {
            Place::Fixed(to) => to,
            Place::Hint(hint) => gap::find(&space.vmas.lock(), hint, plan.new_len, vma.kind.granule())
                .ok_or(MmapError::NoGap(plan.new_len))?,
        };
        let to_end = to.add(plan.new_len);
        for (from, end) in [(start, end), (end, rest), (to, to_end)] {
            self.prepare_cuts(space, from, end, MARGIN)?;
        }
        let touched = relocate::is_touched(space, start, end);
        let pgoff =
            if touched || vma.kind != VmaKind::Anon { vma.index_of(start) } else { to.raw() / PAGE_SIZE };
        let new = Vma { start: to, end: to_end, pgoff, userfault: None, ..*vma };
        let mut job = Move { from: start, to, bytes: moved, old: *vma, new };
        let mut stock = relocate::prepare(self, space, &job)?;
        space.objects.owed.prepare(None, MARGIN.max(Owed::MOVE_ROOM + 2))?;

        if let Some(id) = vma.kind.object() {
            space.objects.grow(id, new.bytes() / PAGE_SIZE);
        }
        reservation::release_range(self, space, start, rest);
        if matches!(place, Place::Fixed(_)) {
            self.unmap_prepared(space, to, to_end);
        }
        if rest > end {
            self.unmap_prepared(space, end, rest);
        }
        relocate::clear_target(self, space, &job);
        space.change_vmas(self, to, to_end, |vmas| vmas.insert(new));
        job.new = space.vma_at(to).unwrap_or(new);
        space.lineage.expect_moves();
        relocate::entries(self, space, &job, &mut stock);
        if let VmaKind::HugePrivate(size, _) = vma.kind {
            space.objects.owed.relocate(size, &(start..end), to);
        }
        self.settle_old(space, vma, (start, end), old);
        space.userfaults.wake(self, start..end);
        Ok(to)
    }

    /// The old place, from which all pages are gone.
    fn settle_old(&self, space: &AddressSpace, vma: &Vma, (start, end): (VirtAddr, VirtAddr), old: Old) {
        match (old, vma.kind) {
            (Old::Goes, kind) => {
                if let Some(id) = kind.object() {
                    self.detach_object(space, id, end.offset_from(start) / PAGE_SIZE);
                }
                space.change_vmas(self, start, end, |vmas| vmas.remove(start, end));
            }
            // The promises of the pool have gone with the pages.
            (Old::Stays, VmaKind::Hugetlb(_) | VmaKind::HugePrivate(..)) => {
                let loose = |vma: &mut Vma| vma.commit = Commit::NoReserve;
                space.change_vmas(self, start, end, |vmas| vmas.change(start, end, loose));
            }
            (Old::Stays, _) => {}
        }
    }
}
