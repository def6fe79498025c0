//! Folios that are mapped in part: a list of what would give pages back if it were split; and beside it the list of
//! huge pages that may hold many zeros ([`super::underused`]).
//!
//! A folio is freed as a whole. When a part of it was unmapped, that part is memory which nobody can use and nobody
//! misses, for as long as the rest is mapped. To split it at once would be in vain where the rest is about to go too,
//! as at the end of a program; so it is put on a list, and split when memory is short (Linux: `deferred_split_folio`
//! and its shrinker).
//!
//! ```text
//!   a leaf of it goes, the scheme says "some pages are mapped, some are not" --> list --> memory is short: split
//!                                                                                  `----> freed: off the list
//! ```
//! Whether a page is unmapped is for the scheme of counting to say ([`Remains`]), and not all of them can always tell:
//! what is missed stays whole until it is freed. What is on the list for no reason is found out by a walk before it is
//! split. Nothing is allocated on the way: a folio that a block maps has no page that is not mapped, so no table is
//! needed.
//!
//! **Lists of candidates.** Every new huge page is a candidate: it goes on the second list. When a part of
//! it is unmapped it goes over to the first, as that part costs nothing to give back. A folio is on one of them at
//! most, which its flag says, and when it moves to another frame its place goes along.
//!
//! The second list is several queues, by how many of its pages a promotion has *filled* with zeros, which nobody had
//! touched: `class_of`. That number stands in the owner's word of the head ([`PageRef::private`]) for as long as
//! the folio lives, or until it is found to be used. It changes under D only, while the folio is on no list.
//!
//! [`Remains`]: crate::mapcount::Remains
#![forbid(unsafe_code)]

use core::convert::Infallible;
use core::ops::ControlFlow;

use arch::addr::PAGE_SIZE;
use arch::sync::SpinLock;

use super::split::{Zeros, split_giving_back};
use super::walk::rmap_walk;
use crate::Mm;
use crate::config::Number;
use crate::locks;
use crate::mapcount::Remains;
use crate::page::{Flags, FolioList, FolioRef, PageKind, PageList, PageQueue, PageRef};
use crate::thp::popmap::{PAGES, Popmap};
use crate::trace::Point;

/// All lists. They hold no references.
pub(super) struct Lists {
    /// Mapped in part: each has [`Flags::PARTIAL`].
    pub(super) partial: PageList,
    /// Possibly underused: each has [`Flags::CANDIDATE`], and is in the queue of its class.
    pub(super) candidates: [PageQueue; CLASSES],
}

/// Queues of candidates: of those with 0, 1, 2 to 3, 4 to 7, .. 256 to 511 filled pages.
pub(super) const CLASSES: usize = 10;

/// The queue for a candidate with so many filled pages.
pub(super) const fn class_of(filled: u64) -> usize {
    (u64::BITS - filled.leading_zeros()) as usize
}

const _: () = assert!(class_of(PAGES as u64 - 1) == CLASSES - 1);

/// How many pages of the folio a promotion has filled, as far as nobody has found them used since.
pub(super) fn filled(head: PageRef) -> u64 {
    head.private()
}

/// The lists.
pub(super) struct Deferred {
    /// D.
    lists: SpinLock<Lists>,
}

impl Deferred {
    pub(super) const fn new() -> Self {
        let candidates = [const { PageQueue::new() }; CLASSES];
        let lists = Lists { partial: PageList::new(), candidates };
        Deferred { lists: SpinLock::new(locks::DEFERRED_SPLIT, lists) }
    }
}

/// Entries that mapped the folio are gone, and the scheme says what remains. The caller holds T of their tree, or a
/// reference.
#[inline(always)]
pub(crate) fn note(mm: &Mm, head: PageRef, remains: Remains) {
    if remains == Remains::Part {
        note_part(mm, head);
    }
}

#[inline(never)]
fn note_part(mm: &Mm, head: PageRef) {
    if head.kind() == PageKind::Anon && head.is_folio() {
        let mut lists = mm.rmap.deferred.lists.lock();
        if head.claim_flag(Flags::PARTIAL) {
            lists.take_off_candidates(head);
            lists.partial.push(head);
            mm.stats.note(Point::PartlyMapped, 1, || [head.pfn().raw(), 0, 0, 0]);
        }
    }
}

/// A huge page was made, or comes back: it may be underused. The caller holds T of its tree, or a reference.
pub(crate) fn offer(mm: &Mm, head: PageRef) {
    if mm.thp.number(Number::ShrinkUnderused) == 1 || filled(head) != 0 {
        mm.rmap.deferred.lists.lock().add_candidate(head);
    }
}

/// As [`offer`], of one in which a promotion has filled so many pages, beside those that it had filled before.
pub(crate) fn offer_filled(mm: &Mm, head: PageRef, pages: u64) {
    if pages == 0 {
        return offer(mm, head);
    }
    let mut lists = mm.rmap.deferred.lists.lock();
    lists.take_off_candidates(head);
    head.set_private((filled(head) + pages).min(PAGES as u64 - 1));
    lists.add_candidate(head);
}

/// Of a candidate that is on no list, so many pages are still as a promotion has filled them; none: it is a candidate
/// like any other. The caller holds a reference.
pub(super) fn refile(mm: &Mm, head: PageRef, pages: u64) {
    set_filled(mm, head, pages);
    offer(mm, head);
}

/// A candidate that is on no list is used, and no candidate any more. The caller holds a reference.
pub(super) fn used(mm: &Mm, head: PageRef) {
    set_filled(mm, head, 0);
}

fn set_filled(mm: &Mm, head: PageRef, pages: u64) {
    let _lists = mm.rmap.deferred.lists.lock();
    if !head.flags().contains(Flags::CANDIDATE) {
        head.set_private(pages);
    }
}

/// What could not be split comes back as a candidate, if it is a huge page still.
pub(super) fn come_back(mm: &Mm, folio: &FolioRef) {
    if folio.is_folio() && folio.kind() == PageKind::Anon {
        offer(mm, folio.page());
    }
}

/// The folio, which is frozen, has moved to `to`, to which the caller holds a reference: its place on a list moves too.
pub(super) fn pass_on(mm: &Mm, head: PageRef, to: PageRef) {
    let flags = head.flags();
    let huge = head.is_folio() && head.kind() == PageKind::Anon;
    if !(flags.intersects(LISTED) || huge && filled(head) != 0) {
        return;
    }
    let mut lists = mm.rmap.deferred.lists.lock();
    let partial = flags.union(to.flags()).contains(Flags::PARTIAL);
    lists.take_off(head);
    lists.take_off(to);
    if huge {
        to.set_private(filled(head));
    }
    if !partial {
        lists.add_candidate(to);
    } else if to.claim_flag(Flags::PARTIAL) {
        lists.partial.push(to);
    }
}

/// The folio is no more, or about to be: it is frozen, or its last reference was dropped.
pub(crate) fn forget(mm: &Mm, head: PageRef) {
    if head.flags().intersects(LISTED) {
        mm.rmap.deferred.lists.lock().take_off(head);
    }
}

/// What a folio on a list has.
const LISTED: Flags = Flags::PARTIAL.union(Flags::CANDIDATE);

impl Lists {
    fn take_off(&mut self, head: PageRef) {
        if head.flags().contains(Flags::PARTIAL) {
            self.partial.remove(head);
            head.clear_flags(Flags::PARTIAL);
        }
        self.take_off_candidates(head);
    }
    fn take_off_candidates(&mut self, head: PageRef) {
        if head.flags().contains(Flags::CANDIDATE) {
            self.candidates[class_of(filled(head))].remove(head);
            head.clear_flags(Flags::CANDIDATE);
        }
    }
    /// Puts a folio last, unless it is on a list.
    fn add_candidate(&mut self, head: PageRef) {
        if !head.flags().contains(Flags::PARTIAL) && head.claim_flag(Flags::CANDIDATE) {
            self.candidates[class_of(filled(head))].push_last(head);
        }
    }
}

/// Runs `f` on the lists, locked.
pub(super) fn with_lists<R>(mm: &Mm, f: impl FnOnce(&Lists) -> R) -> R {
    f(&mm.rmap.deferred.lists.lock())
}

/// How many folios are mapped in part, as far as is known.
#[must_use]
pub fn backlog(mm: &Mm) -> u64 {
    with_lists(mm, |lists| lists.partial.len())
}

/// How many huge pages may be underused.
#[must_use]
pub fn candidates(mm: &Mm) -> u64 {
    with_lists(mm, |lists| lists.candidates.iter().map(PageQueue::len).sum())
}

/// How many of them are in the queue of a class.
pub(super) fn candidates_of(mm: &Mm, class: usize) -> u64 {
    with_lists(mm, |lists| lists.candidates[class].len())
}

/// The candidate of a class that waits longest and is not about to be freed, off its list, with a reference.
pub(super) fn next_candidate(mm: &Mm, class: usize) -> Option<FolioRef> {
    let mut lists = mm.rmap.deferred.lists.lock();
    loop {
        let head = lists.candidates[class].iter().next()?;
        lists.take_off_candidates(head);
        if let Some(folio) = head.try_get() {
            return Some(folio);
        }
    }
}

/// Splits the folios of the list that are mapped in part, and returns how many pages that freed (4 KiB units). Pages of
/// zeros go too, where a promotion has filled some. What somebody holds stays on the list. Sleeps nowhere and allocates
/// nothing, so a fault that holds M may call it; the caller holds no lock of rank 30 or above.
pub fn split_deferred(mm: &Mm) -> u64 {
    let (mut freed, mut refused) = (0, FolioList::new());
    for _ in 0..backlog(mm) {
        let Some(folio) = next(mm) else { break };
        let head = folio.page();
        if is_whole(mm, head) {
            refile(mm, head, filled(head));
            mm.put_folio(folio);
            continue;
        }
        let zeros = if filled(head) == 0 { Zeros::Keep } else { Zeros::GiveBack };
        match split_giving_back(mm, folio, zeros) {
            Ok(pages) => freed += pages,
            Err(_) => keep(mm, head, &mut refused),
        }
    }
    while let Some(folio) = refused.pop() {
        mm.rmap.deferred.lists.lock().partial.push(folio.page());
        mm.put_folio(folio);
    }
    freed
}

/// A folio of the list that is not about to be freed, off the list, with a reference.
fn next(mm: &Mm) -> Option<FolioRef> {
    let mut lists = mm.rmap.deferred.lists.lock();
    while let Some(head) = lists.partial.first() {
        lists.take_off(head);
        if let Some(folio) = head.try_get() {
            return Some(folio);
        }
    }
    None
}

/// What could not be split, if it is still there, comes back on the list at the end. The mark keeps others from putting
/// it there meanwhile.
fn keep(mm: &Mm, head: PageRef, refused: &mut FolioList) {
    let Some(folio) = head.try_get() else { return };
    let lists = mm.rmap.deferred.lists.lock();
    let listed = folio.flags().contains(Flags::CANDIDATE);
    let kept =
        folio.is_folio() && folio.kind() == PageKind::Anon && !listed && folio.claim_flag(Flags::PARTIAL);
    drop(lists);
    if kept {
        refused.push(folio);
    } else {
        mm.put_folio(folio);
    }
}

/// Whether each page is mapped by some entry.
fn is_whole(mm: &Mm, head: PageRef) -> bool {
    let mut mapped = Popmap::EMPTY;
    let ControlFlow::Continue(()) = rmap_walk(mm, head, |_, leaf| -> ControlFlow<Infallible> {
        let first = leaf.desc.output(leaf.level).pfn().offset_from(head.pfn());
        let end = first + leaf.level.entry_bytes() / PAGE_SIZE;
        (first..end.min(PAGES as u64)).for_each(|n| mapped.insert(n as usize));
        ControlFlow::Continue(())
    });
    mapped.complement().is_empty()
}
