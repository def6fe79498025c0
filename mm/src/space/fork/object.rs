//! What a private mapping of an object hands on: its private copies, one entry after the other.
//!
//! | the parent's entry | the child's |
//! |---|---|
//! | maps a private copy | shared, as all anonymous memory |
//! | maps a private copy that is pinned | a copy of it |
//! | maps a page of the object, or is to when that has moved | none: the child's faults find it in the object |
//!
//! **Protocol.** Who truncates an object takes private copies beyond the end away, and has neither M nor the lineage:
//! he visits the spaces of the object under I, the parent and the child as any other. So each step holds I too, from
//! the look at the parent's entry until the child's is made: whoever truncates finds both entries, or comes first and
//! leaves none to be copied. (Linux has both page-table locks for that, `copy_pte_range`.)
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Desc, Level, PageSize, VirtAddr};

use super::copy::held;
use super::share::give;
use super::{ForkError, pinned};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::{Gather, TableStock, normal_page};
use crate::rmap;
use crate::shmem::Object;
use crate::space::exclusive::read_only;
use crate::space::unmap::unmap_if;
use crate::space::{AddressSpace, Vma};

/// Copies the entries of a private VMA of an object. M of the parent is held for writing; the flush of the parent is
/// the gather's.
///
/// # Errors
/// [`ForkError`]; the child has a part.
pub(super) fn copy_private(
    mm: &Mm,
    (parent, child): (&AddressSpace, &AddressSpace),
    vma: &Vma,
    gather: &mut Gather<'_>,
) -> Result<(), ForkError> {
    let Some(object) = vma.kind.object().and_then(|id| parent.objects.find(id)) else { return Ok(()) };
    let copier = Copier { mm, parent, child, vma, object: &object };
    let mut va = vma.start;
    while va < vma.end {
        let last = parent.ptl.lock().walk(va).last();
        let bytes = last.level.entry_bytes().max(PageSize::Size2M.bytes());
        let next = va.align_down(bytes).add(bytes).min(vma.end);
        if last.level == Level::L3 {
            copier.copy_table(va, next, gather)?;
        }
        va = next;
    }
    Ok(())
}

/// The parent's side of an entry.
enum Left {
    /// Nothing that is handed on.
    Nothing,
    /// It was pinned: the child gets a copy.
    Pinned,
    /// What stands there now.
    Shared(Desc),
}

struct Copier<'c> {
    mm: &'c Mm,
    parent: &'c AddressSpace,
    child: &'c AddressSpace,
    vma: &'c Vma,
    object: &'c Object,
}

impl Copier<'_> {
    /// What one level-3 table has at `[start, end)`.
    fn copy_table(&self, start: VirtAddr, end: VirtAddr, gather: &mut Gather<'_>) -> Result<(), ForkError> {
        let Copier { mm, child, vma, .. } = *self;
        let steps = child.ptl.lock().walk(start).steps().len();
        let mut stock = TableStock::new(mm, Level::ALL.len() - steps)?;
        let pages = || (0..end.offset_from(start) / PAGE_SIZE).map(|n| start.add(n * PAGE_SIZE));
        let mut pinned = false;
        {
            let _lineage = self.parent.lineage.hold();
            let _mappers = self.object.hold_mappers();
            for va in pages() {
                match self.leave_read_only(va, gather) {
                    Left::Nothing => {}
                    Left::Pinned => pinned = true,
                    Left::Shared(leaf) => {
                        let mut tree = child.ptl.lock();
                        let entry = tree.entry_or_table(child.flusher(mm), va, Level::L3, &mut stock);
                        give(mm, child, vma, entry.map_err(|_| OutOfMemory)?, leaf)?;
                    }
                }
            }
        }
        if pinned { pages().try_for_each(|va| self.copy_pinned(va)) } else { Ok(()) }
    }

    /// The private copy that a descriptor maps, or is to map.
    fn copy_of(&self, desc: Desc) -> Option<PageRef> {
        let moving = desc.as_migration(Level::L3).map(|moving| page_of(moving.output.pfn()));
        let head = moving.or_else(|| normal_page(desc, Level::L3))?.head(self.mm.config.tails);
        (head.kind() == PageKind::Anon).then_some(head)
    }

    fn leave_read_only(&self, va: VirtAddr, gather: &mut Gather<'_>) -> Left {
        let mut tree = self.parent.ptl.lock();
        let Ok(entry) = tree.entry(self.parent.flusher(self.mm), va, Level::L3) else { return Left::Nothing };
        let leaf = entry.desc();
        let Some(head) = self.copy_of(leaf) else { return Left::Nothing };
        if !leaf.is_migration() && head.maybe_pinned() {
            return Left::Pinned;
        }
        let shared = read_only(leaf, Level::L3);
        if shared != leaf {
            entry.tighten(shared, gather);
        }
        Left::Shared(shared)
    }

    /// A copy for the child of what it lacks at `va`, since it is pinned, or was a moment ago.
    fn copy_pinned(&self, va: VirtAddr) -> Result<(), ForkError> {
        let Copier { mm, parent, child, vma, .. } = *self;
        let (leaf, held) = loop {
            let tree = parent.ptl.lock();
            let leaf = tree.walk(va).last().desc;
            if !leaf.is_migration() {
                // What is pinned no more may move: the reference keeps it where it is.
                break (leaf, self.copy_of(leaf).map(held).transpose()?);
            }
            drop(tree);
            rmap::wait(mm, parent, va);
        };
        let Some(held) = held else { return Ok(()) };
        let lacks = child.ptl.lock().walk(va).last().desc.is_empty();
        let copied = if lacks {
            pinned::copy_leaf(mm, child, vma, (va, Level::L3, leaf)).map(|()| self.take_back(va, leaf))
        } else {
            Ok(())
        };
        mm.put_folio(held);
        copied
    }

    /// Takes the child's copy away again where the parent has lost its page meanwhile: the end has come below it.
    fn take_back(&self, va: VirtAddr, leaf: Desc) {
        let _lineage = self.parent.lineage.hold();
        let _mappers = self.object.hold_mappers();
        let now = self.parent.ptl.lock().walk(va).last().desc;
        // Nothing else takes it away while M is held; somebody who has begun to move it finds that it is held.
        if now != leaf && !now.is_migration() {
            let page = self.vma.part(va, va.add(PAGE_SIZE));
            unmap_if(self.mm, self.child, &page, |_| true);
        }
    }
}
