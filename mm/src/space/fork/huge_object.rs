//! What a private mapping of an object of hugetlb pages hands on: its private copies, one slot after the other.
//!
//! | the parent's slot | the child's |
//! |---|---|
//! | maps a private copy | shared: neither side may write it |
//! | maps a private copy that is pinned | a copy of it, of what the pool has to spare |
//! | maps the object's page, or nothing | none: the child's faults look in the object |
//! | has failed: a marker | a marker |
//! | is moving | waited for, then one of these |
//!
//! The protocol is that of [`super::object`]: the lineage and I are held from the look at the parent's entries until
//! the child's are made, so that who moves a page or truncates the object finds both, or came first. All entries of a
//! slot go together.
#![forbid(unsafe_code)]

use arch::{Desc, VirtAddr};

use super::copy::held;
use super::{ForkError, pinned};
use crate::Mm;
use crate::hugetlb::{Grant, HugeSize, Share, Slot};
use crate::page::{FolioRef, PageKind, PageRef};
use crate::pgtable::{Gather, TableStock, normal_folio};
use crate::rmap;
use crate::shmem::{Object, ObjectId};
use crate::space::exclusive::read_only;
use crate::space::unmap::unmap_if;
use crate::space::{AddressSpace, Vma};

/// Copies the slots of a private VMA of an object of pages of this size. M of the parent is held for writing; the flush
/// of the parent is the gather's.
///
/// # Errors
/// [`ForkError`]; the child has a part.
pub(super) fn copy_private(
    mm: &Mm,
    (parent, child): (&AddressSpace, &AddressSpace),
    vma: &Vma,
    size: HugeSize,
    gather: &mut Gather<'_>,
) -> Result<(), ForkError> {
    let Some(object) = vma.kind.object().and_then(|id| parent.objects.find(id)) else { return Ok(()) };
    let copier = Copier { mm, parent, child, vma, size, object: &object };
    let mut va = vma.start;
    while va < vma.end {
        let last = parent.ptl.lock().last(va);
        if last.level < size.level() {
            let bytes = last.level.entry_bytes();
            va = va.align_down(bytes).add(bytes);
            continue;
        }
        match copier.copy_slot(va, gather)? {
            Left::Done => va = va.add(size.bytes()),
            Left::Pinned(leaf, held) => {
                let copied = copier.copy_pinned(va, leaf);
                mm.put_folio(held);
                copied?;
                va = va.add(size.bytes());
            }
            Left::Moving => rmap::wait(mm, parent, va),
        }
    }
    Ok(())
}

/// What came of a slot.
enum Left {
    /// The child has what it is to have.
    Done,
    /// It was pinned: the leaf of its first entry, and a reference that keeps the page.
    Pinned(Desc, FolioRef),
    /// Its page moves.
    Moving,
}

struct Copier<'c> {
    mm: &'c Mm,
    parent: &'c AddressSpace,
    child: &'c AddressSpace,
    vma: &'c Vma,
    size: HugeSize,
    object: &'c Object,
}

impl Copier<'_> {
    fn copy_slot(&self, va: VirtAddr, gather: &mut Gather<'_>) -> Result<Left, ForkError> {
        let Copier { mm, parent, child, vma, size, .. } = *self;
        let missing = (size.level() as usize).saturating_sub(child.ptl.lock().last(va).level as usize);
        let mut stock = TableStock::new(mm, missing)?;
        let _lineage = parent.lineage.hold();
        let _mappers = self.object.hold_mappers();
        let head = {
            let mut tree = parent.ptl.lock();
            let first = tree.last(va);
            if first.migration().is_some() {
                return Ok(Left::Moving);
            }
            if first.desc.is_poisoned() {
                drop(tree);
                return self.mark_failed(va, &mut stock);
            }
            let Some(head) = self.copy_in(first.desc) else { return Ok(Left::Done) };
            if head.maybe_pinned() {
                return Ok(Left::Pinned(first.desc, held(head)?));
            }
            if let Ok(entry) = tree.entry(parent.flusher(mm), va, size.level()) {
                entry.tighten_run(size.entries(), gather, |_, leaf| {
                    let shared = read_only(leaf, size.level());
                    (shared != leaf).then_some(shared)
                });
            }
            head
        };
        let slot = Slot::of(mm, child, vma, size, va);
        match slot.share(head, (slot.piece(), Grant::NoWrite), &mut stock) {
            Ok(Share::Slot(_)) => Ok(Left::Done),
            // The parent's entries are about to become markers.
            Ok(Share::Failed) => self.mark_failed(va, &mut stock),
            Ok(Share::Full) => Err(ForkError::TooManyMappings(head.pfn())),
            Err(_) => Err(ForkError::OutOfMemory),
        }
    }

    /// The child's markers for a slot of which the parent's copy has failed.
    fn mark_failed(&self, va: VirtAddr, stock: &mut TableStock<'_>) -> Result<Left, ForkError> {
        let slot = Slot::of(self.mm, self.child, self.vma, self.size, va);
        slot.mark_failed(stock).map(|()| Left::Done).map_err(|_| ForkError::OutOfMemory)
    }

    /// The head of the private copy that a leaf maps, which is the first of its slot.
    fn copy_in(&self, leaf: Desc) -> Option<PageRef> {
        let copy = |head: &PageRef| {
            head.kind() == PageKind::Hugetlb && ObjectId::of_mapping(head.mapping()).is_none()
        };
        normal_folio(self.mm, leaf, self.size.level()).filter(copy)
    }

    /// A copy for the child of what `leaf` maps, which is pinned, or was a moment ago. It is taken away again where the
    /// parent has lost its page meanwhile: the end has come below it.
    fn copy_pinned(&self, va: VirtAddr, leaf: Desc) -> Result<(), ForkError> {
        let Copier { mm, parent, child, vma, size, .. } = *self;
        pinned::copy_leaf(mm, child, vma, (va, size.level(), leaf))?;
        let _lineage = parent.lineage.hold();
        let _mappers = self.object.hold_mappers();
        let now = parent.ptl.lock().last(va);
        // Nothing else takes it away while M is held; somebody who has begun to move it finds that it is held.
        let is_lost = now.migration().is_none() && !now.desc.is_poisoned();
        if now.desc != leaf && is_lost {
            unmap_if(mm, child, &vma.part(va, va.add(size.bytes())), |_| true);
        }
        Ok(())
    }
}
