//! Every object, every page of one, every share in one.
//!
//! | what | against what |
//! |---|---|
//! | a page of the tree | kind, `mapping` and `index` of its struct page |
//! | its references | one of the object, its leaves in all spaces that the object lists, its pins |
//! | its mappings | these leaves |
//! | the pages that a space has attached | the pages of its VMAs of the object |
//! | nr_shmem | the pages of all objects, but for those of hugetlb |
//!
//! A page that was taken out of its object, and is not mapped any more, lives as long as it is pinned.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;

use super::object::{Object, ObjectId};
use crate::Mm;
use crate::check::{Inconsistency, Report, agree};
use crate::kalloc::KArc;
use crate::mapcount;
use crate::mapcount::check::Scan;
use crate::page::{PageKind, PageRef};
use crate::space::AddressSpace;
use crate::stats::Counter;

impl Mm {
    /// The objects, and their pages as the trees have them.
    pub(crate) fn check_objects(&self, _: &mut Report) -> Result<(), Inconsistency> {
        let mut pages = 0;
        self.objects.try_for_each(|object| {
            pages += if object.huge.is_none() { object.pages() } else { 0 };
            object.check_tree()?;
            let mut attached = 0;
            self.spaces.try_for_each(|space| {
                attached += u64::from(space.objects.find(object.id).is_some());
                Ok(())
            })?;
            agree("spaces that an object lists", None, attached, object.spaces() as u64)
        })?;
        agree("nr_shmem", None, pages, self.stats.get(Counter::NrShmem))?;
        self.spaces.try_for_each(|space| self.check_attached(space))
    }

    fn check_attached(&self, space: &AddressSpace) -> Result<(), Inconsistency> {
        let mut dead = 0;
        space.for_each_vma(|vma| {
            dead += u64::from(vma.kind.object().is_some_and(|id| self.objects.find(id).is_none()));
        });
        agree("VMAs of objects that are gone", None, 0, dead)?;
        self.objects.try_for_each(|object| {
            let mut pages = 0;
            space.for_each_vma(|vma| {
                if vma.kind.object() == Some(object.id) {
                    pages += vma.bytes() / PAGE_SIZE;
                }
            });
            let counted = space.objects.pages_of(object.id);
            agree("pages of an object that a space has attached", None, pages, counted)
        })
    }

    /// A page of an object, or the head of a hugetlb page of one, from its struct page's side.
    pub(crate) fn check_object_page(&self, page: PageRef) -> Result<(), Inconsistency> {
        let pfn = Some(page.pfn());
        let (mapping, pins) = (page.mapping(), u64::from(page.pincount()));
        if mapping == 0 {
            agree("mappings of a page that its object has lost", pfn, 0, page.raw_mapcount().into())?;
            return agree("references to a page that its object has lost", pfn, pins, page.refcount().into());
        }
        let object = ObjectId::of_mapping(mapping).and_then(|id| self.objects.find(id));
        agree("the object that owns a page is alive", pfn, 1, object.is_some().into())?;
        let Some(object) = object else { return Ok(()) };
        agree("a page is its object's", pfn, 1, (object.page(page.index()) == Some(page)).into())?;
        let see = |scan: &mut Scan| {
            for space in object.mappers.lock().iter() {
                let _ = space.leaves_of(page, scan);
            }
        };
        let spaces = || {
            let maps = |space: &&KArc<AddressSpace>| space.maps_any(page);
            object.mappers.lock().iter().filter(maps).count() as u64
        };
        let mut entries = 0;
        mapcount::check::agrees(self, page, see, spaces, |truth| {
            entries = truth.entries;
            Ok(())
        })?;
        let references = 1 + entries + pins;
        agree("references to a page of an object", pfn, references, page.refcount().into())
    }
}

impl Object {
    /// Every page of the tree is one of an object, below its end; whose, and where in it, is looked at from the page.
    fn check_tree(&self) -> Result<(), Inconsistency> {
        let contents = self.contents.lock();
        let (mut end, mut verdict) = (0, Ok(()));
        contents.pages.for_each(|index, page| {
            let this = (page.kind() as u64, Some(page.pfn()));
            let wanted = if self.huge.is_some() { PageKind::Hugetlb } else { PageKind::Shmem };
            let kind = agree("the kind of a page of an object", this.1, wanted as u64, this.0);
            verdict = core::mem::replace(&mut verdict, Ok(())).and(kind);
            end = end.max(index + 1);
        });
        verdict?;
        let sound = contents.promised.is_sound();
        agree("the list of what the pool has promised to an object", None, 1, sound.into())?;
        agree("pages of an object that are there, and promised too", None, 0, contents.promised_twice())?;
        let beyond = end.saturating_sub(contents.end());
        agree("pages beyond the end of their object", None, 0, beyond)
    }
}
