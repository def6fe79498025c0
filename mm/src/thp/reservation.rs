//! Reserving a block, taking its pages, giving it up.
//!
//! ```text
//!             reserve                 take page i                    promote
//!   no block ---------> 512 reserved -------------> i populated ... ---------> one folio, no reservation
//!                            |                          |
//!                            `----------- release ------'    unused pages return to the buddy allocator,
//!                                                            used ones go on as single pages
//! ```
//! A bit of the popmap is set when a fault *takes* the page, before the entry is made, so that no other fault takes it
//! too: others sleep until it is settled. From then on the page's second reference is the fault's, and then the
//! entry's. The fault settles it: [`made`] after the entry, or [`untake`].
//!
//! | who | when | what |
//! |---|---|---|
//! | munmap, MADV_DONTNEED, mprotect, exit | before entries change | [`release_range`] |
//! | a fault that gives back the only populated page | after it | the reservation, which is empty |
//! | a fault whose range has other pages mapped | instead of reserving | nothing: a small page |
//! | memory pressure | an allocation failed | [`super::reclaim`] |
#![forbid(unsafe_code)]

use core::cmp::Ordering::{Equal, Greater, Less};
use core::sync::atomic::{AtomicBool, Ordering};

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::pte::Kind;
use arch::sync::SpinGuard;
use arch::{Desc, Level, Machine, Order, PageSize, PhysMem, VirtAddr};

use super::group;
use super::popmap::PAGES;
use super::record::{Key, Queued, Record};
use super::table::{BUCKETS, Bucket, Unlinked};
use super::{promoter, queue};
use crate::Mm;
use crate::config::Promote;
use crate::kalloc::KArc;
use crate::page::{FolioRef, LastRef, PageKind};
use crate::pgtable::{Missing, normal_page};
use crate::space::{AddressSpace, Vma};
use crate::stats::Counter;
use crate::trace::Point;

/// What an address space keeps of its reservations: whether it ever had one. The rest stands in the table.
#[derive(Debug)]
pub struct SpaceReservations {
    ever: AtomicBool,
}

impl SpaceReservations {
    /// Of a new space.
    #[must_use]
    pub const fn new() -> Self {
        SpaceReservations { ever: AtomicBool::new(false) }
    }
    /// Whether the space may have one: not, where it never had any.
    #[inline(always)]
    pub(crate) fn may_be(&self) -> bool {
        self.ever.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl SpaceReservations {
    /// Lets faults miss a reservation as they do when they have looked before it was made.
    pub(crate) fn overlook(&self) {
        self.ever.store(false, Ordering::Relaxed);
    }
}

impl Default for SpaceReservations {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the range is ripe for promotion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a full range must be promoted or submitted, which `made` does"]
pub enum Populated {
    /// Fewer pages are populated than `promotion_threshold` asks for, or the promoter knows already.
    More,
    /// With this page the threshold is reached, and the promoter does not know.
    Full,
    /// The threshold was reached before, and the promoter does not know (any more).
    Beyond,
}

/// Whether the 16 pages of an aligned group are populated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sixteen {
    /// All of them, with this one.
    All,
    /// Some are missing.
    Some,
}

/// A page taken from a reservation: zeroed, kind [`PageKind::Anon`]. Its space and index are for who maps it to set.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "the page goes into an entry, and then `made` is called, or back by `untake`"]
pub struct Taken {
    /// The page: the reference that is to be the entry's.
    pub page: FolioRef,
    /// Whether to promote the range.
    pub populated: Populated,
    /// Whether to fold the page's group.
    pub group: Sixteen,
}

/// What came of the wish for a page of the range's reservation.
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub enum Take {
    /// Here it is.
    Page(Taken),
    /// Another thread has resolved the fault meanwhile: look at the entry again.
    Raced,
    /// There is no reservation, and none could be made: a small page instead.
    Small,
}

/// Takes the page for `va` from the range's reservation; makes the reservation where there is none, a block is free,
/// and nothing else is mapped in the range. The policy answered [`super::Backing::Reserve`] for `va`. Sleeps while
/// another fault, or a promotion, has that very page in hand. The caller holds M for reading and no spinlock.
// Walk A.5: page i of the block for page i of the range.
pub fn take(mm: &Mm, space: &AddressSpace, va: VirtAddr) -> Take {
    let key = Key::new(space, va);
    loop {
        match take_kept(mm, space, va) {
            Take::Small => {}
            taken => return taken,
        }
        match backing_of(mm, space, key) {
            RangeUse::Empty => {}
            RangeUse::Pages => return Take::Small,
            RangeUse::Block => return Take::Raced,
        }
        if reserve(mm, space, key).is_err() {
            return Take::Small;
        }
    }
}

/// Takes the page for `va` from the range's reservation, if it has one, whatever the policy answers today: a small page
/// beside it could never be part of the block. Otherwise as [`take`].
pub fn take_kept(mm: &Mm, space: &AddressSpace, va: VirtAddr) -> Take {
    if !space.reservations.may_be() {
        return Take::Small;
    }
    let (key, index) = (Key::new(space, va), va.index(Level::L3));
    loop {
        match take_existing(mm, key, index) {
            Existing::Taken(taken) => return Take::Page(taken),
            Existing::Busy => match wait(mm, space, key, index) {
                Awaited::Entry => return Take::Raced,
                Awaited::Page => {}
            },
            Existing::None => return Take::Small,
        }
    }
}

/// What came of the look for a reservation.
enum Existing {
    Taken(Taken),
    Busy,
    None,
}

/// Takes page `index`, if there is a reservation and nobody has it. The page is zeroed after R is let go: the bit that
/// is set by then makes it the caller's.
fn take_existing(mm: &Mm, key: Key, index: usize) -> Existing {
    let taken = {
        let bucket = mm.thp.table.lock(key);
        let Some(record) = bucket.find(key) else { return Existing::None };
        if record.is_populated(index) {
            return Existing::Busy;
        }
        let page = record.populate(index);
        queue::settle(mm, record);
        let group = if record.has_group(index) { Sixteen::All } else { Sixteen::Some };
        let args = || [key.va(index).raw(), page.pfn().raw(), record.populated(), 0];
        mm.stats.note(Point::Take, 1, args);
        Taken { page, populated: populated(mm, record), group }
    };
    mm.stats.sub(Counter::NrThpReserved, 1);
    Machine::zero(taken.page.pfn().phys(), PAGE_SIZE);
    Existing::Taken(taken)
}

fn populated(mm: &Mm, record: Record) -> Populated {
    match record.populated().cmp(&u64::from(mm.thp.threshold())) {
        _ if record.queued() == Queued::Yes => Populated::More,
        Less => Populated::More,
        Equal => Populated::Full,
        Greater => Populated::Beyond,
    }
}

/// What a range has in its tables, the page of zeros aside.
enum RangeUse {
    Empty,
    Pages,
    Block,
}

/// What the range has. Once it has a page that is not its reservation's, a reservation could not be promoted.
fn backing_of(mm: &Mm, space: &AddressSpace, key: Key) -> RangeUse {
    let mut tree = space.ptl.lock();
    let desc = match tree.entry(space.flusher(mm), key.range, Level::L2) {
        Err(Missing::Leaf(..)) => return RangeUse::Block,
        Err(Missing::Table(_) | Missing::Stock) => return RangeUse::Empty,
        Ok(entry) => entry.desc(),
    };
    match desc.kind(Level::L2) {
        Kind::Invalid if desc.is_empty() => RangeUse::Empty,
        Kind::Invalid => RangeUse::Block,
        Kind::Block | Kind::Page => RangeUse::Block,
        Kind::Table => {
            let slot = |n| desc.output(Level::L2).add(8 * n);
            let mut entries = (0..ENTRIES_PER_TABLE as u64).map(|n| Machine::read_desc(slot(n)));
            let used = entries.any(|desc| maps_a_page(desc) || desc.is_migration());
            if used { RangeUse::Pages } else { RangeUse::Empty }
        }
    }
}

/// Whether a level-3 descriptor maps a page other than that of zeros.
pub(super) fn maps_a_page(desc: Desc) -> bool {
    normal_page(desc, Level::L3).is_some()
}

/// What a thread waited for.
enum Awaited {
    /// The address has its entry, or a migration entry.
    Entry,
    /// The page is free again, or the reservation is gone.
    Page,
}

/// Sleeps until the page that another thread has in hand is mapped or given back.
fn wait(mm: &Mm, space: &AddressSpace, key: Key, index: usize) -> Awaited {
    let turnstile = &mm.thp.turnstile;
    turnstile.wait(mm, || {
        let walk = space.ptl.lock().walk(key.va(index));
        if walk.migration().is_some()
            || walk.leaf().is_some_and(|leaf| leaf.level != Level::L3 || maps_a_page(leaf.desc))
        {
            return Some(Awaited::Entry);
        }
        let bucket = mm.thp.table.lock(key);
        let busy = bucket.find(key).is_some_and(|record| record.is_populated(index));
        (!busy).then_some(Awaited::Page)
    })
}

/// The entry of a page that [`take`] gave for `va` has been made, and has the reference: wakes those who wait for
/// that, promotes or submits the range where it is full, and folds the page's group where that is. `vma` holds `va`.
/// The caller holds M for reading and no spinlock.
pub fn made(mm: &Mm, space: &KArc<AddressSpace>, vma: &Vma, taken: Taken, va: VirtAddr) {
    taken.page.leave();
    mm.thp.turnstile.wake(mm);
    let promote = mm.thp.promote();
    if taken.populated == Populated::Full && promote == Promote::Sync {
        return promoter::promote_now(mm, space, vma, va);
    }
    if taken.group == Sixteen::All {
        group::fold(mm, space, va);
    }
    if taken.populated != Populated::More {
        promoter::submit(mm, space, va);
    }
}

/// There is no free block of 2 MiB.
struct NoBlock;

/// Makes a reservation, unless another thread was faster. The block is allocated before R, and stays whole.
fn reserve(mm: &Mm, space: &AddressSpace, key: Key) -> Result<(), NoBlock> {
    let Ok(block) = mm.alloc_pages(Order::PMD, PageKind::ThpReserved) else {
        mm.stats.note(Point::ReserveFail, 1, || [key.range.raw(), 0, 0, 0]);
        return Err(NoBlock);
    };
    let pfn = block.pfn();
    let new = Unlinked::new(block, key);
    let mut bucket = mm.thp.table.lock(key);
    if bucket.find(key).is_some() {
        drop(bucket);
        new.dissolve().for_each(|page| mm.put_folio(page));
        return Ok(());
    }
    space.reservations.ever.store(true, Ordering::Relaxed);
    bucket.insert(new);
    mm.stats.note(Point::Reserve, 1, || [key.range.raw(), pfn.raw(), 0, 0]);
    mm.stats.add(Counter::NrThpReserved, PAGES as u64);
    Ok(())
}

/// Gives back a page that [`take`] gave for `va` and that no entry maps. A reservation that is left without any
/// populated page is released: its range was promoted, or is backed otherwise, since. The caller holds no
/// spinlock.
pub fn untake(mm: &Mm, space: &AddressSpace, taken: Taken, va: VirtAddr) {
    let key = Key::new(space, va);
    let bucket = mm.thp.table.lock(key);
    let owner = bucket.find(key).filter(|record| record.page(va.index(Level::L3)) == *taken.page);
    let Some(record) = owner else {
        drop(bucket);
        return mm.put_folio(taken.page);
    };
    let mut map = record.popmap();
    map.remove(va.index(Level::L3));
    record.set_popmap(&map);
    taken.page.set_kind(PageKind::ThpReserved, Order::PAGE);
    let (page, last) = (taken.page.page(), taken.page.put());
    debug_assert!(last == LastRef::No, "{page:?}: the reservation's reference is missing");
    mm.stats.add(Counter::NrThpReserved, 1);
    depopulated(mm, bucket, record);
    mm.thp.turnstile.wake(mm);
}

/// Pages of a reservation were given back, under its lock, which ends: where no page is left, the reservation is
/// released.
pub(super) fn depopulated(mm: &Mm, mut bucket: SpinGuard<'_, Bucket>, record: Record) {
    if record.populated() != 0 {
        return queue::settle(mm, record);
    }
    let empty = bucket.unlink(mm, record);
    drop(bucket);
    release(mm, empty, Cause::Change);
}

/// Why a reservation is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// Its range, or what is mapped there, changes.
    Change,
    /// Memory is short.
    Pressure,
}

/// Releases every reservation of `space` that has a page in `[start, end)`. Pages that are mapped stay so. The caller
/// holds M for writing, or else the range may be reserved again at once; no spinlock.
pub fn release_range(mm: &Mm, space: &AddressSpace, start: VirtAddr, end: VirtAddr) {
    if start >= end || !space.reservations.may_be() {
        return;
    }
    let bytes = PageSize::Size2M.bytes();
    let first = start.align_down(bytes);
    let ranges = end.offset_from(first).div_ceil(bytes);
    if ranges <= BUCKETS as u64 {
        (0..ranges).for_each(|n| release_key(mm, Key { space: space.id, range: first.add(n * bytes) }));
    } else {
        let wanted = |key: Key| key.space == space.id && first <= key.range && key.range < end;
        release_where(mm, Cause::Change, wanted);
    }
}

/// Releases the reservation for `key`, if there is one.
pub(crate) fn release_key(mm: &Mm, key: Key) {
    let found = unlink(mm, &mut mm.thp.table.lock(key), |other| other == key);
    if let Some(unlinked) = found {
        release(mm, unlinked, Cause::Change);
    }
}

/// Releases every reservation for which `wanted` holds, and returns how many pages nobody had populated.
pub(super) fn release_where(mm: &Mm, cause: Cause, wanted: impl Fn(Key) -> bool) -> u64 {
    let mut pages = 0;
    for n in 0..BUCKETS {
        while let Some(unlinked) = unlink_nth(mm, n, &wanted) {
            pages += release(mm, unlinked, cause);
        }
    }
    pages
}

fn unlink_nth(mm: &Mm, n: usize, wanted: &impl Fn(Key) -> bool) -> Option<Unlinked> {
    unlink(mm, &mut mm.thp.table.lock_nth(n), wanted)
}

fn unlink(mm: &Mm, bucket: &mut Bucket, wanted: impl Fn(Key) -> bool) -> Option<Unlinked> {
    let record = bucket.find_by(wanted)?;
    Some(bucket.unlink(mm, record))
}

/// Drops the references of a reservation that has left the table: unpopulated pages are freed, the others lose their
/// reservation. Returns the number of unpopulated pages. No lock is held.
pub(super) fn release(mm: &Mm, unlinked: Unlinked, cause: Cause) -> u64 {
    let record = unlinked.record();
    let (populated, range, pfn) = (record.populated(), record.key().range.raw(), record.block().pfn().raw());
    let unused = PAGES as u64 - populated;
    let point = if populated == 0 { Point::ReserveFree } else { Point::ReserveBreak };
    mm.stats.note(point, 1, || [range, pfn, populated, 0]);
    if cause == Cause::Pressure {
        mm.stats.note(Point::ReserveReclaim, 1, || [range, pfn, unused, 0]);
    }
    mm.stats.sub(Counter::NrThpReserved, unused);
    unlinked.dissolve().for_each(|page| mm.put_folio(page));
    mm.thp.turnstile.wake(mm);
    unused
}
