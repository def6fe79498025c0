//! The tables of the child.
//!
//! One step copies what one VMA has in one level-3 table, or one block. The memory for the step is there before any
//! spinlock is taken. Entries are read and written a table at a time, and counted by runs that map consecutive pages
//! of one folio.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::pte::{Migration, PteFlags};
use arch::{Desc, Level, PageSize, VirtAddr};

use super::ForkError;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::mapcount::{self, OwnerId, Run};
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::{Gather, LooseTable, Missing, TableStock, normal_page};
use crate::space::exclusive::read_only;
use crate::space::{AddressSpace, Vma, range};
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

    /// One step: everything is allocated, then copied under G.
    fn copy_slot(&mut self, part: &Part<'_>) -> Result<(), ForkError> {
        let mut stock = TableStock::new(self.mm, self.missing(part.start))?;
        let mut scratch = match self.spare.take() {
            Some(table) => table,
            None => self.mm.alloc_table()?,
        };
        let _lineage = self.parent.lineage.hold();
        let what = self.leave_read_only(part, &mut scratch);
        match what {
            Shared::Block(block) => {
                self.spare = Some(scratch);
                self.give_block(part, block, &mut stock)
            }
            Shared::Moving(moving) => {
                self.spare = Some(scratch);
                self.give_moving(part, moving, &mut stock)
            }
            Shared::Pages(shared) => {
                self.give_pages(part, scratch, &mut stock)?;
                shared
            }
            Shared::Nothing => {
                self.spare = Some(scratch);
                Ok(())
            }
        }
    }

    /// Tables of levels 1 and 2 that the child lacks.
    fn missing(&self, va: VirtAddr) -> usize {
        let steps = self.child.ptl.lock().walk(va).steps().len();
        (Level::ALL.len() - 1).saturating_sub(steps)
    }

    /// The parent's side: its entries lose their write permission. Pages are counted and noted in `scratch`.
    fn leave_read_only(&mut self, part: &Part<'_>, scratch: &mut LooseTable) -> Shared {
        let mut tree = self.parent.ptl.lock();
        match tree.entry(self.parent.flusher(self.mm), part.start, Level::L3) {
            Ok(first) => {
                let count = part.end.offset_from(part.start) / PAGE_SIZE;
                let mut sharer = Sharer::new(self.mm, self.child, part, scratch);
                first.tighten_run(count as usize, self.gather, |n, desc| sharer.share(n, desc));
                match sharer.finish() {
                    (Any::No, shared) => {
                        shared.map_or_else(|error| Shared::Pages(Err(error)), |()| Shared::Nothing)
                    }
                    (Any::Yes, shared) => Shared::Pages(shared),
                }
            }
            Err(Missing::Leaf(Level::L2, block)) => {
                if let Some(moving) = block.as_migration(Level::L2) {
                    let shared = moving.with_flags(moving.flags | PteFlags::READ_ONLY);
                    if let Ok(entry) = tree.entry(self.parent.flusher(self.mm), part.start, Level::L2) {
                        entry.change_migration(shared);
                    }
                    return Shared::Moving(shared);
                }
                let shared = read_only(block, Level::L2);
                if let Ok(entry) = tree.entry(self.parent.flusher(self.mm), part.start, Level::L2)
                    && shared != block
                {
                    entry.tighten(shared, self.gather);
                }
                Shared::Block(shared)
            }
            Err(_) => Shared::Nothing,
        }
    }

    /// The child's side of a block: its reference, its mapping, its entry.
    fn give_block(&self, part: &Part<'_>, block: Desc, stock: &mut TableStock<'_>) -> Result<(), ForkError> {
        let mut tree = self.child.ptl.lock();
        let entry = tree.entry_or_table(self.child.flusher(self.mm), part.start, Level::L2, stock);
        let entry = entry.map_err(|_| OutOfMemory)?;
        let head = page_of(block.output(Level::L2).pfn());
        let run = range::run_of(self.child, part.vma, &entry, head);
        add_entries(self.mm, &run)?;
        entry.make(block);
        if head.kind() == PageKind::Anon {
            self.mm.stats.add(Counter::NrAnon, run.pages());
            self.mm.stats.inc(Counter::NrAnonThp);
        }
        Ok(())
    }

    /// The child's side of a block that is moving: who moves it finds the entry too, and counts it then.
    fn give_moving(
        &self,
        part: &Part<'_>,
        moving: Migration,
        stock: &mut TableStock<'_>,
    ) -> Result<(), ForkError> {
        let mut tree = self.child.ptl.lock();
        let entry = tree.entry_or_table(self.child.flusher(self.mm), part.start, Level::L2, stock);
        entry.map_err(|_| OutOfMemory)?.put_migration(moving);
        Ok(())
    }

    /// The child's side of pages, which are counted: `scratch` becomes a table of the child, or its entries go into the
    /// one that a neighbouring VMA has brought.
    fn give_pages(
        &mut self,
        part: &Part<'_>,
        mut scratch: LooseTable,
        stock: &mut TableStock<'_>,
    ) -> Result<(), OutOfMemory> {
        let flusher = self.child.flusher(self.mm);
        let mut tree = self.child.ptl.lock();
        let above = tree.entry_or_table(flusher, part.start, Level::L2, stock).map_err(|_| OutOfMemory)?;
        if !above.desc().is_valid() {
            above.make(scratch.link());
            return Ok(());
        }
        let first = part.start.index(Level::L3);
        let count = (part.end.offset_from(part.start) / PAGE_SIZE) as usize;
        let entry = tree.entry(flusher, part.start, Level::L3).map_err(|_| OutOfMemory)?;
        entry.make_run(count, |n| scratch.read(first + n));
        (first..first + count).for_each(|n| scratch.write(n, Desc::INVALID));
        self.spare = Some(scratch);
        Ok(())
    }
}

/// What the parent's side of a step has come to.
enum Shared {
    /// Nothing is mapped.
    Nothing,
    /// Entries of the child, as far as it went, in the scratch table.
    Pages(Result<(), ForkError>),
    /// The child's entry; nothing is counted yet.
    Block(Desc),
    /// The child's migration entry.
    Moving(Migration),
}

/// Whether there was an entry.
enum Any {
    Yes,
    No,
}

/// A reference and a mapping for each entry of the run, which is about to be made.
fn add_entries(mm: &Mm, run: &Run) -> Result<(), ForkError> {
    run.head.get_many(run.entries);
    mapcount::add(mm, run);
    Ok(())
}

/// Takes note of the parent's entries for the child, and counts them by runs.
struct Sharer<'s> {
    mm: &'s Mm,
    child: (u64, OwnerId),
    part: &'s Part<'s>,
    scratch: &'s mut LooseTable,
    /// Place of the part's first entry in its table.
    first: usize,
    /// Entries that are noted and not counted yet, and the page after their folio.
    run: Option<(Run, PageRef)>,
    any: Any,
    /// Pages of anonymous memory that were counted.
    anon: u64,
    result: Result<(), ForkError>,
}

impl<'s> Sharer<'s> {
    fn new(mm: &'s Mm, child: &AddressSpace, part: &'s Part<'s>, scratch: &'s mut LooseTable) -> Self {
        let first = part.start.index(Level::L3);
        Sharer {
            mm,
            child: (child.id, child.owner),
            part,
            scratch,
            first,
            run: None,
            any: Any::No,
            anon: 0,
            result: Ok(()),
        }
    }

    /// The parent's entry `n` of the part: what is to stand there instead.
    fn share(&mut self, n: usize, leaf: Desc) -> Option<Desc> {
        if let Some(moving) = leaf.as_migration(Level::L3)
            && self.result.is_ok()
        {
            return self.share_moving(n, leaf, moving);
        }
        if !leaf.is_leaf(Level::L3) || self.result.is_err() {
            return None;
        }
        if let Some(page) = normal_page(leaf, Level::L3) {
            self.count(n, page);
            if self.result.is_err() {
                return None;
            }
        }
        let shared = read_only(leaf, Level::L3);
        self.scratch.write(self.first + n, shared);
        self.any = Any::Yes;
        (shared != leaf).then_some(shared)
    }

    /// As [`Self::share`], where the page is moving: who moves it finds the child's entry too, and counts it then.
    fn share_moving(&mut self, n: usize, entry: Desc, moving: Migration) -> Option<Desc> {
        let shared = moving.with_flags(moving.flags | PteFlags::READ_ONLY).desc(Level::L3);
        self.scratch.write(self.first + n, shared);
        self.any = Any::Yes;
        (shared != entry).then_some(shared)
    }

    /// Adds the page to the run that is not counted yet, or counts that and begins another.
    fn count(&mut self, n: usize, page: PageRef) {
        let va = self.part.start.add(n as u64 * PAGE_SIZE);
        if let Some((run, end)) = &mut self.run {
            let next = run.first.nth(run.entries.into());
            if page == next && page < *end && va == run.va.add(run.pages() * PAGE_SIZE) {
                run.entries += 1;
                return;
            }
        }
        self.count_run();
        let head = page.head(self.mm.config.tails);
        let run = Run {
            head,
            first: page,
            entries: 1,
            level: Level::L3,
            table: self.scratch.address(),
            top: self.scratch.address(),
            va,
            space: self.child.0,
            owner: self.child.1,
            vma: (self.part.vma.start, self.part.vma.end),
        };
        self.run = Some((run, head.nth(head.order().pages())));
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

    fn finish(mut self) -> (Any, Result<(), ForkError>) {
        self.count_run();
        self.mm.stats.add(Counter::NrAnon, self.anon);
        (self.any, self.result)
    }
}
