//! Promotion in place: 512 page entries become one block, no byte of a populated page is copied.
//!
//! ```text
//!   L2 entry  [ table ]-> page 0, 1, .. 511 of the block     -- break, flush, make -->    [ block ]
//!   pages     512 single ones, reference 2 each              -- fold -------------->    one folio, reference 1
//! ```
//! **Steps.** 1. Claim the pages that nobody has populated: from now on no fault takes them. 2. Look whether all is
//! as it must be, and zero the claimed pages, without any lock but M. 3. Under R and T: look again, freeze all
//! references, fold the pages into a folio, break the table's entry, flush, make the block. 4. The table leaves through
//! the gather. Whatever is found wrong up to the freeze is undone, and nothing has happened.
//!
//! **FEAT_BBM level 2.** Where all 512 entries translate as the block will, fully populated and with all rights, the
//! block replaces the table by one store, and the flush follows ([`crate::pgtable::resize`]): nobody sees an invalid
//! entry. A range that is filled, has strays, or entries that lost the right to write, is broken at every level, as
//! its table translates otherwise.
//!
//! | road | stores | TLBIs | DSBs | meanwhile an access to the range |
//! |---|--:|--:|--:|---|
//! | break, flush, make | 2 | 1 | 3 | faults, and its handler waits for T |
//! | replace, flush | 1 | 1 | 2 | is served by either; at level 2 it may take a conflict abort, and its handler waits for T |
//!
//! **Why M for reading is enough.** What must not change is the VMA: it does only under M for writing. What faults do
//! meanwhile they do under T, and each looks at the entry again once it has T: it finds the block, or waits until it
//! is there. The level-3 table is reached under T only, by walks that begin at the root, so when T is let go nobody
//! knows its address any more but TLBs, and those were flushed. (Linux needs more: walkers there hold a
//! table without its parent's lock.)
//!
//! **The fault that reaches the threshold** has made its entry and is about to return. With `promote=async` it returns as
//! any other; its page is mapped small until the promoter comes. With `promote=sync` it promotes the range first: it
//! holds M for reading already, and no other lock. Where that must give up (a fault of the range under way, a reference
//! too many), the range goes to the promoter; the fault itself has long succeeded, and never fails by it. Only *that*
//! fault tries: later ones of a range that was not promoted tell the promoter.
//!
//! **A fault while the entry is broken** sees an invalid level-2 descriptor. Its handler finds no reservation, since
//! that left the table under R, or waits for R; it may allocate; but under T it finds the block and calls itself
//! spurious.
//!
//! **After a fork** entries have lost the right to write, and some map strays (`strays`). While a child has a
//! page of the block, a reference more says so. Afterwards the block gets all rights again, and strays are brought
//! back. A range that was a block before the fork has no reservation any more, but its folio: [`reunite`].
//!
//! **References.** A page is referenced by the reservation and by its entry, or by the claim. Each count must freeze
//! from 2 to 0, so one reference more, of a walker or of a pin, stops the promotion, and none can be taken after.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Desc, DescTable, Level, Machine, Order, Pfn, PhysAddr, PhysMem, VirtAddr};

use super::exchange::{exchange, replace, table_of};
use super::held::Held;
use super::pieces;
use super::policy;
use super::popmap::{PAGES, Popmap};
use super::queue;
use super::record::{Key, Record};
use super::reservation;
use super::reunite;
use super::strays;
use super::table::Unlinked;
use crate::Mm;
use crate::mapcount::{self, Run};
use crate::page::{FolioList, FolioRef, LastRef, PageKind, PageRef};
use crate::pgtable::{Displaced, may_resize};
use crate::rmap::deferred;
use crate::space::exclusive::read_only;
use crate::space::{AddressSpace, Vma, range};
use crate::stats::Counter;
use crate::trace::Point;

/// Why a range was not promoted. Nothing has changed, but where the variant says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PromoteError {
    /// No VMA that may have huge pages covers the range, or the mode forbids it.
    Vma,
    /// The range has no reservation (any more), nor a huge page of its own that was taken apart.
    NoReservation,
    /// So many pages are populated, fewer than the threshold.
    BelowThreshold(u64),
    /// The range has no table of pages.
    NoTable,
    /// A fault has taken the page for this address and not made its entry yet; or what is mapped there is moving.
    InProgress(VirtAddr),
    /// A page that is not the reservation's is mapped here, and is no stray. The reservation, which is of no more use,
    /// was released.
    Foreign(VirtAddr),
    /// The page that is mapped here is the space's copy of a page of the block that a child still has, or is in use
    /// otherwise. It may be brought back later.
    Shared(VirtAddr),
    /// So many strays are mapped, more than one promotion brings back. Some of them are to be brought back first.
    Strays(u64),
    /// The entry for this address has other rights than the VMA.
    Rights(VirtAddr),
    /// Somebody else holds a reference to this page.
    Referenced(Pfn),
}

impl PromoteError {
    /// Whether the range may be promoted when a space that shares pages with it has ended.
    #[must_use]
    pub fn may_be_shared(self) -> bool {
        matches!(self, PromoteError::Shared(_)) || self.may_pass()
    }
    /// Whether trying again later may help though the range sees no more faults.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, PromoteError::InProgress(_) | PromoteError::Referenced(_))
    }
}

/// Promotes the range of `va`. Takes M for reading; the caller holds no lock.
///
/// # Errors
/// [`PromoteError`].
// Walk A.8: in place; verify, break, flush, make the block.
pub fn promote_range(mm: &Mm, space: &AddressSpace, va: VirtAddr) -> Result<(), PromoteError> {
    let _mmap = space.mmap_lock.read(mm.env);
    let _held = Held::mmap_read(mm);
    let vma = space.vma_at(va).ok_or(PromoteError::Vma)?;
    promote_in(mm, space, &vma, va)
}

/// As [`promote_range`], of a range of `vma`, which holds `va`. The caller holds M for reading and no other lock.
///
/// # Errors
/// [`PromoteError`].
pub(super) fn promote_in(mm: &Mm, space: &AddressSpace, vma: &Vma, va: VirtAddr) -> Result<(), PromoteError> {
    if !policy::may_become_huge(mm, space, vma) || !vma.fits_block(va) {
        return Err(PromoteError::Vma);
    }
    let key = Key::new(space, va);
    match promote_populated(mm, space, vma, key, mm.thp.threshold().into()) {
        Err(PromoteError::NoReservation) => reunite::reunite(mm, space, vma, key),
        result => result,
    }
}

/// Promotes the range of `key`, a whole one of `vma`, if it has a reservation with so many populated pages, whatever the
/// policy says. The caller holds M and no other lock.
///
/// # Errors
/// [`PromoteError`].
pub(super) fn promote_populated(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    key: Key,
    least: u64,
) -> Result<(), PromoteError> {
    loop {
        match promote_reserved(mm, space, vma, key, least) {
            Err(PromoteError::Strays(_)) => strays::bring_back_some(mm, space, vma, key)?,
            result => return result,
        }
    }
}

/// One attempt at a range that has a reservation.
fn promote_reserved(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    key: Key,
    least: u64,
) -> Result<(), PromoteError> {
    let claim = Claim::new(mm, key, least)?;
    let begin = || [key.range.raw(), claim.record.block().pfn().raw(), claim.pages.count(), 0];
    let made = |result: &Result<(), PromoteError>| {
        let made = u64::from(result.is_ok());
        (made, [key.range.raw(), made, 0, 0])
    };
    let result = mm.stats.slice(Point::Promote, (0, begin), made, || promote_claimed(mm, space, vma, &claim));
    if let Err(error) = result {
        claim.undo(mm);
        if !matches!(error, PromoteError::Strays(_)) {
            mm.stats.note(Point::PromoteFail, 1, || [key.range.raw(), 0, 0, 0]);
        }
        if matches!(error, PromoteError::Foreign(_)) {
            reservation::release_key(mm, claim.key);
        }
    }
    mm.thp.turnstile.wake(mm);
    result
}

fn promote_claimed(mm: &Mm, space: &AddressSpace, vma: &Vma, claim: &Claim) -> Result<(), PromoteError> {
    let flags = vma.prot.leaf_flags();
    if !claim.pages.is_empty() {
        claim.look(mm, space, flags)?;
        claim.fill();
    }
    let block = range::leaf_for(mm, claim.record.block().pfn().phys(), Level::L2, vma.prot);
    let (table, strays) = make_block(mm, space, vma, block, claim)?;
    strays::put(mm, strays);
    mm.gather(space.tag(), |gather| gather.hold_displaced(table));
    mm.stats.add(Counter::ResPagesFilled, claim.pages.count());
    Ok(())
}

/// The unpopulated pages of a reservation, taken by the promotion as a fault takes one: a bit each, and a reference to
/// each piece.
struct Claim {
    key: Key,
    record: Record,
    pages: Popmap,
}

impl Claim {
    /// Claims all unpopulated pages, if so many others are populated.
    fn new(mm: &Mm, key: Key, least: u64) -> Result<Self, PromoteError> {
        let bucket = mm.thp.table.lock(key);
        let record = bucket.find(key).ok_or(PromoteError::NoReservation)?;
        let populated = record.populated();
        if populated < least {
            return Err(PromoteError::BelowThreshold(populated));
        }
        let pages = record.popmap().complement();
        record.set_popmap(&Popmap::EMPTY.complement());
        queue::settle(mm, record);
        pieces::of(record.block(), pages).for_each(|piece| piece.get().leave());
        mm.stats.sub(Counter::NrThpReserved, pages.count());
        Ok(Claim { key, record, pages })
    }

    /// Looks at entries and references without touching either, before any page is zeroed in vain.
    fn look(&self, mm: &Mm, space: &AddressSpace, flags: PteFlags) -> Result<(), PromoteError> {
        let mut tree = space.ptl.lock();
        let _held = Held::begin(mm);
        let entry = tree.entry(space.flusher(mm), self.key.range, Level::L2);
        let table = table_of(&entry.map_err(|_| PromoteError::NoTable)?)?;
        let Seen { strays, .. } = self.verify(table, flags)?;
        let stuck = self
            .counts(&strays)
            .find_map(|(first, n, count)| (0..n).map(|k| first.nth(k)).find(|page| page.refcount() != count));
        stuck.map_or(Ok(()), |page| Err(PromoteError::Referenced(page.pfn())))
    }

    /// Zeroes the claimed pages. They are the claim's own, so no lock is needed.
    fn fill(&self) {
        for (first, n) in self.pages.runs() {
            Machine::zero(self.record.page(first).pfn().phys(), n as u64 * PAGE_SIZE);
        }
    }

    /// Whether every entry maps its page of the block with `flags`, or nothing where the page is claimed. The right to
    /// write may be away since a fork: the references say whether the page is still shared. Under T.
    fn verify(&self, table: PhysAddr, flags: PteFlags) -> Result<Seen, PromoteError> {
        let start = self.record.block().pfn().phys();
        let (mut strays, mut as_block) = (Popmap::EMPTY, Alike::Yes);
        let (table, first) = (Machine::table(table), Desc::leaf(start, Level::L3, flags));
        let good_at = |i: usize| Desc::from_raw(first.raw() + i as u64 * PAGE_SIZE);
        let differ = |found: Desc, good: Desc| (found.raw() ^ good.raw()) & !PASSED_OVER.bits();
        let differs = |i: usize| differ(table.read(i), good_at(i));
        // Where nothing is claimed, and nothing has happened since, this is all.
        let alike = |first: &usize| (*first..first + ALIKE).fold(0, |bits, i| bits | differs(i)) == 0;
        let from = if self.pages.is_empty() {
            ALIKE * (0..PAGES).step_by(ALIKE).take_while(alike).count()
        } else {
            0
        };
        for i in from..PAGES {
            let (found, good, claimed) = (table.read(i), good_at(i), self.pages.contains(i));
            if differ(found, good) == 0 && !claimed {
                continue;
            }
            as_block = Alike::No;
            if claimed && found.is_empty() {
                continue;
            }
            let leaf = found.alone().with_also(PteFlags::ACCESSED);
            let desc = if found.is_leaf(Level::L3) { leaf } else { found };
            if desc == read_only(good, Level::L3) && !claimed {
                continue;
            }
            if let Some(i) = self.verify_odd(i, desc, good)? {
                strays.insert(i);
            }
        }
        if strays.count() <= strays::MOST {
            Ok(Seen { strays, as_block })
        } else {
            Err(PromoteError::Strays(strays.count()))
        }
    }

    /// Entry `i` is not that of a populated page: what is it? Returns where a stray is.
    fn verify_odd(&self, i: usize, desc: Desc, good: Desc) -> Result<Option<usize>, PromoteError> {
        let (va, claimed) = (self.key.va(i), self.pages.contains(i));
        if desc.is_migration() {
            return Err(PromoteError::InProgress(va));
        }
        if !reservation::maps_a_page(desc) {
            return if claimed { Ok(None) } else { Err(PromoteError::InProgress(va)) };
        }
        if desc.output(Level::L3) == good.output(Level::L3) && !claimed {
            return Err(PromoteError::Rights(va));
        }
        let but_for_writing = |leaf| read_only(leaf, Level::L3).flags(Level::L3);
        if claimed || but_for_writing(desc) != but_for_writing(good) {
            return Err(PromoteError::Foreign(va));
        }
        match strays::stray(desc, self.record.page(i)) {
            Some(_) => Ok(Some(i)),
            None => Err(PromoteError::Shared(va)),
        }
    }

    /// Gives the claimed pages back: to the reservation, or, where that was released meanwhile, to the allocator.
    fn undo(&self, mm: &Mm) {
        {
            let bucket = mm.thp.table.lock(self.key);
            if let Some(record) = bucket.find(self.key).filter(|&record| record == self.record) {
                record.set_popmap(&record.popmap().without(&self.pages));
                for page in self.references() {
                    let (view, last) = (page.page(), page.put());
                    debug_assert!(last == LastRef::No, "{view:?}: the reservation's reference is missing");
                }
                mm.stats.add(Counter::NrThpReserved, self.pages.count());
                return reservation::depopulated(mm, bucket, record);
            }
        }
        self.references().for_each(|page| mm.put_folio(page));
    }

    /// What has references in the block, in runs, and how many each page has: the reservation's and the entry's, or the
    /// claim's; the reservation's alone where the entry maps a stray. Pages inside of claimed pieces have none.
    fn counts(&self, strays: &Popmap) -> impl Iterator<Item = (PageRef, u64, u32)> {
        let block = self.record.block();
        let run = move |(first, n), count| (block.nth(first as u64), n as u64, count);
        let populated = self.pages.with(strays).complement().runs().map(move |found| run(found, 2));
        let strays = strays.runs().map(move |found| run(found, strays::SOLE));
        populated.chain(strays).chain(pieces::of(block, self.pages).map(|piece| (piece, 1, 2)))
    }

    /// Takes every reference count of the block from what is expected ([`Self::counts`]) to 0, or leaves all as they
    /// are. Under R.
    fn freeze(&self, strays: &Popmap) -> Result<(), PromoteError> {
        for (runs, (first, n, count)) in self.counts(strays).enumerate() {
            let frozen = first.freeze_run(n, count);
            if frozen < n {
                first.thaw_run(frozen, count);
                self.counts(strays).take(runs).for_each(|(first, n, count)| first.thaw_run(n, count));
                return Err(PromoteError::Referenced(first.nth(frozen).pfn()));
            }
        }
        Ok(())
    }

    /// The claim's references: taken back once, where nothing comes of it.
    fn references(&self) -> impl Iterator<Item = FolioRef> + use<> {
        pieces::of(self.record.block(), self.pages).map(FolioRef::from_raw)
    }
}

/// What an entry may have that the block's would not. One of a folded group is as good as one alone: the table leaves
/// with all of it. Whether it was accessed lately does not matter: the block will say that it was.
const PASSED_OVER: PteFlags = PteFlags::ACCESSED.union(PteFlags::CONTIGUOUS);
/// So many entries are compared at once, where all are likely to be as they should.
const ALIKE: usize = 16;

/// What the entries of a range that can be promoted are.
struct Seen {
    /// Where they map strays.
    strays: Popmap,
    /// Whether they translate all addresses as the block will, with all its rights.
    as_block: Alike,
}

/// See [`Seen::as_block`].
#[derive(Clone, Copy)]
enum Alike {
    Yes,
    No,
}

/// The exchange, under R and T. Returns the table that is linked no more, and the strays that it mapped.
fn make_block(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    block: Desc,
    claim: &Claim,
) -> Result<(Displaced<1>, FolioList), PromoteError> {
    let mut bucket = mm.thp.table.lock(claim.key);
    let here = |&record: &Record| record == claim.record;
    let record = bucket.find(claim.key).filter(here).ok_or(PromoteError::NoReservation)?;
    let mut tree = space.ptl.lock();
    let _held = Held::begin(mm);
    let entry =
        tree.entry(space.flusher(mm), claim.key.range, Level::L2).map_err(|_| PromoteError::NoTable)?;
    let table = table_of(&entry)?;
    let Seen { strays, as_block } = claim.verify(table, block.flags(Level::L2))?;
    claim.freeze(&strays)?;
    let run = range::run_of(space, vma, &entry, record.block());
    let head = fold(mm, bucket.unlink(mm, record), claim.key, vma.index_of(claim.key.range), &run);
    let displaced = match as_block {
        Alike::Yes if may_resize() => replace(mm, entry, block),
        _ => exchange(mm, entry, block, |_| {
            strays::bring_back(&strays, table, head);
            if block.user_exec() {
                strays::may_be_executed(&strays, head);
            }
        }),
    };
    head.set_refcount(1);
    let strays = strays::release(mm, &strays, table, (claim.key, &run));
    space.add_anon(mm, claim.pages.count());
    mm.stats.inc(Counter::NrAnonThp);
    deferred::offer_filled(mm, head, claim.pages.count());
    Ok((displaced, strays))
}

/// Makes one folio, still frozen, of 512 pages that are. The page entries' mappings become the block's one.
fn fold(mm: &Mm, unlinked: Unlinked, key: Key, index: u64, run: &Run) -> PageRef {
    let record = unlinked.record();
    record.erase();
    let head = record.block();
    head.prep_compound(PageKind::Anon, Order::PMD, mm.config.tails);
    head.set_mapping(key.space, index);
    mapcount::fold(mm, run);
    head
}
