//! Copy-on-write: a write to private memory whose entry does not grant it, though the VMA does.
//!
//! | the leaf maps | exclusive | else |
//! |---|---|---|
//! | a single page | reuse: the right to write comes back | a copy of the page |
//! | a page of a larger folio | the same, if the whole folio is | a copy of this page |
//! | a block | the same, for all of it | the block becomes a table, and then a copy of this page |
//!
//! ```text
//!   entry  [ r- old ]  -- break, flush, make -->  [ rw new ]      old: one mapping less; its reference leaves through
//!                                                                 the gather
//! ```
//! The copy is made before the entry is broken, without a lock, from a page that cannot change meanwhile: no
//! entry grants writing to it, and the reference that is held for the copy keeps everybody from getting the right back.
//! The entry is broken since the output address changes and the new one grants writing (Arm ARM D8.16, R_WHZWS).
//!
//! Where the counts of the shared folio are full, the write ends with SIGBUS and nothing has changed.
//!
//! A copy is a single page, whatever the policy says of huge pages, and takes no reservation: it is page `i` of
//! nobody's block. So a child has small pages where it writes to what it shares, and reservations of its own in ranges
//! of which it shares nothing. The parent's reservation, or huge page, keeps the slot of a page that the parent has
//! copied, and the range is noted ([`crate::thp::holes`]): when the child is gone the copy goes back there.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Access, Desc, Level, Machine, Order, Pfn, PhysMem};

use super::anon::{Seen, Site, see};
use super::{FaultDone, FaultReason, grants};
use crate::Mm;
use crate::mapcount;
use crate::page::{Flags, FolioRef, MOST_REFERENCES, PageKind, PageRef};
use crate::pgtable::{Entry, TableStock, WalkStep, normal_folio, normal_page};
use crate::rmap;
use crate::space::{Prot, exclusive, range};
use crate::thp::split::{self, NotSplit};
use crate::thp::{again, promoter};
use crate::trace::Point;

/// What there is to do about a leaf that grants too little.
pub(super) enum Verdict {
    /// Nothing more.
    Done(FaultDone),
    /// A page of a reservation may be written again, since no child has it any more: so may be the others.
    Whole,
    /// A page of a huge page that was taken apart, or of what was another's reservation, may be written again, since nobody
    /// else has it any more: the range may become huge again.
    Apart,
    /// A shared block must become a table first.
    Split,
    /// A page must be copied.
    Copy(Source),
    /// Nothing can be done: the counts of its folio are full.
    Full(Pfn),
}

/// A shared page, and the entry that maps it.
pub(super) struct Source {
    /// Keeps the page, and keeps it from being written. `None`: a frame that a device has put in by its number, which
    /// is the device's to keep.
    folio: Option<FolioRef>,
    leaf: Desc,
}

impl Source {
    /// Whether the page belongs to a huge page, or to a reservation, of this space or of one from which it descends: then
    /// the copy leaves a hole there. A reservation may have ended since, with its space.
    fn is_of_block(&self, site: &Site<'_>) -> bool {
        let Some(folio) = &self.folio else { return false };
        if folio.is_folio() {
            return folio.kind() == PageKind::Anon && folio.order() == Order::PMD;
        }
        let reserved = folio.flags().contains(Flags::RESERVED) || is_inherited(site, folio.page());
        folio.is_kind(PageKind::Anon) && reserved
    }
    fn put(self, mm: &Mm) {
        if let Some(folio) = self.folio {
            mm.put_folio(folio);
        }
    }
    /// The same, and the reference of the entry, which is gone and flushed.
    fn put_both(self, mm: &Mm) {
        if let Some(folio) = self.folio {
            mm.put_folio_twice(folio);
        }
    }
}

/// Resolves a fault on a leaf that grants less than the access needs. M is held for reading.
pub(super) fn fault(site: &Site<'_>) -> Result<FaultDone, FaultReason> {
    let Site { mm, space, va, access, .. } = *site;
    let mut tree = space.ptl.lock();
    let (step, entry) = tree.last_entry(space.flusher(mm), va);
    let verdict = match see(mm, step, access) {
        Seen::TooFew => judge(site, step, entry),
        _ => Verdict::Done(FaultDone::Spurious),
    };
    drop(tree);
    follow(site, verdict)
}

/// Does what is left to do without the page-table lock.
pub(super) fn follow(site: &Site<'_>, verdict: Verdict) -> Result<FaultDone, FaultReason> {
    match verdict {
        Verdict::Copy(source) => copy(site, source),
        Verdict::Done(done) => Ok(done),
        Verdict::Whole => {
            promoter::submit(site.mm, site.space, site.va);
            Ok(FaultDone::Made)
        }
        Verdict::Apart => {
            again::submit_hole(site.mm, site.space, site.va);
            Ok(FaultDone::Made)
        }
        Verdict::Split => {
            split_block(site)?;
            fault(site)
        }
        Verdict::Full(pfn) => Err(FaultReason::TooManyReferences(pfn)),
    }
}

/// Gives the leaf, at which the walk ended, the rights that it may have, if those are enough.
#[inline(always)]
pub(super) fn judge(site: &Site<'_>, leaf: WalkStep, entry: Entry<'_>) -> Verdict {
    let prot = site.vma.prot;
    let read_only = leaf.desc.flags(leaf.level).contains(PteFlags::READ_ONLY);
    let asks = site.access == Access::Write && prot.contains(Prot::WRITE) && read_only;
    let Some(page) = normal_page(leaf.desc, leaf.level).filter(|_| asks) else {
        return judge_other(site, leaf, entry);
    };
    if let Some(head) = shared_folio(site.mm, page) {
        return judge_shared(leaf, Some(head));
    }
    entry.relax(leaf.desc, exclusive::with_all_rights(leaf.desc, leaf.level, prot));
    match leaf.level {
        _ if page.flags().contains(Flags::RESERVED) => Verdict::Whole,
        Level::L3 if !page.is_single(PageKind::Anon) || is_inherited(site, page) => Verdict::Apart,
        _ => Verdict::Done(FaultDone::Made),
    }
}

/// Whether a single page was born in another space and stands at its place of a block: that may be the space's alone as
/// soon as nobody else has it.
fn is_inherited(site: &Site<'_>, page: PageRef) -> bool {
    let at = site.va.raw() / PAGE_SIZE;
    page.mapping() != site.space.id && (page.pfn().raw() ^ at).is_multiple_of(Order::PMD.pages())
}

/// The head of the page's folio, where others may have it too. Mostly the leaf's reference is the only one.
#[inline(always)]
fn shared_folio(mm: &Mm, page: PageRef) -> Option<PageRef> {
    if exclusive::is_sole(page) {
        return None;
    }
    let head = page.head(mm.config.tails);
    (!exclusive::is_exclusive(mm, head)).then_some(head)
}

/// A frame that is not counted, an access that is no write, a page that lacks the access flag alone, or one that is to
/// be the space's own and stays read-only.
#[cold]
fn judge_other(site: &Site<'_>, leaf: WalkStep, entry: Entry<'_>) -> Verdict {
    let Site { mm, vma, access, .. } = *site;
    let new = exclusive::leaf_again(mm, leaf.desc, leaf.level, vma.prot);
    if !grants(new.flags(leaf.level), access) {
        return judge_shared(leaf, normal_folio(mm, leaf.desc, leaf.level));
    }
    entry.relax(leaf.desc, new);
    Verdict::Done(FaultDone::Made)
}

/// What others have too, or a device.
fn judge_shared(leaf: WalkStep, head: Option<PageRef>) -> Verdict {
    if leaf.level != Level::L3 {
        return Verdict::Split;
    }
    if let Some(head) = head.filter(|head| head.refcount() >= MOST_REFERENCES) {
        return Verdict::Full(head.pfn());
    }
    Verdict::Copy(Source { folio: head.map(PageRef::get), leaf: leaf.desc })
}

pub(super) fn split_block(site: &Site<'_>) -> Result<(), FaultReason> {
    let Site { mm, space, vma, va, .. } = *site;
    let mut stock = TableStock::new(mm, 1)?;
    match split::split_block(mm, space, vma, &mut space.ptl.lock(), va, &mut stock) {
        // Where there is no block any more, the next look says what there is.
        Ok(()) | Err(NotSplit::NoBlock) => Ok(()),
        Err(NotSplit::NoTable) => Err(FaultReason::OutOfMemory),
        Err(NotSplit::TooManyReferences(pfn)) => Err(FaultReason::TooManyReferences(pfn)),
    }
}

/// A page of the space's own in place of the shared one.
fn copy(site: &Site<'_>, source: Source) -> Result<FaultDone, FaultReason> {
    let Site { mm, space, vma, va, .. } = *site;
    let page = match mm.alloc_here(Order::PAGE, PageKind::Anon) {
        Ok(page) => page,
        Err(error) => {
            source.put(mm);
            return Err(error.into());
        }
    };
    Machine::copy(page.pfn().phys(), source.leaf.output(Level::L3), PAGE_SIZE);
    page.set_mapping(space.id, vma.index_of(va));
    let done = exchange(site, &source, page.page());
    match done {
        FaultDone::Made => {
            // The reference is the entry's, and the one that the entry had goes.
            page.leave();
            if source.is_of_block(site) {
                again::note_hole(mm, space, va);
            }
            source.put_both(mm);
        }
        FaultDone::Spurious => {
            mm.put_folio(page);
            source.put(mm);
        }
    }
    Ok(done)
}

/// The entry for the copy, unless another thread has changed it meanwhile.
fn exchange(site: &Site<'_>, source: &Source, page: PageRef) -> FaultDone {
    let Site { mm, space, vma, va, .. } = *site;
    let new = range::leaf_for(mm, page.pfn().phys(), Level::L3, vma.prot);
    let mut tree = space.ptl.lock();
    let (step, entry) = tree.last_entry(space.flusher(mm), va);
    if step.level != Level::L3 || step.desc != source.leaf {
        return FaultDone::Spurious;
    }
    let run = range::run_of(space, vma, &entry, page);
    entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ()).keep();
    mapcount::add_first(page);
    if let (Some(folio), Some(first)) = (&source.folio, normal_page(source.leaf, Level::L3)) {
        let old = mapcount::Run { head: folio.page(), first, ..run };
        let remains = mapcount::remove(mm, &old);
        rmap::deferred::note(mm, old.head, remains);
    }
    if source.folio.as_ref().is_none_or(|folio| !folio.is_kind(PageKind::Anon)) {
        space.add_anon(mm, 1);
    }
    mm.stats
        .note(Point::Cow, 1, || [va.raw(), source.leaf.output(Level::L3).pfn().raw(), page.pfn().raw(), 0]);
    FaultDone::Made
}
