//! Every object, every page of one, every share in one.
//!
//! | what | against what |
//! |---|---|
//! | a page of the tree | kind, `mapping` and `index` of its struct page |
//! | its references | one of the object, its leaves in all spaces that the object lists, its pins |
//! | its mappings | these leaves |
//! | the pages that a space has attached | the pages of its VMAs of the object |
//! | nr_shmem | the pages of all objects |
//!
//! A page that was taken out of its object, and is not mapped any more, lives as long as it is pinned.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;

use super::object::{Object, ObjectId};
use crate::Mm;
use crate::check::{Inconsistency, Mapped, Report, agree};
use crate::mapcount;
use crate::mapcount::check::Truth;
use crate::page::{PageKind, PageRef};
use crate::space::AddressSpace;
use crate::stats::Counter;

impl Mm {
    /// The objects, and their pages as the trees have them.
    pub(crate) fn check_objects(&self, _: &mut Report) -> Result<(), Inconsistency> {
        let mut pages = 0;
        self.objects.try_for_each(|object| {
            pages += object.pages();
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
        let mut verdict = Ok(());
        let mut attached = 0;
        self.objects.try_for_each(|object| {
            let mut pages = 0;
            space.for_each_vma(|vma| {
                if vma.kind.object() == Some(object.id) {
                    pages += vma.bytes() / PAGE_SIZE;
                }
            });
            let counted = space.objects.pages_of(object.id);
            agree("pages of an object that a space has attached", None, pages, counted)?;
            attached += u64::from(pages != 0);
            let listed = object.mappers.lock().iter().filter(|other| other.id == space.id).count() as u64;
            agree("an object lists a space that maps it", None, u64::from(pages != 0), listed)
        })?;
        agree("objects that a space has attached", None, attached, space.objects.len() as u64)?;
        space.for_each_vma(|vma| {
            let lives = vma.kind.object().is_none_or(|id| self.objects.find(id).is_some());
            let this = agree("the object of a VMA is alive", None, 1, lives.into());
            verdict = core::mem::replace(&mut verdict, Ok(())).and(this);
        });
        verdict
    }

    /// A page of kind shmem, from its struct page's side.
    pub(crate) fn check_shmem_page(&self, page: PageRef) -> Result<(), Inconsistency> {
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
        let mut mapped = Mapped::default();
        for space in object.mappers.lock().iter() {
            mapped.entries += space.leaves_of(page).entries;
        }
        mapcount::check::agrees(self, page, Truth { entries: mapped.entries })?;
        let references = 1 + mapped.entries + pins;
        agree("references to a page of an object", pfn, references, page.refcount().into())
    }
}

impl Object {
    fn check_tree(&self) -> Result<(), Inconsistency> {
        let contents = self.contents.lock();
        let mut verdict = Ok(());
        let mut pages = 0;
        contents.pages.for_each(|index, page| {
            let pfn = Some(page.pfn());
            pages += 1;
            let this =
                agree("the kind of a page of an object", pfn, PageKind::Shmem as u64, page.kind() as u64)
                    .and_then(|()| agree("the object of a page", pfn, self.id.mapping(), page.mapping()))
                    .and_then(|()| agree("the index of a page of an object", pfn, index, page.index()))
                    .and_then(|()| {
                        agree("a page beyond the end of its object", pfn, 0, (index >= contents.end()).into())
                    });
            verdict = core::mem::replace(&mut verdict, Ok(())).and(this);
        });
        verdict?;
        agree("pages of an object", None, pages, contents.pages.len())
    }
}
