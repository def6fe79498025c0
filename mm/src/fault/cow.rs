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
//! A copy is a single page, whatever the policy says of huge pages, and takes no reservation: it is page `i` of nobody's
//! block.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Desc, Level, Machine, Order, Pfn, PhysMem};

use super::anon::{Seen, Site, see};
use super::{FaultDone, FaultReason, grants};
use crate::Mm;
use crate::mapcount;
use crate::page::{Flags, FolioRef, MOST_REFERENCES, PageKind, PageRef};
use crate::pgtable::{TableStock, normal_folio, normal_page};
use crate::rmap;
use crate::space::{exclusive, range};
use crate::stats::Counter;
use crate::thp::promoter;
use crate::thp::split::{self, NotSplit};

/// What there is to do about a leaf that grants too little.
enum Verdict {
    /// Nothing more.
    Done(FaultDone),
    /// A page of a reservation may be written again, since no child has it any more: so may be the others.
    Whole,
    /// A shared block must become a table first.
    Split,
    /// A page must be copied.
    Copy(Source),
    /// Nothing can be done: the counts of its folio are full.
    Full(Pfn),
}

/// A shared page, and the entry that maps it.
struct Source {
    /// Keeps the page, and keeps it from being written. `None`: a frame that a device has put in by its number, which is
    /// the device's to keep.
    folio: Option<FolioRef>,
    leaf: Desc,
}

impl Source {
    fn put(self, mm: &Mm) {
        if let Some(folio) = self.folio {
            mm.put_folio(folio);
        }
    }
}

/// Resolves a fault on a leaf that grants less than the access needs. M is held for reading.
pub(super) fn fault(site: &Site<'_>) -> Result<FaultDone, FaultReason> {
    loop {
        match judge(site) {
            Verdict::Done(done) => return Ok(done),
            Verdict::Whole => {
                promoter::submit(site.mm, site.space, site.va);
                return Ok(FaultDone::Made);
            }
            Verdict::Split => split_block(site)?,
            Verdict::Copy(source) => return copy(site, source),
            Verdict::Full(pfn) => return Err(FaultReason::TooManyReferences(pfn)),
        }
    }
}

/// Gives the leaf the rights that it may have, if those are enough.
fn judge(site: &Site<'_>) -> Verdict {
    let Site { mm, space, vma, va, access } = *site;
    let mut tree = space.ptl.lock();
    let (step, entry) = tree.last_entry(space.flusher(mm), va);
    let (Seen::TooFew, Some(leaf)) = (see(mm, step, access), step.leaf()) else {
        return Verdict::Done(FaultDone::Spurious);
    };
    let new = exclusive::leaf_again(mm, leaf.desc, leaf.level, vma.prot);
    if grants(new.flags(leaf.level), access) {
        entry.relax(new);
        let reserved = |page: PageRef| page.flags().contains(Flags::RESERVED);
        let reserved = normal_page(new, leaf.level).is_some_and(reserved);
        return if reserved { Verdict::Whole } else { Verdict::Done(FaultDone::Made) };
    }
    if leaf.level != Level::L3 {
        return Verdict::Split;
    }
    let head = normal_folio(mm, leaf.desc, Level::L3);
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
    let page = match mm.alloc_pages(Order::PAGE, PageKind::Anon) {
        Ok(page) => page,
        Err(error) => {
            source.put(mm);
            return Err(error.into());
        }
    };
    Machine::copy(page.pfn().phys(), source.leaf.output(Level::L3), PAGE_SIZE);
    page.set_mapping(space.id, vma.index_of(va));
    let done = exchange(site, &source, &page);
    match done {
        // The reference is the entry's.
        FaultDone::Made => page.leave(),
        FaultDone::Spurious => mm.put_folio(page),
    }
    source.put(mm);
    Ok(done)
}

/// The entry for the copy, unless another thread has changed it meanwhile.
fn exchange(site: &Site<'_>, source: &Source, page: &FolioRef) -> FaultDone {
    let Site { mm, space, vma, va, .. } = *site;
    let new = range::leaf_for(mm, page.pfn().phys(), Level::L3, vma.prot);
    let mut tree = space.ptl.lock();
    let entry = match tree.entry(space.flusher(mm), va, Level::L3) {
        Ok(entry) if entry.desc() == source.leaf => entry,
        _ => return FaultDone::Spurious,
    };
    let run = range::run_of(space, vma, &entry, page.page());
    let displaced = entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ());
    mapcount::add(mm, &run);
    if let (Some(folio), Some(first)) = (&source.folio, normal_page(source.leaf, Level::L3)) {
        let old = mapcount::Run { head: folio.page(), first, ..run };
        let remains = mapcount::remove(mm, &old);
        rmap::deferred::note(mm, old.head, remains);
    }
    mm.give_up(displaced);
    if source.folio.as_ref().map(|folio| folio.kind()) != Some(PageKind::Anon) {
        mm.stats.inc(Counter::NrAnon);
    }
    mm.stats.inc(Counter::CowCopy);
    FaultDone::Made
}
