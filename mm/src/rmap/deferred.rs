//! Folios that are mapped in part: a list of what would give pages back if it were split.
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
//! [`Remains`]: crate::mapcount::Remains
#![forbid(unsafe_code)]

use core::convert::Infallible;
use core::ops::ControlFlow;

use arch::addr::PAGE_SIZE;
use arch::sync::SpinLock;

use super::split::split_folio;
use super::walk::rmap_walk;
use crate::Mm;
use crate::locks;
use crate::mapcount::Remains;
use crate::page::{Flags, FolioList, FolioRef, PageKind, PageList, PageRef};
use crate::stats::Counter;
use crate::thp::popmap::{PAGES, Popmap};

/// The list. Each folio on it has [`Flags::PARTIAL`]; the list holds no references.
pub(super) struct Deferred {
    /// D.
    folios: SpinLock<PageList>,
}

impl Deferred {
    pub(super) const fn new() -> Self {
        Deferred { folios: SpinLock::new(locks::DEFERRED_SPLIT, PageList::new()) }
    }
}

/// Entries that mapped the folio are gone, and the scheme says what remains. The caller holds T of their tree, or a
/// reference.
pub(crate) fn note(mm: &Mm, head: PageRef, remains: Remains) {
    if remains == Remains::Part && head.kind() == PageKind::Anon && head.is_folio() {
        let mut folios = mm.rmap.deferred.folios.lock();
        if head.claim_flag(Flags::PARTIAL) {
            folios.push(head);
            mm.stats.inc(Counter::ThpDeferredSplitPage);
        }
    }
}

/// The folio is no more, or about to be: it is frozen, or its last reference was dropped.
pub(crate) fn forget(mm: &Mm, head: PageRef) {
    if head.flags().contains(Flags::PARTIAL) {
        take_off(&mut mm.rmap.deferred.folios.lock(), head);
    }
}

fn take_off(folios: &mut PageList, head: PageRef) {
    if head.flags().contains(Flags::PARTIAL) {
        folios.remove(head);
        head.clear_flags(Flags::PARTIAL);
    }
}

/// Runs `f` on the list, locked.
pub(super) fn with_list<R>(mm: &Mm, f: impl FnOnce(&PageList) -> R) -> R {
    f(&mm.rmap.deferred.folios.lock())
}

/// How many folios are on the list.
#[must_use]
pub fn backlog(mm: &Mm) -> u64 {
    mm.rmap.deferred.folios.lock().len()
}

/// Splits the folios of the list that are mapped in part, and returns how many pages that freed (4 KiB units). What
/// somebody holds stays on the list. Sleeps nowhere and allocates nothing, so a fault that holds M may call it; the
/// caller holds no lock of rank 30 or above.
pub fn split_deferred(mm: &Mm) -> u64 {
    let (mut freed, mut refused) = (0, FolioList::new());
    for _ in 0..backlog(mm) {
        let Some(folio) = next(mm) else { break };
        let head = folio.page();
        if is_whole(mm, head) {
            mm.put_folio(folio);
            continue;
        }
        match split_folio(mm, folio) {
            Ok(pages) => freed += pages,
            Err(_) => keep(mm, head, &mut refused),
        }
    }
    while let Some(folio) = refused.pop() {
        mm.rmap.deferred.folios.lock().push(folio.page());
        mm.put_folio(folio);
    }
    freed
}

/// A folio of the list that is not about to be freed, off the list, with a reference.
fn next(mm: &Mm) -> Option<FolioRef> {
    let mut folios = mm.rmap.deferred.folios.lock();
    while let Some(head) = folios.first() {
        take_off(&mut folios, head);
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
    if folio.is_folio() && folio.kind() == PageKind::Anon && folio.claim_flag(Flags::PARTIAL) {
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

impl Mm {
    /// Gives back what memory management keeps though nobody misses it: reservations of huge pages, and the unmapped
    /// parts of folios. Returns how many pages that were (4 KiB units). The caller holds no lock of rank 30 or above.
    pub fn shrink(&self) -> u64 {
        crate::thp::reclaim::drop_reservations(self) + split_deferred(self)
    }
}
