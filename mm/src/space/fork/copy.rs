//! The tables of the child.
//!
//! One step copies what one VMA has in one level-3 table, or one block. A migration entry is copied like a leaf, but
//! for counts: whoever migrates finds it by the lineage, in the parent or in the child, and counts what he makes of it. The memory for the step is there before any
//! spinlock is taken. Entries are read and written a table at a time, and counted by runs that map consecutive pages
//! of one folio.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Desc, Level, PageSize, VirtAddr};

use super::{ForkError, object, pinned};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::mapcount::{self, Run};
use crate::page::{PageKind, PageRef};
use crate::pgtable::{
    Entry, Gather, LooseEntries, LooseTable, Missing, TableStock, normal_folio, normal_page,
};
use crate::rmap;
use crate::space::exclusive::read_only;
use crate::space::{AddressSpace, Vma, VmaKind, range};
use crate::stats::Counter;

/// Copies all that the parent's VMAs map into the child, whose VMAs are the same. M of the parent is held for
/// writing. The parent's TLB entries are flushed when this returns, whatever it returns.
///
/// # Errors
/// [`ForkError`]; the child has a part, which its end gives back.
pub(super) fn copy_tables(mm: &Mm, parent: &AddressSpace, child: &AddressSpace) -> Result<(), ForkError> {
    mm.gather(parent.tag(), |gather| {
        let mut copier = Copier { mm, parent, child, gather, spare: None };
        let mut from = VirtAddr::new(0);
        let mut copied = Ok(());
        while let Some(vma) = parent.find_vma(from).filter(|_| copied.is_ok()) {
            copied = copier.copy_vma(&vma);
            from = vma.end;
        }
        if let Some(table) = copier.spare.take() {
            mm.free_table(table);
        }
        copied
    })
}

/// What stands in the parent's tree at an address.
enum Found {
    /// Nothing that the child needs, up to this address.
    Nothing(VirtAddr),
    /// Something under the level-2 entry of this address.
    Something,
}

/// Bytes that one level-3 table covers, or one block.
const SLOT: u64 = PageSize::Size2M.bytes();

/// What one VMA has in one slot.
struct Part<'v> {
    vma: &'v Vma,
    start: VirtAddr,
    end: VirtAddr,
}

struct Copier<'c, 'g> {
    mm: &'c Mm,
    parent: &'c AddressSpace,
    child: &'c AddressSpace,
    /// Owes the flush of the parent.
    gather: &'c mut Gather<'g>,
    /// A zeroed table, from one step to the next.
    spare: Option<LooseTable>,
}

impl Copier<'_, '_> {
    fn copy_vma(&mut self, vma: &Vma) -> Result<(), ForkError> {
        match vma.kind {
            // The child's faults find the pages in the object.
            VmaKind::Shared(_) => return Ok(()),
            VmaKind::Private(_) => {
                return object::copy_private(self.mm, (self.parent, self.child), vma, self.gather);
            }
            VmaKind::Anon | VmaKind::Hugetlb | VmaKind::Device(_) => {}
        }
        let mut va = vma.start;
        while va < vma.end {
            va = match self.find(va) {
                Found::Nothing(next) => next,
                Found::Something => {
                    let end = va.align_down(SLOT).add(SLOT).min(vma.end);
                    self.copy_slot(&Part { vma, start: va, end })?;
                    end
                }
            };
        }
        Ok(())
    }

    fn find(&self, va: VirtAddr) -> Found {
        let last = self.parent.ptl.lock().walk(va).last();
        if last.level < Level::L3 && last.desc == Desc::INVALID {
            let bytes = last.level.entry_bytes();
            return Found::Nothing(va.align_down(bytes).add(bytes));
        }
        Found::Something
    }

    fn copy_slot(&mut self, part: &Part<'_>) -> Result<(), ForkError> {
        let missing = Level::ALL.len() - self.child.ptl.lock().walk(part.start).steps().len();
        let lacks = match missing {
            0 => self.share_pages(part)?,
            more => self.share_table(part, more - 1)?,
        };
        match lacks {
            Lacks::Nothing => Ok(()),
            Lacks::Pinned => self.copy_pinned(part),
        }
    }

    /// One step: everything is allocated, then shared under G. The child has no table for the slot, and lacks so many
    /// above.
    fn share_table(&mut self, part: &Part<'_>, missing: usize) -> Result<Lacks, ForkError> {
        let mut stock = TableStock::new(self.mm, missing)?;
        let mut scratch = match self.spare.take() {
            Some(table) => table,
            None => self.mm.alloc_table()?,
        };
        let _lineage = self.parent.lineage.hold();
        match self.leave_read_only(part, &mut scratch) {
            Shared::Block(block) => {
                self.spare = Some(scratch);
                let mut tree = self.child.ptl.lock();
                let entry =
                    tree.entry_or_table(self.child.flusher(self.mm), part.start, Level::L2, &mut stock);
                give(self.mm, self.child, part.vma, entry.map_err(|_| OutOfMemory)?, block)?;
                Ok(Lacks::Nothing)
            }
            Shared::Pages(shared) => {
                let mut tree = self.child.ptl.lock();
                let above =
                    tree.entry_or_table(self.child.flusher(self.mm), part.start, Level::L2, &mut stock);
                above.map_err(|_| OutOfMemory)?.make(scratch.link());
                shared
            }
            Shared::Nothing(shared) => {
                self.spare = Some(scratch);
                shared
            }
        }
    }

    /// The same where a neighbouring VMA has brought the child a table: one entry after the other, since ways of
    /// counting look into that table.
    fn share_pages(&mut self, part: &Part<'_>) -> Result<Lacks, ForkError> {
        let _lineage = self.parent.lineage.hold();
        let mut lacks = Lacks::Nothing;
        let mut va = part.start;
        while va < part.end {
            match self.leave_page_read_only(part.vma, va) {
                Err(lacking) => lacks = lacking,
                Ok(None) => {}
                Ok(Some(leaf)) => {
                    let mut tree = self.child.ptl.lock();
                    let entry =
                        tree.entry(self.child.flusher(self.mm), va, Level::L3).map_err(|_| OutOfMemory)?;
                    give(self.mm, self.child, part.vma, entry, leaf)?;
                }
            }
            va = va.add(PAGE_SIZE);
        }
        Ok(lacks)
    }

    /// The parent's side of one page: what stands there now, where something does that is shared.
    fn leave_page_read_only(&mut self, vma: &Vma, va: VirtAddr) -> Result<Option<Desc>, Lacks> {
        let mut tree = self.parent.ptl.lock();
        let entry = tree.entry(self.parent.flusher(self.mm), va, Level::L3);
        let Some(entry) = entry.ok().filter(|entry| !entry.desc().is_empty()) else { return Ok(None) };
        let leaf = entry.desc();
        if is_pinned(self.mm, leaf, Level::L3) {
            return Err(Lacks::Pinned);
        }
        let shared = if vma.kind.is_shared() { leaf } else { read_only(leaf, Level::L3) };
        if shared != leaf {
            entry.tighten(shared, self.gather);
        }
        Ok(Some(shared))
    }

    /// Copies what the child lacks of the part, since it is pinned, or was a moment ago.
    fn copy_pinned(&mut self, part: &Part<'_>) -> Result<(), ForkError> {
        let mut va = part.start;
        while va < part.end {
            let (leaf, held) = {
                let tree = self.parent.ptl.lock();
                let leaf = tree.walk(va).last();
                // What is pinned no more may move: the reference keeps it where it is.
                let head = normal_folio(self.mm, leaf.desc, leaf.level).filter(is_private);
                (leaf, head.map(PageRef::get))
            };
            if leaf.migration().is_some() {
                rmap::wait(self.mm, self.parent, va);
                continue;
            }
            let lacks = self.child.ptl.lock().walk(va).last().desc.is_empty();
            let copied = match &held {
                Some(_) if lacks => {
                    pinned::copy_leaf(self.mm, self.child, part.vma, (va, leaf.level, leaf.desc))
                }
                _ => Ok(()),
            };
            if let Some(held) = held {
                self.mm.put_folio(held);
            }
            copied?;
            va = va.add(leaf.level.entry_bytes());
        }
        Ok(())
    }

    /// The parent's side: its entries lose their write permission. Pages are counted and noted in `scratch`.
    fn leave_read_only(&mut self, part: &Part<'_>, scratch: &mut LooseTable) -> Shared {
        let mut tree = self.parent.ptl.lock();
        match tree.entry(self.parent.flusher(self.mm), part.start, Level::L3) {
            Ok(first) => {
                let count = part.end.offset_from(part.start) / PAGE_SIZE;
                let mut sharer = Sharer::new(self.mm, self.child, part, scratch);
                first.tighten_run(count as usize, self.gather, |n, desc| sharer.share(n, desc));
                sharer.finish()
            }
            Err(Missing::Leaf(Level::L2, block)) if is_pinned(self.mm, block, Level::L2) => {
                Shared::Nothing(Ok(Lacks::Pinned))
            }
            Err(Missing::Leaf(Level::L2, block)) => {
                let shared = read_only(block, Level::L2);
                if let Ok(entry) = tree.entry(self.parent.flusher(self.mm), part.start, Level::L2)
                    && shared != block
                {
                    entry.tighten(shared, self.gather);
                }
                Shared::Block(shared)
            }
            Err(_) => Shared::Nothing(Ok(Lacks::Nothing)),
        }
    }
}

/// The child's side of one entry: its reference, its mapping, the entry.
///
/// # Errors
/// [`ForkError::TooManyMappings`].
pub(super) fn give(
    mm: &Mm,
    child: &AddressSpace,
    vma: &Vma,
    entry: Entry<'_>,
    shared: Desc,
) -> Result<(), ForkError> {
    let Some(page) = normal_page(shared, entry.level()) else {
        entry.make(shared);
        return Ok(());
    };
    let head = page.head(mm.config.tails);
    let run = Run { head, ..range::run_of(child, vma, &entry, page) };
    add_entries(mm, &run)?;
    entry.make(shared);
    if head.kind() == PageKind::Anon {
        mm.stats.add(Counter::NrAnon, run.pages());
        mm.stats.add(Counter::NrAnonThp, u64::from(run.level == Level::L2));
    }
    Ok(())
}

/// What the parent's side of a step has come to.
enum Shared {
    /// Nothing that is shared.
    Nothing(Result<Lacks, ForkError>),
    /// Entries of the child, as far as it went, in the scratch table.
    Pages(Result<Lacks, ForkError>),
    /// The child's entry; nothing is counted yet.
    Block(Desc),
}

/// What the child lacks after a step.
#[derive(Clone, Copy)]
enum Lacks {
    Nothing,
    /// Pages that are pinned.
    Pinned,
}

/// Whether the leaf maps memory that must not be shared. Under T of the parent: what is not pinned now is not pinned as
/// exclusive once it is shared.
fn is_pinned(mm: &Mm, leaf: Desc, level: Level) -> bool {
    normal_folio(mm, leaf, level).is_some_and(|head| is_private(&head) && head.maybe_pinned())
}

/// Whether the folio is a space's own. A device's page is shared by all that map it, pinned or not.
fn is_private(head: &PageRef) -> bool {
    matches!(head.kind(), PageKind::Anon | PageKind::Hugetlb)
}

/// A reference and a mapping for each entry of the run, which is about to be made.
fn add_entries(mm: &Mm, run: &Run) -> Result<(), ForkError> {
    let may_add = mapcount::may_add(mm, run).is_ok();
    if !may_add || !run.head.try_get_many(run.entries) {
        return Err(ForkError::TooManyMappings(run.head.pfn()));
    }
    mapcount::add(mm, run);
    Ok(())
}

/// Takes note of the parent's entries for the child, and counts them by runs.
struct Sharer<'s> {
    mm: &'s Mm,
    child: &'s AddressSpace,
    part: &'s Part<'s>,
    scratch: LooseEntries<'s>,
    /// Place of the part's first entry in its table.
    first: usize,
    /// Entries that are noted and not counted yet, and the page after their folio.
    run: Option<(Run, PageRef)>,
    /// Whether an entry is noted.
    any: bool,
    /// Pages of anonymous memory that were counted.
    anon: u64,
    result: Result<Lacks, ForkError>,
}

impl<'s> Sharer<'s> {
    fn new(mm: &'s Mm, child: &'s AddressSpace, part: &'s Part<'s>, scratch: &'s mut LooseTable) -> Self {
        let first = part.start.index(Level::L3);
        Sharer {
            mm,
            child,
            part,
            scratch: scratch.entries(),
            first,
            run: None,
            any: false,
            anon: 0,
            result: Ok(Lacks::Nothing),
        }
    }

    /// The parent's entry `n` of the part: what is to stand there instead.
    #[inline(always)]
    fn share(&mut self, n: usize, leaf: Desc) -> Option<Desc> {
        if leaf.is_empty() || self.result.is_err() {
            return None;
        }
        if let Some(page) = normal_page(leaf, Level::L3)
            && !(if page.is_single(PageKind::Anon) { self.count_single(page) } else { self.count(n, page) })
        {
            return None;
        }
        let shared = if self.part.vma.kind.is_shared() { leaf } else { read_only(leaf, Level::L3) };
        self.scratch.write(self.first + n, shared);
        self.any = true;
        (shared != leaf).then_some(shared)
    }

    /// Counts a single page. Says whether it is shared.
    #[inline(always)]
    fn count_single(&mut self, page: PageRef) -> bool {
        if page.maybe_pinned() {
            self.result = Ok(Lacks::Pinned);
            return false;
        }
        if !page.try_get_many(1) {
            self.result = Err(ForkError::TooManyMappings(page.pfn()));
            return false;
        }
        mapcount::add_one(page);
        self.anon += 1;
        true
    }

    /// Adds the page to the run that is not counted yet, or counts that and begins another. Says whether it is shared.
    #[inline(never)]
    fn count(&mut self, n: usize, page: PageRef) -> bool {
        let va = self.part.start.add(n as u64 * PAGE_SIZE);
        if let Some((run, end)) = &mut self.run {
            let next = run.first.nth(run.entries.into());
            if page == next && page < *end && va == run.va.add(run.pages() * PAGE_SIZE) {
                run.entries += 1;
                return true;
            }
        }
        self.count_run();
        if self.result.is_err() {
            return false;
        }
        let head = page.head(self.mm.config.tails);
        if is_private(&head) && head.maybe_pinned() {
            self.result = Ok(Lacks::Pinned);
            return false;
        }
        let run = Run {
            head,
            first: page,
            entries: 1,
            level: Level::L3,
            table: self.scratch.table(),
            top: self.scratch.table(),
            va,
            space: self.child.id,
            owner: self.child.owner,
            vma: (self.part.vma.start, self.part.vma.end),
        };
        self.run = Some((run, head.nth(head.order().pages())));
        true
    }

    /// Counts what is noted; where that cannot be, it is not noted any more.
    fn count_run(&mut self) {
        let Some((run, _)) = self.run.take() else { return };
        match add_entries(self.mm, &run) {
            Ok(()) if run.head.kind() == PageKind::Anon => self.anon += run.pages(),
            Ok(()) => {}
            Err(error) => {
                let first = run.va.index(Level::L3);
                (first..first + run.entries as usize).for_each(|n| self.scratch.write(n, Desc::INVALID));
                self.result = Err(error);
            }
        }
    }

    fn finish(mut self) -> Shared {
        self.count_run();
        self.mm.stats.add(Counter::NrAnon, self.anon);
        if self.any { Shared::Pages(self.result) } else { Shared::Nothing(self.result) }
    }
}
