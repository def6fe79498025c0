//! All objects, by their numbers.
#![forbid(unsafe_code)]

use core::convert::Infallible;

use core::sync::atomic::{AtomicU64, Ordering};

use allocator_api2::vec::Vec;
use arch::sync::SpinLock;

use super::object::{Object, ObjectId};
use crate::error::OutOfMemory;
use crate::hugetlb::HugeSize;
use crate::kalloc::{KAlloc, KArc};
use crate::locks;

/// The live objects, from [`crate::Mm::new_object`] to the last [`crate::Mm::close_object`].
pub struct Objects {
    last: AtomicU64,
    /// Ascending: new numbers are the highest.
    all: SpinLock<Vec<KArc<Object>, KAlloc>>,
}

impl Objects {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Objects { last: AtomicU64::new(0), all: SpinLock::new(locks::OBJECTS, Vec::new_in(KAlloc)) }
    }

    /// A number that no object had.
    pub(super) fn next_id(&self) -> ObjectId {
        ObjectId::new(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn insert(&self, object: &KArc<Object>) -> Result<(), OutOfMemory> {
        let mut all = self.all.lock();
        all.try_reserve(1).map_err(|_| OutOfMemory)?;
        // Two that are made at once may come in either order.
        let at = all.partition_point(|other| other.id < object.id);
        all.insert(at, object.clone());
        Ok(())
    }

    pub(super) fn remove(&self, id: ObjectId) {
        let mut all = self.all.lock();
        let found = all.binary_search_by_key(&id, |object| object.id);
        debug_assert!(found.is_ok(), "object {id} is not in the list");
        let gone = found.ok().map(|at| all.remove(at));
        drop(all);
        drop(gone);
    }

    /// The object with this number. It may end while the caller looks at it: then no space maps it, and it is empty.
    #[must_use]
    pub fn find(&self, id: ObjectId) -> Option<KArc<Object>> {
        let all = self.all.lock();
        let at = all.binary_search_by_key(&id, |object| object.id).ok()?;
        all.get(at).cloned()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.lock().len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hugetlb pages of this size that the pool has promised to objects.
    pub(crate) fn promised(&self, size: HugeSize) -> u64 {
        let mut promised = 0;
        let Ok(()) = self.try_for_each::<Infallible>(|object| {
            if object.huge == Some(size) {
                promised += object.contents.lock().promised.len();
            }
            Ok(())
        });
        promised
    }

    /// Tells `f` every object, lowest number first. No lock is held while `f` runs.
    ///
    /// # Errors
    /// What `f` says first.
    pub fn try_for_each<E>(&self, mut f: impl FnMut(&KArc<Object>) -> Result<(), E>) -> Result<(), E> {
        let mut after = ObjectId::new(0);
        loop {
            let next = {
                let all = self.all.lock();
                all.get(all.partition_point(|object| object.id <= after)).cloned()
            };
            let Some(object) = next else { return Ok(()) };
            f(&object)?;
            after = object.id;
        }
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Objects {
    /// Objects and spaces own each other until the space ends.
    fn drop(&mut self) {
        for object in self.all.get_mut().iter() {
            let spaces = core::mem::replace(&mut *object.mappers.lock(), Vec::new_in(KAlloc));
            drop(spaces);
        }
    }
}
