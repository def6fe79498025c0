//! What stands in the way of a range of frames becoming free, and whether it can be moved.
#![forbid(unsafe_code)]

use arch::{Order, Pfn};

use super::migrate::{MoveWhat, NotMoved, Refused, migrate_folio};
use super::split::split_folio;
use super::target::{drop_target, target_for};
use crate::Mm;
use crate::boot::Frames;
use crate::hugetlb::{self, HugeSize};
use crate::page::{Flags, FolioRef, PageKind, PageRef, page_of};
use crate::thp::reservation;

/// What a frame is, to somebody who wants it free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
    /// Nothing stands there, or is about to.
    Nothing,
    /// A page that a reservation keeps, used or not.
    Reservation,
    /// A part of a folio that can be moved.
    Movable,
    /// A folio of a hugetlb pool that nobody uses, of this order: another one can take its place.
    Pooled(Order),
    /// Something that cannot.
    Fixed,
}

/// What the frame is at this moment. Without any lock: it may be something else at the next.
pub(super) fn obstacle(mm: &Mm, pfn: Pfn) -> Obstacle {
    let page = page_of(pfn);
    let head = page.head(mm.config.tails);
    match head.kind() {
        PageKind::Free => mm.block_around(page).map_or(Obstacle::Nothing, obstacle_of),
        _ => obstacle_of(head),
    }
}

/// As [`obstacle`], by the first page of what the frame lies in.
fn obstacle_of(head: PageRef) -> Obstacle {
    match head.kind() {
        PageKind::Buddy | PageKind::Free => Obstacle::Nothing,
        PageKind::ThpReserved => Obstacle::Reservation,
        // Its pages that have not failed come back when nobody uses it any more.
        PageKind::Hugetlb if head.flags().contains(Flags::POISONED) => Obstacle::Fixed,
        PageKind::Anon if head.flags().contains(Flags::RESERVED) => Obstacle::Reservation,
        PageKind::Anon | PageKind::Shmem if !head.maybe_pinned() => Obstacle::Movable,
        PageKind::Hugetlb if head.refcount() != 0 && !head.maybe_pinned() => Obstacle::Movable,
        // A folio that the pool keeps has no references, so nobody can get hold of it.
        PageKind::Hugetlb if head.refcount() == 0 && hugetlb::is_replaceable(head) => {
            Obstacle::Pooled(head.order())
        }
        _ => Obstacle::Fixed,
    }
}

/// Moves everything out of the range once, as far as it can be moved: it stays out, as the range is isolated.
///
/// # Errors
/// Why something stays, and where. `Busy` and `Referenced` may pass.
pub(super) fn evacuate(mm: &Mm, range: Frames) -> Result<(), (Pfn, Refused)> {
    let mut outcome = Ok(());
    let mut pfn = range.start;
    while pfn < range.end {
        let at = pfn;
        pfn = pfn.add(1);
        match obstacle(mm, at) {
            Obstacle::Nothing => {}
            Obstacle::Fixed => return Err((at, Refused::Kind)),
            Obstacle::Reservation => release_reservation(mm, at),
            Obstacle::Movable => {}
            Obstacle::Pooled(order) => {
                let head = at.align_down(order);
                pfn = head.add(order.pages());
                if let Err(why) = hugetlb::replace_free(mm, page_of(head)) {
                    outcome = Err((at, why));
                }
                continue;
            }
        }
        let Some(folio) = mm.try_get_folio(at) else { continue };
        if matches!(folio.kind(), PageKind::Anon | PageKind::Shmem | PageKind::Hugetlb) {
            let end = folio.pfn().add(folio.order().pages());
            match move_out(mm, folio, range) {
                Ok(()) => pfn = pfn.max(end),
                // Single pages now: they are looked at one by one.
                Err(Refused::Memory) if split_around(mm, at) => pfn = at,
                Err(why) => outcome = Err((at, why)),
            }
        } else {
            mm.put_folio(folio);
        }
    }
    outcome
}

fn release_reservation(mm: &Mm, pfn: Pfn) {
    if let Some(record) = mm.reservation_of(pfn) {
        reservation::release_key(mm, record.key());
    }
}

fn move_out(mm: &Mm, folio: FolioRef, range: Frames) -> Result<(), Refused> {
    let target = match folio.kind() {
        PageKind::Hugetlb => HugeSize::from_order(folio.order())
            .and_then(|size| hugetlb::take_spare(mm, size, |page| !range.contains(page.pfn()))),
        _ => target_for(mm, folio.page()).ok(),
    };
    let Some(target) = target else {
        mm.put_folio(folio);
        return Err(Refused::Memory);
    };
    migrate_folio(mm, folio, target, MoveWhat::All).map_err(|NotMoved { why, target }| {
        drop_target(mm, target);
        why
    })
}

/// Makes single pages of a folio for which there is no other place in one piece.
fn split_around(mm: &Mm, pfn: Pfn) -> bool {
    let Some(folio) = mm.try_get_folio(pfn) else { return false };
    if folio.kind() != PageKind::Anon || folio.order() == Order::PAGE {
        mm.put_folio(folio);
        return false;
    }
    split_folio(mm, folio).is_ok()
}
