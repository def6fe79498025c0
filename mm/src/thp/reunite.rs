//! A huge page that a write after fork has taken apart becomes one again, in place.
//!
//! ```text
//!   before fork   parent [ block F ]
//!   a write       parent [ table ]-> F0 X F2 .. F511      child [ block F ]      X: the parent's copy of page 1
//!   the child's end                  F0 X F2 .. F511      all of F is the parent's again
//!   reunited      parent [ block F ]                      X was copied to F1 and freed; the table is freed
//! ```
//! Copying 4 KiB at the write instead of 2 MiB is right while the child lives; what was missing is the way back. A
//! collapse would copy 512 pages to a new folio. Here the folio is at hand, and no more is copied than the parent has
//! written meanwhile.
//!
//! **When.** The folio is found from the entries that map it at its place. It must be the space's alone: *each*
//! reference to it is that of an entry of this table. That is asked of the references and of no scheme of counting,
//! which may not know. What else the table maps must be strays (`strays`); where it maps nothing, or zeros, pages of
//! zeros are filled in, if as many pages are populated as `promotion_threshold` asks for: a part that was given up by
//! MADV_DONTNEED does not come back for a few pages' sake.
//!
//! **Steps**, in rounds of `strays::MOST` pages: under T, look, freeze the folio's references, break the table's entry,
//! flush; copy strays and fill holes, so that the table maps more of the folio; make the entry again. While pages are
//! missing the same table is linked; in the last round the 512 entries are joined to one block. Between rounds T is let
//! go and everything is consistent: a promotion that must stop half-way has done harm to nobody. M is held for reading
//! all the while, for the same reasons as in [`super::promote`].
//!
//! **Every page was written** while the child lived: no entry maps the folio any more, and it ended with the child. Then a
//! new block takes all 512 pages in, by the same rounds (`anew`); that is a collapse by copy, and is tried for ranges
//! of which it is known that they were huge, and that may become huge by the policy of today.
//!
//! **Single pages at their places.** A child that outlives its parent has single pages of what was the parent's
//! reservation. Where all 512 are there, and each entry's reference is the only one, they become a folio as in a
//! promotion (`in_place`): no page is copied. That, too, is done where the policy of today lets it become huge.
//!
//! **The deferred list.** A folio of which a part is not mapped may stand there. Whole again, it leaves it.
#![forbid(unsafe_code)]

use arch::pte::PteFlags;
use arch::{Desc, Level, Machine, Order, PhysAddr, PhysMem, VirtAddr};

use super::PromoteError;
use super::exchange::{exchange, has_rights, table_of};
use super::held::Held;
use super::policy;
use super::popmap::{PAGES, Popmap};
use super::record::Key;
use super::strays::{self, Home};
use crate::Mm;
use crate::mapcount::{self, Remains, Run};
use crate::page::{FolioList, PageKind, PageRef};
use crate::pgtable::{Displaced, normal_page};
use crate::rmap::deferred;
use crate::space::{AddressSpace, Vma, range};
use crate::stats::Counter;
use crate::trace::Point;

/// Makes the range of `key`, in `vma`, a block of its own folio again. The range may have a huge page. The caller holds
/// M for reading and no spinlock.
///
/// # Errors
/// [`PromoteError`]: `NoReservation` where no folio of the range's own is mapped there. Some strays may have been
/// brought back.
pub(super) fn reunite(mm: &Mm, space: &AddressSpace, vma: &Vma, key: Key) -> Result<(), PromoteError> {
    let result = match round(mm, space, vma, key, None) {
        Err(PromoteError::NoReservation) => in_place(mm, space, vma, key),
        first => first,
    };
    let result = result.and_then(|first| rest(mm, space, vma, key, first));
    let tried = !matches!(result, Ok(()) | Err(PromoteError::NoReservation));
    if tried {
        mm.stats.note(Point::PromoteFail, 1, || [key.range.raw(), 0, 0, 0]);
    }
    result
}

/// Brings the pages of a range that has neither reservation nor folio, since all of them were copied for a write after
/// fork, together in a new block. The range was noted ([`super::holes`]). Takes M for reading; the caller holds no
/// lock.
///
/// # Errors
/// [`PromoteError`]: `NoReservation` where the range has anything but 512 pages that are its own alone, or there is no
/// block.
pub(super) fn anew(mm: &Mm, space: &AddressSpace, va: VirtAddr) -> Result<(), PromoteError> {
    let _mmap = space.mmap_lock.read(mm.env);
    let _held = Held::mmap_read(mm);
    let (vma, key) = (space.vma_at(va).ok_or(PromoteError::Vma)?, Key::new(space, va));
    if !is_wanted(mm, space, &vma, key) {
        return Err(PromoteError::Vma);
    }
    let none = PromoteError::NoReservation;
    if !is_all_strays(space, key) {
        return Err(none);
    }
    let folio = mm.alloc_pages(Order::PMD, PageKind::Anon).map_err(|_| none)?;
    folio.prep_compound(PageKind::Anon, Order::PMD, mm.config.tails);
    folio.set_mapping(space.id, vma.index_of(key.range));
    match round(mm, space, &vma, key, Some(folio.page())) {
        Ok(first) => {
            // The references are the entries'.
            folio.leave();
            rest(mm, space, &vma, key, first)
        }
        Err(error) => {
            mm.free_pages(folio, Order::PMD);
            Err(error)
        }
    }
}

/// Whether the range may become huge by the policy of today.
fn is_wanted(mm: &Mm, space: &AddressSpace, vma: &Vma, key: Key) -> bool {
    policy::may_become_huge(mm, space, vma) && vma.fits_block(key.range)
}

/// The only round for a range whose entries map 512 single pages, each at its place of one block and nobody else's.
///
/// # Errors
/// `NoReservation`: something else is mapped there. `Referenced`: somebody else has one of the pages. `Rights`.
fn in_place(mm: &Mm, space: &AddressSpace, vma: &Vma, key: Key) -> Result<Round, PromoteError> {
    let none = PromoteError::NoReservation;
    if !is_wanted(mm, space, vma, key) {
        return Err(none);
    }
    let mut tree = space.ptl.lock();
    let _held = Held::begin(mm);
    let entry = tree.entry(space.flusher(mm), key.range, Level::L2).map_err(|_| none)?;
    let table = table_of(&entry).map_err(|_| none)?;
    let head = block_of_singles(table).ok_or(none)?;
    let desc = |i: usize| Machine::read_desc(table.add(8 * i as u64));
    if let Some(i) = (0..PAGES).find(|&i| !has_rights(desc(i), vma.prot.leaf_flags())) {
        return Err(PromoteError::Rights(key.va(i)));
    }
    let page = |i: usize| head.nth(i as u64);
    if let Some(stuck) = (0..PAGES).find(|&i| !page(i).freeze(strays::SOLE)) {
        (0..stuck).for_each(|i| page(i).set_refcount(strays::SOLE));
        return Err(PromoteError::Referenced(page(stuck).pfn()));
    }
    let block = range::run_of(space, vma, &entry, head);
    head.prep_compound(PageKind::Anon, Order::PMD, mm.config.tails);
    head.set_mapping(space.id, vma.index_of(key.range));
    mapcount::fold(mm, &block);
    let new = range::leaf_for(mm, head.pfn().phys(), Level::L2, vma.prot);
    let displaced = exchange(mm, entry, new, |_| ());
    head.set_refcount(1);
    mm.stats.inc(Counter::NrAnonThp);
    deferred::offer(mm, head);
    Ok(Round::Last(displaced))
}

/// The first of 512 single pages of one aligned block, which the entries of a table map in order.
fn block_of_singles(table: PhysAddr) -> Option<PageRef> {
    let page = |i: usize| {
        let page = normal_page(Machine::read_desc(table.add(8 * i as u64)), Level::L3)?;
        page.is_single(PageKind::Anon).then_some(page)
    };
    let head = page(0).filter(|head| head.pfn().phys().is_aligned(Order::PMD.bytes()))?;
    (1..PAGES).all(|i| page(i) == Some(head.nth(i as u64))).then_some(head)
}

/// Whether each entry of the range maps a single page that nobody else has.
fn is_all_strays(space: &AddressSpace, key: Key) -> bool {
    let tree = space.ptl.lock();
    let last = tree.walk(key.range).last();
    let desc = |i: u64| Machine::read_desc(last.slot.add(8 * i));
    last.level == Level::L3 && (0..PAGES as u64).all(|i| strays::sole(desc(i)).is_some())
}

/// The rounds after the first one, until the block is made.
fn rest(mm: &Mm, space: &AddressSpace, vma: &Vma, key: Key, mut last: Round) -> Result<(), PromoteError> {
    loop {
        if let Round::Last(table) = last {
            mm.gather(space.tag(), |gather| gather.hold_displaced(table));
            mm.stats.note(Point::Reunite, 1, || [key.range.raw(), 0, 0, 0]);
            return Ok(());
        }
        last = round(mm, space, vma, key, None)?;
    }
}

/// What came of a round.
enum Round {
    /// The table maps more of the folio than before, and not all.
    More,
    /// The block is made; this is the table that is linked no more.
    Last(Displaced<1>),
}

/// One round. `new` is a folio that nobody knows yet, with one reference, where 512 strays are to come together; else
/// the folio is that which the table maps.
fn round(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    key: Key,
    new: Option<PageRef>,
) -> Result<Round, PromoteError> {
    let mut tree = space.ptl.lock();
    let held = Held::begin(mm);
    let none = PromoteError::NoReservation;
    let entry = tree.entry(space.flusher(mm), key.range, Level::L2).map_err(|_| none)?;
    let table = table_of(&entry).map_err(|_| none)?;
    let found = Found::look(mm, key, table, (new, vma.prot.leaf_flags()))?;
    let populated = found.own.with(&found.strays).count();
    if !found.holes.is_empty() && populated < u64::from(mm.thp.threshold()) {
        return Err(PromoteError::BelowThreshold(populated));
    }
    let head = found.head;
    let (strays, holes) = found.next();
    let mapped = found.own.with(&strays).with(&holes).count();
    let block = range::run_of(space, vma, &entry, head);
    let pieces = block.pieces(table);
    let room = mapcount::may_add(mm, &pieces).is_ok();
    if !room || !head.freeze(found.references()) {
        return Err(PromoteError::Referenced(head.pfn()));
    }
    let home = Home { mm, vma, key, block: head };
    let whole = mapped == PAGES as u64;
    let new = if whole { range::leaf_for(mm, head.pfn().phys(), Level::L2, vma.prot) } else { entry.desc() };
    let mut released = FolioList::new();
    let displaced = exchange(mm, entry, new, |clean| {
        released = home.refill(clean, (&strays, &holes), &block);
        if whole {
            join(mm, head, &pieces, &block);
        }
    });
    head.set_refcount(if whole { 1 } else { mapped as u32 });
    if !whole {
        // Who looked for partly mapped folios meanwhile has found it frozen, and taken it off the list.
        deferred::note(mm, head, Remains::Part);
    }
    deferred::offer_filled(mm, head, holes.count());
    space.add_anon(mm, holes.count());
    mm.stats.add(Counter::ResPagesFilled, holes.count());
    drop(held);
    drop(tree);
    strays::put(mm, released);
    Ok(if whole {
        Round::Last(displaced)
    } else {
        displaced.keep();
        Round::More
    })
}

/// The mappings of 512 entries become that of the block. The folio is frozen.
fn join(mm: &Mm, head: PageRef, pieces: &Run, block: &Run) {
    deferred::forget(mm, head);
    mapcount::join(mm, pieces, block);
    mm.stats.inc(Counter::NrAnonThp);
}

/// What the table maps.
struct Found {
    /// The folio.
    head: PageRef,
    /// Where a page of the folio is mapped, at its place.
    own: Popmap,
    /// Where strays are.
    strays: Popmap,
    /// Where nothing is, or zeros.
    holes: Popmap,
}

impl Found {
    /// Looks at all entries of `table`. Under T.
    fn look(
        mm: &Mm,
        key: Key,
        table: PhysAddr,
        (new, flags): (Option<PageRef>, PteFlags),
    ) -> Result<Found, PromoteError> {
        let desc = |i: usize| Machine::read_desc(table.add(8 * i as u64));
        let head = new.or_else(|| (0..PAGES).find_map(|i| folio_at(mm, desc(i), i)));
        let head = head.ok_or(PromoteError::NoReservation)?;
        let (own, strays, holes) = (Popmap::EMPTY, Popmap::EMPTY, Popmap::EMPTY);
        let mut found = Found { head, own, strays, holes };
        (0..PAGES).try_for_each(|i| found.take_in(mm, key, (i, desc(i)), flags))?;
        Ok(found)
    }

    /// References to the folio if nobody else has it: one an entry, or the one with which a new folio comes.
    fn references(&self) -> u32 {
        self.own.count().max(1) as u32
    }

    fn take_in(
        &mut self,
        mm: &Mm,
        key: Key,
        (i, desc): (usize, Desc),
        flags: PteFlags,
    ) -> Result<(), PromoteError> {
        if desc.is_migration() {
            return Err(PromoteError::InProgress(key.va(i)));
        }
        let Some(page) = normal_page(desc, Level::L3) else {
            let zeros = !desc.is_valid() || mm.zero_page.is_at(desc.output(Level::L3));
            self.holes.insert(i);
            return if zeros { Ok(()) } else { Err(PromoteError::Foreign(key.va(i))) };
        };
        if !has_rights(desc, flags) {
            return Err(PromoteError::Rights(key.va(i)));
        }
        if page == self.head.nth(i as u64) {
            self.own.insert(i);
            return Ok(());
        }
        self.strays.insert(i);
        strays::sole(desc).map(drop).ok_or(PromoteError::Shared(key.va(i)))
    }

    /// What the next round brings back and fills in: no more than `strays::MOST` pages together.
    fn next(&self) -> (Popmap, Popmap) {
        let next = self.strays.with(&self.holes).lowest(strays::MOST as usize);
        (next.without(&self.holes), next.without(&self.strays))
    }
}

/// The folio of 2 MiB of which entry `i` maps page `i`.
fn folio_at(mm: &Mm, desc: Desc, i: usize) -> Option<PageRef> {
    let page = normal_page(desc, Level::L3)?;
    let head = page.head(mm.config.tails);
    let whole = head.is_folio() && head.order() == Order::PMD && head.kind() == PageKind::Anon;
    (whole && head.nth(i as u64) == page).then_some(head)
}
