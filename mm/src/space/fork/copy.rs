//! The tables of the child.
//!
//! One step copies what the parent has in one level-3 table, whichever VMAs have a share in it, or a row of blocks of
//! one VMA:
//!
//! ```text
//!   parent, level 2   [ table | block | block | . | block | table ... ]
//!            step         1       2       2             2       3
//! ```
//! A migration entry is copied like a leaf, but for counts: whoever migrates finds it by the lineage, in the parent or
//! in the child, and counts what he makes of it. The memory for the step is there before any spinlock is taken.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::{Desc, Level, PageSize, VirtAddr};

use super::share::{Sharer, give, is_left_out, is_private, mark};
use super::{ForkError, huge_object, object, pinned};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::page::{FolioRef, PageRef};
use crate::pgtable::{Gather, LooseTable, TableStock, normal_folio};
use crate::rmap;
use crate::space::{AddressSpace, Vma, VmaKind};

/// Copies all that the parent's VMAs map into the child, whose VMAs are the same. M of the parent is held for
/// writing. The parent's TLB entries are flushed when this returns, whatever it returns.
///
/// # Errors
/// [`ForkError`]; the child has a part, which its end gives back.
pub(super) fn copy_tables(mm: &Mm, parent: &AddressSpace, child: &AddressSpace) -> Result<(), ForkError> {
    mm.gather(parent.tag(), |gather| {
        let mut copier = Copier { mm, parent, child, gather, spare: None };
        let copied = copier.copy_all().and_then(|()| copier.copy_objects());
        if let Some(table) = copier.spare.take() {
            mm.free_table(table);
        }
        copied
    })
}

/// Bytes that one level-3 table covers.
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
    /// A block of this level, or what is to be one again, at this address.
    Block(Level, VirtAddr),
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

impl<'c> Copier<'c, '_> {
    fn copy_all(&mut self) -> Result<(), ForkError> {
        let mut va = VirtAddr::new(0);
        while let Some(vma) = self.parent.find_vma(va) {
            va = if is_left_out(&vma) { vma.end } else { va.max(vma.start) };
            while va < vma.end {
                va = match self.find(va, vma.end) {
                    Found::Nothing(next) => next,
                    Found::Pages => self.copy_pages(va)?,
                    Found::Block(level, at) => self.copy_blocks(&vma, level, at)?,
                };
            }
        }
        Ok(())
    }

    /// Private mappings of objects: after all others, whose tables are linked whole.
    fn copy_objects(&mut self) -> Result<(), ForkError> {
        if self.parent.objects.is_empty() {
            return Ok(());
        }
        let mut from = VirtAddr::new(0);
        while let Some(vma) = self.parent.find_vma(from) {
            let spaces = (self.parent, self.child);
            match vma.kind {
                VmaKind::Private(_) => object::copy_private(self.mm, spaces, &vma, self.gather)?,
                VmaKind::HugePrivate(size, _) => {
                    huge_object::copy_private(self.mm, spaces, &vma, size, self.gather)?;
                }
                _ => {}
            }
            from = vma.end;
        }
        Ok(())
    }

    /// What stands at `va`, or above it in the same table and below `end`.
    fn find(&self, va: VirtAddr, end: VirtAddr) -> Found {
        let mut tree = self.parent.ptl.lock();
        let stretch = tree.stretch(self.parent.flusher(self.mm), va, end);
        match stretch.level() {
            Level::L3 => Found::Pages,
            Level::L0 => Found::Nothing(stretch.end()),
            level @ (Level::L1 | Level::L2) => match stretch.descs().position(|desc| !desc.is_empty()) {
                Some(0) => Found::Block(level, va),
                Some(n) => {
                    let bytes = level.entry_bytes();
                    Found::Block(level, va.align_down(bytes).add(n as u64 * bytes))
                }
                None => Found::Nothing(stretch.end()),
            },
        }
    }

    /// All that the parent has in one level-3 table, from `va` on. Returns where the next step begins.
    fn copy_pages(&mut self, va: VirtAddr) -> Result<VirtAddr, ForkError> {
        let slot = va..va.align_down(SLOT).add(SLOT);
        let mut stock = self.tables_above(Level::L2, va)?;
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

    /// The parent's side: its entries lose their write permission, and are counted and noted for the child.
    fn leave_pages(&mut self, slot: &Range<VirtAddr>, sharer: &mut Sharer<'_>) {
        let vmas = self.parent.vmas.lock();
        let mut tree = self.parent.ptl.lock();
        for vma in vmas.overlapping(slot.start, slot.end).filter(|vma| !is_left_out(vma)) {
            let (start, end) = (vma.start.max(slot.start), vma.end.min(slot.end));
            let mut stretch = tree.stretch(self.parent.flusher(self.mm), start, end);
            if stretch.level() == Level::L3 {
                let len = stretch.len();
                stretch.entry(0).tighten_many(len, self.gather, |entries| sharer.share(vma, start, entries));
            }
        }
    }

    /// A row of blocks of a VMA that begins at `va`. Returns where the next step begins.
    fn copy_blocks(&mut self, vma: &Vma, level: Level, va: VirtAddr) -> Result<VirtAddr, ForkError> {
        let mut stock = self.tables_above(level, va)?;
        let mut row: Row = [None; ROW];
        let lineage = self.parent.lineage.hold();
        let (next, lacks) = self.leave_blocks(vma, level, va, &mut row);
        if let Some((first, _)) = row[0] {
            let (mut tree, flusher) = (self.child.ptl.lock(), self.child.flusher(self.mm));
            let above = tree.entry_or_table(flusher, first, level, &mut stock).map(drop);
            above.map_err(|_| OutOfMemory)?;
            // Steps ascend, so from here on the child's table, as far as the row goes, is empty.
            let mut stretch = tree.stretch(flusher, first, next);
            for &(va, block) in row.iter().map_while(Option::as_ref) {
                let n = va.offset_from(first) / level.entry_bytes();
                give(self.mm, self.child, vma, stretch.entry(n as usize), block)?;
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
    fn leave_blocks(&mut self, vma: &Vma, level: Level, va: VirtAddr, row: &mut Row) -> (VirtAddr, Lacks) {
        let mut tree = self.parent.ptl.lock();
        let mut stretch = tree.stretch(self.parent.flusher(self.mm), va, vma.end);
        if stretch.level() != level {
            // It was split meanwhile.
            return (va, Lacks::Nothing);
        }
        let bytes = level.entry_bytes();
        let (start, len) = (va.align_down(bytes), stretch.len());
        let (mut next, mut lacks) = (stretch.end(), Lacks::Nothing);
        let mut left_out = None;
        let (mut places, mark) = (row.iter_mut(), mark(vma));
        stretch.entry(0).tighten_many(len, self.gather, |entries| {
            let range = entries.range();
            for n in range.clone() {
                let block = entries.desc(n);
                if block.is_empty() {
                    continue;
                }
                let va = start.add((n - range.start) as u64 * bytes);
                let head = normal_folio(self.mm, block, level);
                // All of a hugetlb page is copied or shared: it may be unpinned before its next entry is looked at.
                if head.is_some() && (head == left_out || head.is_some_and(is_pinned)) {
                    (lacks, left_out) = (Lacks::Pinned, head);
                    continue;
                }
                let Some(place) = places.next() else {
                    next = va;
                    return;
                };
                if block.is_contiguous() {
                    // Of 32 MiB: some of the 16 may be left for the next row.
                    entries.unfold(n);
                }
                let shared = entries.desc(n).with_also(mark);
                if shared != block {
                    entries.tighten(n, shared);
                }
                *place = Some((va, shared));
            }
        });
        (next, lacks)
    }

    /// The tables that the child lacks above an entry of `level`.
    fn tables_above(&self, level: Level, va: VirtAddr) -> Result<TableStock<'c>, OutOfMemory> {
        let there = self.child.ptl.lock().last(va).level;
        TableStock::new(self.mm, (level as usize).saturating_sub(there as usize))
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

    /// The same, for what one entry maps. Returns where the next one begins.
    fn copy_if_pinned(&self, vma: &Vma, va: VirtAddr) -> Result<VirtAddr, ForkError> {
        let (leaf, held) = {
            let leaf = self.parent.ptl.lock().last(va);
            // What is pinned no more may move: the reference keeps it where it is.
            let head = normal_folio(self.mm, leaf.desc, leaf.level).filter(is_private);
            (leaf, head.map(held).transpose()?)
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

/// A reference to what is to be copied.
///
/// # Errors
/// [`ForkError::TooManyMappings`].
pub(super) fn held(head: PageRef) -> Result<FolioRef, ForkError> {
    head.get_unless_full().ok_or(ForkError::TooManyMappings(head.pfn()))
}

/// Whether memory that a block maps must not be shared. Under T of the parent: what is not pinned now is not pinned
/// as exclusive once it is shared.
fn is_pinned(head: PageRef) -> bool {
    is_private(&head) && head.maybe_pinned()
}
