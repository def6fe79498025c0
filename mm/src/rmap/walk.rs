//! From a folio to the places where it may be mapped, and to the entries that do map it.
//!
//! A private folio, anonymous or of hugetlb, names the space in which it was born and its linear index there. Only fork
//! hands it on, so it may be mapped by that space and those that descend from it; only mremap moves it within a space,
//! and leaves the linear index of its VMA as it is. So a walk asks, of the lineage of the birth space, parents before
//! children, each VMA that has one of the folio's linear indices: these are its *places*. The tables then say what is
//! mapped there; a place whose entry maps another page is passed over.
//!
//! ```text
//!   folio: mapping 7, index 0x400..0x600
//!      lineage of 7, held:  [7] --> [9] --> [12]          rank 30
//!         VMAs of 9, locked: [0x300, 0x480)  [0x480, 0x900) moved by mremap     rank 35
//!            tables of 9, locked: leaves and migration entries for these pages  T, rank 50
//! ```
//! A page of an object names the object and its index there, and its places are those that the object visits: every VMA
//! of it, in every space ([`crate::shmem::rmap`]).
//!
//! **Guarantee.** Every entry that maps a part of the folio from the beginning of a walk to its end is visited once.
//! Fork copies entries from a parent to a child, and mremap from one place of a space to another, each with the lineage
//! held; so no entry is copied from a place that is not visited yet to one that was.
//!
//! A walk allocates nothing and sleeps nowhere; its time follows the spaces of the lineage and the pages of the folio.
#![forbid(unsafe_code)]

use core::convert::Infallible;
use core::ops::{ControlFlow, Range};

use arch::addr::PAGE_SIZE;
use arch::{Order, Pfn, VirtAddr};

use crate::Mm;
use crate::kalloc::KArc;
use crate::page::{PageKind, PageRef};
use crate::pgtable::visit::Leaf;
use crate::pgtable::{PtRoot, WalkStep};
use crate::shmem::{Object, ObjectId};
use crate::space::{AddressSpace, Vma};

/// What a folio says of itself, as long as it is known whose it is: kept while its struct pages change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The head, or the single page.
    pub(super) head: PageRef,
    pub(super) kind: PageKind,
    pub(super) order: Order,
    mapping: u64,
    index: u64,
}

impl Origin {
    /// Of a folio to which the caller holds a reference.
    pub(super) fn of(head: PageRef) -> Self {
        let (mapping, index) = (head.mapping(), head.index());
        Origin { head, kind: head.kind(), order: head.order(), mapping, index }
    }
    /// Gives another folio, or the page `n` of this one, the same owner.
    pub(super) fn pass_on(&self, to: PageRef, n: u64) {
        to.set_mapping(self.mapping, self.index + n);
    }
    /// The linear index of its page `n`.
    pub(super) fn index_of(&self, n: u64) -> u64 {
        self.index + n
    }
    /// Which of its pages this frame is.
    pub(super) fn page_at(&self, pfn: Pfn) -> Option<u64> {
        let n = pfn.raw().checked_sub(self.head.pfn().raw())?;
        (n < self.order.pages()).then_some(n)
    }
    /// Which of its pages a leaf maps, or begins to map.
    pub(super) fn mapped_by(&self, step: WalkStep) -> Option<u64> {
        let counted = step.desc.is_leaf(step.level) && !step.desc.is_special();
        counted.then(|| self.page_at(step.desc.output(step.level).pfn())).flatten()
    }
    /// Which of its pages a migration entry remembers, or begins with.
    pub(super) fn remembered_by(&self, step: WalkStep) -> Option<u64> {
        self.page_at(step.migration()?.output.pfn())
    }

    /// Whether it is a page of an object, which has a reference to it.
    pub(super) fn is_shared(&self) -> bool {
        ObjectId::of_mapping(self.mapping).is_some()
    }
    /// The object whose page it is, and the index there. `None`: it is private, or the object is gone.
    pub(super) fn object(&self, mm: &Mm) -> Option<(KArc<Object>, u64)> {
        Some((mm.objects.find(ObjectId::of_mapping(self.mapping)?)?, self.index))
    }

    /// Asks `f` of each place where the folio may be mapped, until it breaks. The lineage and the place's VMAs are held
    /// meanwhile; `f` may take T.
    pub(super) fn visit<B>(
        &self,
        mm: &Mm,
        mut f: impl FnMut(&Place<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if let Some(id) = ObjectId::of_mapping(self.mapping) {
            let Some(object) = mm.objects.find(id) else { return ControlFlow::Continue(()) };
            let pages = self.index..self.index + self.order.pages();
            return object.visit_parts(pages, |space, vma, part| f(&Place { space, vma: *vma, part }));
        }
        let Some(lineage) = mm.lineages.find(self.mapping) else { return ControlFlow::Continue(()) };
        let pages = self.index..self.index.saturating_add(self.order.pages());
        lineage.hold().visit(|space| {
            space.try_for_each_linear(pages.clone(), |vma, part| f(&Place { space, vma: *vma, part }))
        })
    }

    /// As [`Self::visit`], of all.
    pub(super) fn for_each_place(&self, mm: &Mm, mut f: impl FnMut(&Place<'_>)) {
        let ControlFlow::Continue(()) = self.visit(mm, |place| -> ControlFlow<Infallible> {
            f(place);
            ControlFlow::Continue(())
        });
    }
}

/// A part of a VMA whose pages have linear indices of one folio.
pub struct Place<'p> {
    /// The space.
    pub space: &'p KArc<AddressSpace>,
    /// All of the VMA.
    pub vma: Vma,
    /// The addresses.
    pub part: Range<VirtAddr>,
}

impl Place<'_> {
    /// Tells `f` each descriptor at which a walk of the place's addresses ends, the lowest first. `tree` is the
    /// space's, under T; `f` may change the descriptor.
    pub(super) fn scan(&self, tree: &mut PtRoot, mut f: impl FnMut(&mut PtRoot, VirtAddr, WalkStep)) {
        let mut va = self.part.start;
        while va < self.part.end {
            let step = tree.walk(va).last();
            let bytes = step.level.entry_bytes();
            let next = va.align_down(bytes).add(bytes);
            f(tree, va, step);
            va = next;
        }
    }
}

/// Calls `visit` for every leaf entry that maps a part of the folio, in every space, until it breaks: the place, and
/// the leaf, T of its space held. The caller holds a reference to the folio and no lock of rank 30 or above.
///
/// Migration entries are no leaves: while the folio moves, what is on its way is not visited. (Linux: `rmap_walk`.)
pub fn rmap_walk<B>(
    mm: &Mm,
    head: PageRef,
    mut visit: impl FnMut(&Place<'_>, Leaf) -> ControlFlow<B>,
) -> ControlFlow<B> {
    let origin = Origin::of(head);
    origin.visit(mm, |place| {
        let tree = place.space.ptl.lock();
        let mut va = place.part.start;
        while va < place.part.end {
            let step = tree.walk(va).last();
            let bytes = step.level.entry_bytes();
            let start = va.align_down(bytes);
            if origin.mapped_by(step).is_some() {
                let leaf = Leaf { va: start, level: step.level, slot: step.slot, desc: step.desc };
                visit(place, leaf)?;
            }
            va = start.add(bytes);
        }
        ControlFlow::Continue(())
    })
}

/// What a walk over all entries of a folio has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mappings {
    /// Leaf entries.
    pub entries: u64,
    /// Those of them that map all of a folio of 2 MiB.
    pub blocks: u64,
    /// Spaces that have one.
    pub spaces: u64,
    /// What the entries map, each page as often as it is mapped (4 KiB units).
    pub pages: u64,
}

/// Counts the entries that map the folio, by a walk: the truth, as long as nobody changes the tables. The caller holds
/// a reference to the folio.
#[must_use]
pub fn count_mappings(mm: &Mm, head: PageRef) -> Mappings {
    let (mut found, mut last) = (Mappings::default(), 0);
    let ControlFlow::Continue(()) = rmap_walk(mm, head, |place, leaf| -> ControlFlow<Infallible> {
        found.entries += 1;
        found.blocks += u64::from(leaf.level.entry_bytes() == Order::PMD.bytes());
        found.spaces += u64::from(core::mem::replace(&mut last, place.space.id) != place.space.id);
        found.pages += leaf.level.entry_bytes() / PAGE_SIZE;
        ControlFlow::Continue(())
    });
    found
}
