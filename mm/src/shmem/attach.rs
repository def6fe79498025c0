//! Which spaces have VMAs of which objects, from both sides.
//!
//! ```text
//!   space.objects:  [ object 3, 16 pages ] [ object 8, 1 page ]     by the object's number
//!   object.mappers: [ space 1 ] [ space 5 ]                         by the space's number
//! ```
//! A space counts the pages of its VMAs of an object, and not the VMAs: these are cut and merged without anybody being
//! told. With the first page the space enters the object's list, with the last it leaves. Who makes a VMA of an object
//! attaches first, which may fail; who takes one away, or a part of one, detaches.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::sync::SpinLock;

use super::object::{Object, ObjectId, ObjectUse};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::hugetlb::Owed;
use crate::kalloc::{KAlloc, KArc};
use crate::locks;
use crate::space::AddressSpace;

/// One object that a space maps.
struct Attachment {
    object: ObjectUse,
    /// Pages of the space's VMAs of it (4 KiB units).
    pages: u64,
}

/// The objects that a space maps. Changed under M for writing.
pub struct SpaceObjects {
    all: SpinLock<Vec<Attachment, KAlloc>>,
    /// What the hugetlb pools have promised to the private mappings among them.
    pub owed: Owed,
}

impl SpaceObjects {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        SpaceObjects { all: SpinLock::new(locks::SPACE_OBJECTS, Vec::new_in(KAlloc)), owed: Owed::new() }
    }

    /// The object with this number, where the space has VMAs of it.
    #[must_use]
    pub fn find(&self, id: ObjectId) -> Option<KArc<Object>> {
        let all = self.all.lock();
        let at = search(&all, id).ok()?;
        all.get(at).map(|attachment| attachment.object.0.clone())
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.lock().len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `pages` pages more of VMAs of an object that the space has VMAs of. M is held for writing.
    pub(crate) fn grow(&self, id: ObjectId, pages: u64) {
        let mut all = self.all.lock();
        let found = search(&all, id);
        debug_assert!(found.is_ok(), "object {id} is not attached");
        if let Ok(at) = found {
            all[at].pages += pages;
        }
    }

    /// Pages that the objects have (4 KiB units), but for those of hugetlb.
    pub(crate) fn held_pages(&self) -> u64 {
        let small = |attachment: &&Attachment| attachment.object.huge.is_none();
        self.all.lock().iter().filter(small).map(|attachment| attachment.object.pages()).sum()
    }

    /// Pages of VMAs of this object (4 KiB units), as they were counted.
    pub(super) fn pages_of(&self, id: ObjectId) -> u64 {
        let all = self.all.lock();
        search(&all, id).map_or(0, |at| all[at].pages)
    }
}

impl Default for SpaceObjects {
    fn default() -> Self {
        Self::new()
    }
}

fn search(all: &[Attachment], id: ObjectId) -> Result<usize, usize> {
    all.binary_search_by_key(&id, |attachment| attachment.object.id)
}

impl Mm {
    /// `pages` pages of VMAs of the object are about to be made in the space. M is held for writing, or the space is
    /// not used yet; the caller has a share in the object or another space's M that keeps it.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn attach_object(
        &self,
        space: &KArc<AddressSpace>,
        object: &KArc<Object>,
        pages: u64,
    ) -> Result<(), OutOfMemory> {
        let mut all = space.objects.all.lock();
        match search(&all, object.id) {
            Ok(at) => all[at].pages += pages,
            Err(at) => {
                all.try_reserve(1).map_err(|_| OutOfMemory)?;
                let mut mappers = object.mappers.lock();
                mappers.try_reserve(1).map_err(|_| OutOfMemory)?;
                let place = mappers.partition_point(|other| other.id < space.id);
                mappers.insert(place, space.clone());
                drop(mappers);
                all.insert(at, Attachment { object: Object::share(object), pages });
            }
        }
        Ok(())
    }

    /// The child has the objects of its parent, and as much of each. Its VMAs are set after. M of the parent is held
    /// for writing.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the child has none.
    pub(crate) fn inherit_objects(
        &self,
        parent: &AddressSpace,
        child: &KArc<AddressSpace>,
    ) -> Result<(), OutOfMemory> {
        let mut from = 0;
        loop {
            let next = {
                let all = parent.objects.all.lock();
                all.get(from).map(|attachment| (attachment.object.0.clone(), attachment.pages))
            };
            let Some((object, pages)) = next else { return Ok(()) };
            if let Err(error) = self.attach_object(child, &object, pages) {
                self.disinherit(child);
                return Err(error);
            }
            from += 1;
        }
    }

    fn disinherit(&self, child: &AddressSpace) {
        loop {
            let last = {
                let all = child.objects.all.lock();
                all.last().map(|attachment| (attachment.object.id, attachment.pages))
            };
            let Some((id, pages)) = last else { return };
            self.detach_object(child, id, pages);
        }
    }

    /// `pages` pages of VMAs of the object, attached before, are gone, or have come to nothing. No entry maps them any
    /// more. M is held for writing.
    pub(crate) fn detach_object(&self, space: &AddressSpace, id: ObjectId, pages: u64) {
        let mut all = space.objects.all.lock();
        let Ok(at) = search(&all, id) else {
            debug_assert!(false, "object {id} is not attached to address space {}", space.id);
            return;
        };
        debug_assert!(all[at].pages >= pages, "object {id}: {pages} pages detached of {}", all[at].pages);
        all[at].pages -= pages;
        if all[at].pages != 0 {
            return;
        }
        let Attachment { object, .. } = all.remove(at);
        drop(all);
        let mut mappers = object.mappers.lock();
        let found = mappers.binary_search_by_key(&space.id, |other| other.id);
        let left = found.ok().map(|at| mappers.remove(at));
        drop(mappers);
        drop(left);
        self.close_object(object);
    }
}
