//! The tables of the child.
//!
//! One step copies what the parent has in one level-3 table, whichever VMAs have a share in it, or a row of blocks of one
//! VMA:
//!
//! ```text
//!   parent, level 2   [ table | block | block | . | block | table ... ]     four steps for two tables and two rows,
//!                         1      `----- 2 -----'      2       3             or one row where it is short
//! ```
//! A migration entry is copied like a leaf, but for counts: whoever migrates finds it by the lineage, in the parent or in
//! the child, and counts what he makes of it. The memory for the step is there before any spinlock is taken.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::{Desc, Level, PageSize, VirtAddr};

<<<<<<< HEAD
use super::{ForkError, object, pinned};
=======
use super::share::{Sharer, give, is_left_out, mark};
use super::{ForkError, pinned};
>>>>>>> lead
use crate::Mm;
use crate::error::OutOfMemory;
use crate::page::{PageKind, PageRef};
use crate::pgtable::{Gather, LooseTable, TableStock, normal_folio};
use crate::rmap;
use crate::space::{AddressSpace, Vma};

/// Copies all that the parent's VMAs map into the child, whose VMAs are the same. M of the parent is held for
/// writing. The parent's TLB entries are flushed when this returns, whatever it returns.
///
/// # Errors
/// [`ForkError`]; the child has a part, which its end gives back.
pub(super) fn copy_tables(mm: &Mm, parent: &AddressSpace, child: &AddressSpace) -> Result<(), ForkError> {
    mm.gather(parent.tag(), |gather| {
        let mut copier = Copier { mm, parent, child, gather, spare: None };
        let copied = copier.copy_all();
        if let Some(table) = copier.spare.take() {
            mm.free_table(table);
        }
        copied
    })
}

/// Bytes that one level-3 table covers, or one block.
const SLOT: u64 = PageSize::Size2M.bytes();

/// Blocks that one step copies at most.
const ROW: usize = 32;

/// The child's entries for blocks, and where they are to stand.
type Row = [Option<(VirtAddr, Desc)>; ROW];

/// What stands in the parent's tree.
enum Found {
    /// Nothing that the child needs, up to this address.
    Nothing(VirtAddr),
    /// A level-3 table.
    Pages,
    /// A block, or what is to be one again, at this address.
    Block(VirtAddr),
}

/// What the child lacks after a step.
#[derive(Clone, Copy)]
pub(super) enum Lacks {
    Nothing,
    /// Pages that are pinned.
    Pinned,
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

<<<<<<< HEAD
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
=======
impl<'c> Copier<'c, '_> {
    fn copy_all(&mut self) -> Result<(), ForkError> {
        let mut va = VirtAddr::new(0);
        while let Some(vma) = self.parent.find_vma(va) {
            va = if is_left_out(&vma) { vma.end } else { va.max(vma.start) };
            while va < vma.end {
                va = match self.find(va, vma.end) {
                    Found::Nothing(next) => next,
                    Found::Pages => self.copy_pages(va)?,
                    Found::Block(at) => self.copy_blocks(&vma, at)?,
                };
            }
>>>>>>> lead
        }
        Ok(())
    }

    /// What stands at `va`, or above it in the same table and below `end`.
    fn find(&self, va: VirtAddr, end: VirtAddr) -> Found {
        let mut tree = self.parent.ptl.lock();
        let stretch = tree.stretch(self.parent.flusher(self.mm), va, end);
        match stretch.level() {
            Level::L3 => Found::Pages,
            Level::L2 => match stretch.descs().position(|desc| !desc.is_empty()) {
                Some(0) => Found::Block(va),
                Some(n) => Found::Block(va.align_down(SLOT).add(n as u64 * SLOT)),
                None => Found::Nothing(stretch.end()),
            },
            Level::L0 | Level::L1 => Found::Nothing(stretch.end()),
        }
    }

    /// All that the parent has in one level-3 table, from `va` on. Returns where the next step begins.
    fn copy_pages(&mut self, va: VirtAddr) -> Result<VirtAddr, ForkError> {
        let slot = va..va.align_down(SLOT).add(SLOT);
        let mut stock = self.tables_above(va)?;
        let mut copy = match self.spare.take() {
            Some(table) => table,
            None => self.mm.alloc_table()?,
        };
        let lineage = self.parent.lineage.hold();
        let mut sharer = Sharer::new(self.mm, self.child, &mut copy);
        self.leave_pages(&slot, &mut sharer);
        let (noted, shared) = sharer.finish();
        if noted == 0 {
            self.spare = Some(copy);
        } else {
            let mut tree = self.child.ptl.lock();
            let entry = tree.entry_or_table(self.child.flusher(self.mm), va, Level::L2, &mut stock);
            entry.map_err(|_| OutOfMemory)?.make(copy.link());
        }
        drop(lineage);
        match shared? {
            Lacks::Nothing => {}
            Lacks::Pinned => self.copy_pinned(&slot)?,
        }
        Ok(slot.end)
    }

<<<<<<< HEAD
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
=======
    /// The parent's side: its entries lose their write permission, and are counted and noted for the child.
    fn leave_pages(&mut self, slot: &Range<VirtAddr>, sharer: &mut Sharer<'_>) {
        let vmas = self.parent.vmas.lock();
>>>>>>> lead
        let mut tree = self.parent.ptl.lock();
        for vma in vmas.overlapping(slot.start, slot.end).filter(|vma| !is_left_out(vma)) {
            let (start, end) = (vma.start.max(slot.start), vma.end.min(slot.end));
            let mut stretch = tree.stretch(self.parent.flusher(self.mm), start, end);
            if stretch.level() == Level::L3 {
                let len = stretch.len();
                stretch.entry(0).tighten_many(len, self.gather, |entries| sharer.share(vma, start, entries));
            }
        }
<<<<<<< HEAD
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
=======
    }

    /// A row of blocks of a VMA that begins at `va`. Returns where the next step begins.
    fn copy_blocks(&mut self, vma: &Vma, va: VirtAddr) -> Result<VirtAddr, ForkError> {
        let mut stock = self.tables_above(va)?;
        let mut row: Row = [None; ROW];
        let lineage = self.parent.lineage.hold();
        let (next, lacks) = self.leave_blocks(vma, va, &mut row);
        {
            let mut tree = self.child.ptl.lock();
            for &(va, block) in row.iter().map_while(Option::as_ref) {
                let entry = tree.entry_or_table(self.child.flusher(self.mm), va, Level::L2, &mut stock);
                give(self.mm, self.child, vma, entry.map_err(|_| OutOfMemory)?, block)?;
>>>>>>> lead
            }
        }
        drop(lineage);
        match lacks {
            Lacks::Nothing => {}
            Lacks::Pinned => self.copy_pinned(&(va..next))?,
        }
        Ok(next)
    }

    /// The parent's side: its blocks lose their write permission, and are noted in `row`; they are not counted yet.
    fn leave_blocks(&mut self, vma: &Vma, va: VirtAddr, row: &mut Row) -> (VirtAddr, Lacks) {
        let mut tree = self.parent.ptl.lock();
        let mut stretch = tree.stretch(self.parent.flusher(self.mm), va, vma.end);
        if stretch.level() != Level::L2 {
            // It was split meanwhile.
            return (va, Lacks::Nothing);
        }
        let (start, len) = (va.align_down(SLOT), stretch.len());
        let (mut next, mut lacks) = (stretch.end(), Lacks::Nothing);
        let (mut places, mark) = (row.iter_mut(), mark(vma));
        stretch.entry(0).tighten_many(len, self.gather, |entries| {
            let range = entries.range();
            for n in range.clone() {
                let block = entries.desc(n);
                if block.is_empty() {
                    continue;
                }
                let va = start.add((n - range.start) as u64 * SLOT);
                if is_pinned(self.mm, block) {
                    lacks = Lacks::Pinned;
                    continue;
                }
                let Some(place) = places.next() else {
                    next = va;
                    return;
                };
                let shared = block.with_also(mark);
                if shared != block {
                    entries.tighten(n, shared);
                }
                *place = Some((va, shared));
            }
        });
        (next, lacks)
    }

    /// The tables that the child lacks above an entry of level 2.
    fn tables_above(&self, va: VirtAddr) -> Result<TableStock<'c>, OutOfMemory> {
        let there = self.child.ptl.lock().last(va).level;
        TableStock::new(self.mm, (Level::L2 as usize).saturating_sub(there as usize))
    }

    /// Copies what the child lacks of the range, since it is pinned, or was a moment ago.
    fn copy_pinned(&mut self, range: &Range<VirtAddr>) -> Result<(), ForkError> {
        let mut va = range.start;
        while let Some(vma) = self.parent.find_vma(va).filter(|vma| vma.start < range.end) {
            va = if is_left_out(&vma) { vma.end } else { va.max(vma.start) };
            while va < vma.end.min(range.end) {
                va = self.copy_if_pinned(&vma, va)?;
            }
            va = va.max(vma.end);
        }
        Ok(())
    }

<<<<<<< HEAD
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
=======
    /// The same, for what one entry maps. Returns where the next one begins.
    fn copy_if_pinned(&self, vma: &Vma, va: VirtAddr) -> Result<VirtAddr, ForkError> {
        let (leaf, held) = {
            let leaf = self.parent.ptl.lock().last(va);
            // What is pinned no more may move: the reference keeps it where it is.
            let private = |head: &PageRef| head.kind() != PageKind::Shmem;
            let head = normal_folio(self.mm, leaf.desc, leaf.level).filter(private);
            (leaf, head.map(PageRef::get))
>>>>>>> lead
        };
        if leaf.desc.is_migration() {
            rmap::wait(self.mm, self.parent, va);
            return Ok(va);
        }
        let lacks = self.child.ptl.lock().last(va).desc.is_empty();
        let copied = match &held {
            Some(_) if lacks => pinned::copy_leaf(self.mm, self.child, vma, (va, leaf.level, leaf.desc)),
            _ => Ok(()),
        };
        if let Some(held) = held {
            self.mm.put_folio(held);
        }
        let bytes = leaf.level.entry_bytes();
        copied.map(|()| va.align_down(bytes).add(bytes))
    }
}

/// Whether the block maps memory that must not be shared. Under T of the parent: what is not pinned now is not pinned as
/// exclusive once it is shared.
fn is_pinned(mm: &Mm, block: Desc) -> bool {
    normal_folio(mm, block, Level::L2).is_some_and(PageRef::maybe_pinned)
}
