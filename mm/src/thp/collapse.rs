//! Collapse by copy: what a range has, whatever it is made of, becomes one huge page. MADV_COLLAPSE asks for it, and
//! khugepaged does it where its limits allow.
//!
//! ```text
//!   L2 entry  [ table ]-> pages from anywhere, zeros, nothing      -- copy -->      [ block ] -> a new folio of 2 MiB
//! ```
//! **In place first.** A range that has a reservation is promoted in place where that can be, as few pages as may be
//! populated: no page is copied, and holes are filled as below ([`super::promote`]). Else it is copied as any other, and
//! its reservation given up, once nothing stands in the way of the copy.
//!
//! **Steps.** 1. A folio is allocated, and room for what stands in the table. 2. Under T: every entry is looked at, and
//! loses the right to write; the flush is done before T is let go. 3. Without T: the pages are copied, and zeros filled
//! in where there is none. 4. Under T: every entry must be as it was left and every page referenced by its entries
//! alone; then the table leaves the tree with all that it holds, which is flushed and given up, and the block is made.
//!
//! **Why what is copied cannot change.** The caller holds M for writing: no fault of this space gives the right back, no
//! fork, no pin. What other spaces map of it they map without the right to write, since it is shared with this one. A
//! page that somebody holds a reference to, to read or write it some other way, is refused: before the copy, to spare
//! it, and after it, to be sure. A migration that comes between has left another descriptor.
//!
//! **If it fails** the range is as before, its reservation included, but for the right to write, which the next write
//! gets back as after a fork. (Where somebody takes a reference while it is copied, the reservation is gone.) MADV_COLLAPSE
//! goes on with the next range where one was busy or unsuitable, and stops where there is no memory.
//!
//! | found | answer (Linux: `madvise_collapse`) |
//! |---|---|
//! | a block already | done |
//! | no table, zeros alone, or a page that is not anonymous memory; a VMA that holds no aligned 2 MiB | EINVAL |
//! | no folio, no room | ENOMEM |
//! | a page that moves, is pinned, or is referenced by somebody else, or whose entries the scheme cannot count | EAGAIN |
//!
//! For MADV_COLLAPSE pages that are shared after a fork are copied, whatever the number. Zeros alone never become a
//! huge page, whoever asks: that would take memory for nothing (the review of 2018). Whether huge pages are on is not
//! asked, as the user asks for this one; MADV_NOHUGEPAGE and `PR_SET_THP_DISABLE` forbid it. `Limits` are khugepaged's.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::contract::PhysMem;
use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, Machine, Order, PhysAddr, VirtAddr};

use super::again;
use super::held::Held;
use super::promote;
use super::record::Key;
use super::reservation;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;
use crate::mapcount::{self, Answer, Sharing};
use crate::page::{Flags, FolioRef, PageKind, PageRef};
use crate::pgtable::{PtRoot, Stretch, normal_folio, normal_page};
use crate::rmap::deferred;
use crate::space::exclusive::read_only;
use crate::space::{AddressSpace, Vma, VmaKind, range, unmap};
use crate::stats::Counter;
use crate::trace::Point;

/// Why a range was not collapsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CollapseError {
    /// The VMA may have no huge page, or holds none of the ranges' memory yet, or memory of another kind.
    Unsuitable,
    /// No folio of 2 MiB, or no room on the heap.
    OutOfMemory,
    /// A page is in use by somebody else, or moving.
    Busy,
    /// More pages have no memory of their own than the limit allows.
    TooManyNone,
    /// More pages may be another space's too than the limit allows.
    TooManyShared,
    /// No page was accessed since somebody looked last, so a huge page would gain nothing.
    Unreferenced,
}

/// What a range must keep to (Linux: `hpage_collapse_scan_pmd`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limits {
    /// Nothing: somebody asks for this very range.
    None,
    /// At most so many pages of each kind, and at least one page that was accessed.
    Of {
        /// Pages that nothing is mapped at, or the page of zeros.
        none: u64,
        /// Pages that another space may map too.
        shared: u64,
    },
}

impl From<OutOfMemory> for CollapseError {
    fn from(_: OutOfMemory) -> Self {
        CollapseError::OutOfMemory
    }
}

/// Collapses every aligned range of 2 MiB that lies wholly in `[start, end)`, a part of `vma`. M is held for writing;
/// no spinlock.
///
/// # Errors
/// [`CollapseError`] of the last range that failed; the others are collapsed, but those behind one for which there was no
/// memory.
pub fn collapse(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    (start, end): (VirtAddr, VirtAddr),
) -> Result<(), CollapseError> {
    let allowed = space.thp_permission().allows_collapse(vma.advice);
    if vma.kind != VmaKind::Anon || !allowed || !vma.has_block() {
        return Err(CollapseError::Unsuitable);
    }
    let bytes = Order::PMD.bytes();
    let (first, end) = (start.align_up(bytes), end.align_down(bytes));
    let mut result = Ok(());
    for n in 0..end.raw().saturating_sub(first.raw()) / bytes {
        let range = Range { mm, space, vma, start: first.add(n * bytes), limits: Limits::None };
        if let Err(error) = range.collapse_now() {
            result = Err(error);
            if error == CollapseError::OutOfMemory {
                break;
            }
            mm.stats.note(Point::CollapseFail, 1, || [range.start.raw(), 0, 0, 0]);
        }
    }
    result
}

/// What is done for a block of 2 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effort {
    /// Memory is compacted, and some is given back, where none is free.
    Compact,
    /// A free one is taken.
    TakeFree,
}

/// What one collapse needs, allocated before it begins.
pub(super) struct Room {
    before: Before,
    /// Contents and struct pages are undefined.
    folio: FolioRef,
}

impl Room {
    /// Takes no lock above the heap's and the allocator's; the caller of [`Effort::Compact`] holds no spinlock.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn new(mm: &Mm, effort: Effort) -> Result<Self, OutOfMemory> {
        Self::try_new(mm, effort).inspect_err(|_| mm.stats.inc(Counter::ThpCollapseAllocFailed))
    }

    fn try_new(mm: &Mm, effort: Effort) -> Result<Self, OutOfMemory> {
        let mut before = Before::new_in(KAlloc);
        before.try_reserve_exact(ENTRIES_PER_TABLE).map_err(|_| OutOfMemory)?;
        let folio = match effort {
            Effort::Compact => mm.alloc_pages(Order::PMD, PageKind::Anon)?,
            Effort::TakeFree => mm.alloc_free_block(Order::PMD, PageKind::Anon).ok_or(OutOfMemory)?,
        };
        Ok(Room { before, folio })
    }

    /// It is not needed.
    pub(super) fn give_back(self, mm: &Mm) {
        mm.free_pages(self.folio, Order::PMD);
    }
}

/// One range of 2 MiB, which lies wholly in the VMA.
pub(super) struct Range<'r> {
    pub(super) mm: &'r Mm,
    pub(super) space: &'r AddressSpace,
    pub(super) vma: &'r Vma,
    pub(super) start: VirtAddr,
    pub(super) limits: Limits,
}

/// What stood in the entries of the table when they had lost the right to write.
type Before = Vec<Desc, KAlloc>;

impl Range<'_> {
    fn collapse_now(&self) -> Result<(), CollapseError> {
        if self.is_block()? || self.is_promoted() {
            return Ok(());
        }
        self.collapse(Room::new(self.mm, Effort::Compact)?)
    }

    /// Whether its reservation, if it has one, could be promoted in place.
    fn is_promoted(&self) -> bool {
        let Range { mm, space, vma, start, .. } = *self;
        promote::promote_populated(mm, space, vma, Key::new(space, start), 1).is_ok()
    }

    /// Whether it could be collapsed, as it looks now: an answer that may be old as soon as M is let go. M is held, to
    /// read at least.
    ///
    /// # Errors
    /// [`CollapseError`]; a block is `Unsuitable`.
    pub(super) fn survey(&self) -> Result<(), CollapseError> {
        if self.is_block()? {
            return Err(CollapseError::Unsuitable);
        }
        let mut tree = self.space.ptl.lock();
        let _held = Held::begin(self.mm);
        self.with_entries(&mut tree, |entries| self.within_limits(entries))
    }

    /// Collapses it. M is held for writing.
    ///
    /// # Errors
    /// [`CollapseError`]; the room is given back.
    pub(super) fn collapse(&self, room: Room) -> Result<(), CollapseError> {
        let begin = [self.start.raw(), room.folio.pfn().raw(), 0, 0];
        let made = |result: &Result<(), CollapseError>| {
            let made = u64::from(result.is_ok());
            (made, [self.start.raw(), made, 0, 0])
        };
        self.mm.stats.slice(Point::Collapse, (0, || begin), made, || self.collapse_into(room))
    }

    fn collapse_into(&self, room: Room) -> Result<(), CollapseError> {
        let Range { mm, space, vma, start, .. } = *self;
        let Room { mut before, folio } = room;
        folio.prep_compound(PageKind::Anon, Order::PMD, mm.config.tails);
        folio.set_mapping(space.id, vma.index_of(start));
        let made = self.look(&mut before).and_then(|()| {
            // Its pages are to be everybody's that maps them, and nobody's else.
            reservation::release_range(mm, space, start, start.add(Order::PMD.bytes()));
            copy(&before, folio.page().pfn().phys());
            self.exchange(&before, folio.page())
        });
        match made {
            // The reference is the entry's.
            Ok(()) => {
                folio.leave();
                again::tell_relatives(mm, space, (start, start.add(Order::PMD.bytes())));
            }
            Err(_) => mm.free_pages(folio, Order::PMD),
        }
        made
    }

    /// Whether there is a block; else there is a table.
    fn is_block(&self) -> Result<bool, CollapseError> {
        let step = self.space.ptl.lock().last(self.start);
        match step.level {
            Level::L3 => Ok(false),
            Level::L2 if step.kind() == Kind::Block => Ok(true),
            _ if step.migration().is_some() => Err(CollapseError::Busy),
            _ => Err(CollapseError::Unsuitable),
        }
    }

    /// Runs `f` on the 512 entries of the range's table.
    fn with_entries<R>(
        &self,
        tree: &mut PtRoot,
        f: impl FnOnce(&mut Stretch<'_>) -> Result<R, CollapseError>,
    ) -> Result<R, CollapseError> {
        let end = self.start.add(Order::PMD.bytes());
        let mut entries = tree.stretch(self.space.flusher(self.mm), self.start, end);
        if entries.level() != Level::L3 || entries.len() != ENTRIES_PER_TABLE {
            return Err(CollapseError::Busy);
        }
        f(&mut entries)
    }

    /// Step 2.
    fn look(&self, before: &mut Before) -> Result<(), CollapseError> {
        let Range { mm, space, .. } = *self;
        let mut tree = space.ptl.lock();
        let _held = Held::begin(mm);
        self.with_entries(&mut tree, |entries| {
            self.within_limits(entries)?;
            mm.gather(space.tag(), |gather| {
                entries.tighten(gather, |_, old| {
                    let new = if old.is_valid() { read_only(old, Level::L3) } else { old };
                    // There is room for all of them.
                    before.push(new);
                    (new != old).then_some(new)
                });
            });
            Ok(())
        })
    }

    /// Whether what the entries hold may be copied and given up, and keeps to the limits.
    fn within_limits(&self, entries: &Stretch<'_>) -> Result<(), CollapseError> {
        let (mut none, mut shared, mut referenced, mut pages) = (0, 0, false, 0);
        for desc in entries.descs() {
            let folio = self.suits(desc)?;
            pages += u64::from(folio.is_some());
            let Limits::Of { none: most_none, shared: most_shared } = self.limits else { continue };
            match folio {
                None => none += 1,
                Some(head) => shared += u64::from(self.may_be_shared(head)),
            }
            referenced |= desc.is_valid() && desc.flags(Level::L3).contains(PteFlags::ACCESSED);
            if none > most_none {
                return Err(CollapseError::TooManyNone);
            }
            if shared > most_shared {
                return Err(CollapseError::TooManyShared);
            }
        }
        if pages == 0 {
            return Err(CollapseError::Unsuitable);
        }
        if referenced || self.limits == Limits::None { Ok(()) } else { Err(CollapseError::Unreferenced) }
    }

    /// The folio that an entry maps, none for nothing and zeros, where it may be copied and given up.
    fn suits(&self, desc: Desc) -> Result<Option<PageRef>, CollapseError> {
        if desc.is_migration() {
            return Err(CollapseError::Busy);
        }
        match normal_folio(self.mm, desc, Level::L3) {
            Some(head) if head.kind() != PageKind::Anon => Err(CollapseError::Unsuitable),
            Some(head) if !self.is_only_mapped(head) => Err(CollapseError::Busy),
            Some(head) => Ok(Some(head)),
            None if desc.is_valid() && !self.mm.zero_page.is_at(desc.output(Level::L3)) => {
                Err(CollapseError::Unsuitable)
            }
            None => Ok(None),
        }
    }

    /// Whether another space may map a page of the folio (Linux: `folio_maybe_mapped_shared`).
    fn may_be_shared(&self, head: PageRef) -> bool {
        mapcount::scheme(self.mm).sharing(head) != Answer::Exact(Sharing::Exclusive)
    }

    /// Whether entries hold all references to the folio, and nobody has it pinned. That of a reservation does not count
    /// where this very range is asked for: neither does it read or write the page while an entry maps it.
    fn is_only_mapped(&self, head: PageRef) -> bool {
        let entries = mapcount::scheme(self.mm).entries(head);
        let reserved = self.limits == Limits::None && head.flags().contains(Flags::RESERVED);
        !head.maybe_pinned() && entries == Answer::Exact(head.refcount().saturating_sub(reserved.into()))
    }

    /// Step 4.
    fn exchange(&self, before: &Before, head: PageRef) -> Result<(), CollapseError> {
        let Range { mm, space, vma, start, .. } = *self;
        let mut tree = space.ptl.lock();
        let _held = Held::begin(mm);
        self.with_entries(&mut tree, |entries| {
            entries.descs().zip(before).try_for_each(|(now, &then)| {
                if now == then { self.suits(now).map(drop) } else { Err(CollapseError::Busy) }
            })?;
            mm.gather(space.tag(), |gather| {
                let table = entries.sever(gather).ok_or(CollapseError::Busy)?;
                unmap::give_up(mm, space, vma, table);
                Ok(())
            })
        })?;
        // The table was there, under T.
        let entry = tree.entry(space.flusher(mm), start, Level::L2).map_err(|_| CollapseError::Busy)?;
        let run = range::run_of(space, vma, &entry, head);
        entry.make(range::leaf_for(mm, head.pfn().phys(), Level::L2, vma.prot));
        mapcount::add(mm, &run);
        space.add_anon(mm, Order::PMD.pages());
        mm.stats.inc(Counter::NrAnonThp);
        let copied = before.iter().filter(|&&desc| normal_page(desc, Level::L3).is_some()).count() as u64;
        mm.stats.add(Counter::ThpCollapseCopied, copied);
        mm.stats.add(Counter::ThpCollapseFilled, Order::PMD.pages() - copied);
        deferred::offer(mm, head);
        Ok(())
    }
}

/// Step 3: fills the folio at `to`.
fn copy(before: &Before, to: PhysAddr) {
    for (n, &desc) in before.iter().enumerate() {
        let page = to.add(n as u64 * PAGE_SIZE);
        match normal_page(desc, Level::L3) {
            Some(_) => Machine::copy(page, desc.output(Level::L3), PAGE_SIZE),
            None => Machine::zero(page, PAGE_SIZE),
        }
    }
}
