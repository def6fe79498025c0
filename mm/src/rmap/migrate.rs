//! Moving a folio to another frame while its spaces run.
//!
//! ```text
//!   1  unmap     every leaf becomes a migration entry; its mapping and its reference go      faults wait from now on
//!   2  freeze    the count of references, if it is the caller's one: else somebody uses the memory, and all is undone
//!   3  copy      the bytes, and what the struct page says: owner and index
//!   4  remap     every migration entry becomes a leaf for the new frame, with the rights that it remembers
//!   5  free      the old frames; wake those who wait
//! ```
//! **Guarantee.** A user's load sees what was stored, whenever it comes; a store is in the copy or faults and waits.
//! That rests on two orders. The entry is broken and flushed before the copy begins, so that no store goes to the old
//! frame after it was read. And the new leaf is made only over an entry that was flushed: no TLB has two translations
//! for one address (Arm ARM D8.16, R_WHZWS).
//!
//! An object has a reference to each of its pages; it goes over to the new one under the object's lock, where faults
//! look for the page.
//!
//! **Others meanwhile.** munmap takes a migration entry away, mprotect changes it, fork gives the child one, mremap takes
//! it along: step 4 finds what there is. Nobody can hold the folio from step 2 on: not by a frame number, since its
//! count is 0, and not by an address.
//!
//! | refused | why |
//! |---|---|
//! | [`Refused::Busy`] | somebody else moves it or splits it |
//! | [`Refused::Kind`] | neither anonymous nor of hugetlb nor of an object, or the target is not alike |
//! | [`Refused::Reserved`] | a reservation counts on the page's place in its block |
//! | [`Refused::Pinned`] | a device may read or write the frame |
//! | [`Refused::Shared`] | [`MoveWhat::Exclusive`], and the scheme cannot say that one space alone maps it |
//! | [`Refused::Poisoned`] | a part of it has failed: its contents are lost, or must not be read |
//! | [`Refused::Referenced`] | somebody holds it, and may look at it |
#![forbid(unsafe_code)]

use core::fmt;

use arch::{Machine, PhysMem};

use super::target::is_movable;
use super::unmap::{Now, remap, unmap_to_move};
use super::walk::{Origin, count_mappings};
use super::{deferred, wake};
use crate::Mm;
use crate::mapcount::{self, Answer, Sharing};
use crate::page::{Flags, FolioRef, PageKind, PageRef};
use crate::trace::Point;

/// Which folios may be moved, by who maps them (Linux: `MPOL_MF_MOVE` and `MPOL_MF_MOVE_ALL`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MoveWhat {
    /// Those of which the scheme of counting knows that one space alone maps them.
    Exclusive,
    /// All.
    All,
}

/// Why a folio stays what and where it is. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Somebody else moves it or splits it.
    Busy,
    /// It is of a kind that cannot be moved, or the target is not like it.
    Kind,
    /// It belongs to a reservation of a huge page.
    Reserved,
    /// It is pinned.
    Pinned,
    /// It may be mapped by more spaces than one.
    Shared,
    /// Somebody holds a reference beside the entries that map it.
    Referenced,
    /// A part of it has failed.
    Poisoned,
    /// There is no memory for its tables, or for where it is to go.
    Memory,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Busy => "somebody else moves it or splits it",
            Refused::Kind => "it is of a kind that cannot be moved so",
            Refused::Reserved => "it belongs to a reservation of a huge page",
            Refused::Pinned => "it is pinned",
            Refused::Shared => "it may be mapped by more spaces than one",
            Refused::Referenced => "somebody holds a reference to it",
            Refused::Poisoned => "a part of it has failed",
            Refused::Memory => "there is no memory for it",
        })
    }
}

/// The right to move or split a folio, which one has at a time. The caller holds a reference to it.
pub(super) struct Moving(PageRef);

impl Moving {
    /// Takes it, if the folio can be moved or split at all.
    pub(super) fn begin(mm: &Mm, head: PageRef) -> Result<Self, Refused> {
        if !is_movable(head.kind()) {
            return Err(Refused::Kind);
        }
        if head.flags().contains(Flags::RESERVED) {
            return Err(Refused::Reserved);
        }
        if head.maybe_pinned() {
            return Err(Refused::Pinned);
        }
        // Whoever holds it now will most likely still do so when everything is unmapped.
        let entries = match mapcount::scheme(mm).entries(head) {
            Answer::Exact(entries) => entries.into(),
            // A bound would hide the holder, and a block become a table before he shows.
            Answer::AtMost(_) | Answer::Unknown => count_mappings(mm, head).entries,
        };
        if u64::from(head.refcount()) > entries + 1 + u64::from(Origin::of(head).is_shared()) {
            return Err(Refused::Referenced);
        }
        if !head.claim_flag(Flags::MOVING) {
            return Err(Refused::Busy);
        }
        let moving = Moving(head);
        // It is said while this flag is held.
        if head.flags().contains(Flags::POISONED) {
            moving.give_up();
            wake(mm);
            return Err(Refused::Poisoned);
        }
        Ok(moving)
    }
    /// The folio stays.
    pub(super) fn give_up(self) {
        self.0.clear_flags(Flags::MOVING);
    }
    /// The folio, which is frozen, is no more, and the mark with it.
    pub(super) fn done(self) {}
}

/// A folio was not moved: why, and the target, which is the caller's again.
#[derive(Debug)]
pub struct NotMoved {
    /// Why.
    pub why: Refused,
    /// What was to be its place.
    pub target: FolioRef,
}

/// Moves the folio, to which the caller gives one reference, to `target`: a folio of the same kind and order that
/// nobody else knows, with one reference ([`super::target_for`]). The reference to the folio is given up in any case,
/// that to the target with success. May be called with M held or not; no spinlock is held.
///
/// # Errors
/// [`NotMoved`].
pub fn migrate_folio(mm: &Mm, folio: FolioRef, target: FolioRef, what: MoveWhat) -> Result<(), NotMoved> {
    let pages = target.order().pages();
    let begin = [folio.pfn().raw(), target.pfn().raw(), target.order().raw().into(), 0];
    let moved = |result: &Result<(), NotMoved>| {
        let pages = if result.is_ok() { pages } else { 0 };
        (pages, [pages, 0, 0, 0])
    };
    mm.stats.slice(Point::Migrate, (0, || begin), moved, || carry_out(mm, folio, target, what))
}

fn carry_out(mm: &Mm, folio: FolioRef, target: FolioRef, what: MoveWhat) -> Result<(), NotMoved> {
    match try_migrate(mm, &folio, &target, what) {
        Ok(origin) => {
            give_back(mm, folio, &origin);
            // From here on the entries hold it; where all of them went meanwhile, this is the end of it.
            mm.put_folio(target);
            wake(mm);
            Ok(())
        }
        Err(why) => {
            mm.stats.note(Point::MigrateFail, target.order().pages(), || [folio.pfn().raw(), 0, 0, 0]);
            mm.put_folio(folio);
            Err(NotMoved { why, target })
        }
    }
}

/// Steps 1 to 4. The folio is frozen afterwards, and mapped by nothing.
fn try_migrate(mm: &Mm, folio: &FolioRef, target: &FolioRef, what: MoveWhat) -> Result<Origin, Refused> {
    let head = folio.page();
    if (head.kind(), head.order()) != (target.kind(), target.order()) {
        return Err(Refused::Kind);
    }
    let alone = || mapcount::scheme(mm).sharing(head) == Answer::Exact(Sharing::Exclusive);
    if what == MoveWhat::Exclusive && !alone() {
        return Err(Refused::Shared);
    }
    let moving = Moving::begin(mm, head)?;
    let origin = Origin::of(head);
    unmap_to_move(mm, &origin);
    if !take_over(mm, &origin, target.page()) {
        remap(mm, &origin, Now::Folio(head));
        moving.give_up();
        wake(mm);
        return Err(if head.maybe_pinned() { Refused::Pinned } else { Refused::Referenced });
    }
    remap(mm, &origin, Now::Folio(target.page()));
    deferred::pass_on(mm, head, target.page());
    moving.done();
    Ok(origin)
}

/// Steps 2 and 3, if nobody else holds the folio. Of an object's page the object's reference goes over to the target.
fn take_over(mm: &Mm, origin: &Origin, target: PageRef) -> bool {
    let head = origin.head;
    if origin.is_shared() {
        let object = origin.object(mm);
        return object.is_some_and(|(object, index)| object.exchange_page(index, head, target));
    }
    if !head.freeze(1) {
        return false;
    }
    Machine::copy(target.pfn().phys(), head.pfn().phys(), origin.order.bytes());
    origin.pass_on(target, 0);
    true
}

/// The end of the old folio, which is frozen: the caller's reference is the last one.
fn give_back(mm: &Mm, folio: FolioRef, origin: &Origin) {
    folio.clear_flags(Flags::MOVING);
    match origin.kind {
        PageKind::Hugetlb => {
            folio.set_refcount(1);
            mm.put_folio(folio);
        }
        _ => mm.free_pages(folio, origin.order),
    }
}
