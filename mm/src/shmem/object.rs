//! One object: what it holds, how long it lives.
//!
//! An object is in use as long as somebody has an [`ObjectUse`]: a space that maps it has one for all its VMAs, an open
//! descriptor has one. The last one to be closed takes the object out of [`super::Objects`] and gives its pages back.
#![forbid(unsafe_code)]

use core::fmt;
use core::ops::Deref;
use core::sync::atomic::{AtomicU64, Ordering};

use allocator_api2::vec::Vec;
use arch::addr::PAGE_SIZE;
use arch::sync::SpinLock;

use super::tree::PageTree;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::hugetlb::{self, HugeSize, Promises};
use crate::kalloc::{KAlloc, KArc};
use crate::locks::{self, SleepLock};
use crate::page::{FolioRef, PageRef};
use crate::space::AddressSpace;
use crate::stats::Counter;

/// In `mapping` of a struct page: what follows is the number of an object, not of an address space.
const OBJECT_TAG: u64 = 1 << 63;

/// Most bytes of an object (Linux: `MAX_LFS_FILESIZE`).
pub const MOST_BYTES: u64 = i64::MAX as u64;

/// The number of an object, never reused and never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ObjectId(u64);

impl ObjectId {
    pub(crate) const fn new(n: u64) -> Self {
        ObjectId(n)
    }
    /// The number.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }
    /// What stands in `mapping` of the object's pages.
    #[must_use]
    pub const fn mapping(self) -> u64 {
        OBJECT_TAG | self.0
    }
    /// The object whose page has this `mapping`. `None`: it is an address space's, or nobody's.
    #[must_use]
    pub const fn of_mapping(mapping: u64) -> Option<Self> {
        if mapping & OBJECT_TAG == 0 { None } else { Some(ObjectId(mapping & !OBJECT_TAG)) }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an object holds.
pub(super) struct Contents {
    /// Its pages, by their number in units of the object's page size; every page below the size that is not there is a
    /// page of zeros.
    pub(super) pages: PageTree,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// Of hugetlb: which pages that are not there the pool has promised.
    pub(super) promised: Promises,
    /// Bytes of a page.
    unit: u64,
}

impl Contents {
    /// The lowest number of a page that lies wholly beyond the end.
    pub(super) const fn end(&self) -> u64 {
        self.bytes.div_ceil(self.unit)
    }
    /// How many pages are there and promised.
    pub(super) fn promised_twice(&self) -> u64 {
        let mut twice = 0;
        self.pages.for_each(|number, _| twice += u64::from(self.promised.has(number)));
        twice
    }
}

/// Memory that any number of address spaces may map.
pub struct Object {
    /// Its number; stands in `mapping` of its pages, by [`ObjectId::mapping`].
    pub id: ObjectId,
    /// Of which hugetlb pages it is made; `None`: of pages of 4 KiB.
    pub huge: Option<HugeSize>,
    /// How many [`ObjectUse`]s there are.
    users: AtomicU64,
    /// What memfd_create was told, if it made it.
    name: Option<Vec<u8, KAlloc>>,
    /// Taken by whoever shrinks it or takes pages out of it, for all of that.
    pub(super) resize: SleepLock,
    /// O: its pages and its size. Held while an entry for one of its pages is made.
    pub(super) contents: SpinLock<Contents>,
    /// I: the spaces that have VMAs of it, by their numbers.
    pub(super) mappers: SpinLock<Vec<KArc<AddressSpace>, KAlloc>>,
}

/// A share in an object that keeps it, with its pages. Closed by [`Mm::close_object`].
#[must_use = "an object that is not closed keeps its memory"]
pub struct ObjectUse(pub(super) KArc<Object>);

impl Deref for ObjectUse {
    type Target = KArc<Object>;
    fn deref(&self) -> &KArc<Object> {
        &self.0
    }
}

impl Object {
    /// Its name, where memfd_create made it.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        self.name.as_deref()
    }
    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.contents.lock().bytes
    }
    /// Bytes of a page.
    #[must_use]
    pub const fn unit(&self) -> u64 {
        match self.huge {
            Some(size) => size.bytes(),
            None => PAGE_SIZE,
        }
    }
    /// Pages of its size that it holds: those that were touched.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.contents.lock().pages.len()
    }
    /// How many address spaces have VMAs of it.
    #[must_use]
    pub fn spaces(&self) -> usize {
        self.mappers.lock().len()
    }
    /// The page, or the head of the hugetlb page, that has this index (4 KiB units), without a reference: it stays
    /// while the caller holds a lock that keeps it.
    #[must_use]
    pub fn page(&self, index: u64) -> Option<PageRef> {
        self.contents.lock().pages.get(self.number_of(index))
    }
    /// The number of the page that has this index (4 KiB units).
    pub(crate) const fn number_of(&self, index: u64) -> u64 {
        index / (self.unit() / PAGE_SIZE)
    }
    /// Forgets the size, or a space that maps it: damage, for tests of the check.
    #[cfg(test)]
    pub(crate) fn damage(&self, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => self.contents.lock().bytes = bytes,
            None => drop(self.mappers.lock().pop()),
        }
    }

    /// Adds a range to what the pool has promised: damage, for tests of the check.
    #[cfg(test)]
    pub(crate) fn damage_promises(&self, range: core::ops::Range<u64>) {
        self.contents.lock().promised.damage(range);
    }

    /// One more share, for somebody who knows that the object lives: he has a share, or holds a lock of one who has.
    pub(super) fn share(this: &KArc<Object>) -> ObjectUse {
        let users = this.users.fetch_add(1, Ordering::Relaxed);
        debug_assert!(users != 0, "object {} is shared after its end", this.id);
        ObjectUse(this.clone())
    }
}

impl ObjectUse {
    /// One more share, for a second descriptor.
    pub fn share(&self) -> ObjectUse {
        Object::share(&self.0)
    }
}

impl Mm {
    /// A new object of `bytes` bytes, all zeros, of which nothing is backed yet.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new_object(&self, bytes: u64) -> Result<ObjectUse, OutOfMemory> {
        self.make_object(bytes, None, None)
    }

    /// As [`Self::new_object`], of hugetlb pages; `bytes` is a multiple of one.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new_huge_object(&self, size: HugeSize, bytes: u64) -> Result<ObjectUse, OutOfMemory> {
        debug_assert!(bytes.is_multiple_of(size.bytes()));
        self.make_object(bytes, None, Some(size))
    }

    /// An empty object with a name, which maps shows, of pages of 4 KiB or of hugetlb.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new_named_object(&self, name: &[u8], huge: Option<HugeSize>) -> Result<ObjectUse, OutOfMemory> {
        let mut owned = Vec::new_in(KAlloc);
        owned.try_reserve_exact(name.len()).map_err(|_| OutOfMemory)?;
        owned.extend_from_slice(name);
        self.make_object(0, Some(owned), huge)
    }

    fn make_object(
        &self,
        bytes: u64,
        name: Option<Vec<u8, KAlloc>>,
        huge: Option<HugeSize>,
    ) -> Result<ObjectUse, OutOfMemory> {
        let unit = huge.map_or(PAGE_SIZE, HugeSize::bytes);
        let contents = Contents { pages: PageTree::new(), bytes, promised: Promises::new(), unit };
        let object = KArc::try_new(Object {
            id: self.objects.next_id(),
            huge,
            users: AtomicU64::new(1),
            name,
            resize: SleepLock::new(locks::OBJECT_RESIZE),
            contents: SpinLock::new(locks::OBJECT, contents),
            mappers: SpinLock::new(locks::OBJECT_SPACES, Vec::new_in(KAlloc)),
        })?;
        self.objects.insert(&object)?;
        Ok(ObjectUse(object))
    }

    /// Gives a share up. With the last one the object ends: nothing maps it any more, and its pages go back, but for
    /// those that are pinned, which stay until they are not. May sleep.
    pub fn close_object(&self, object: ObjectUse) {
        let ObjectUse(object) = object;
        if object.users.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        self.objects.remove(object.id);
        while let Some(page) = self.take_page(&object, 0, u64::MAX) {
            self.put_folio(page);
        }
        if let Some(size) = object.huge {
            let promised = object.contents.lock().promised.take(0..u64::MAX);
            hugetlb::unreserve(self, size, promised);
            self.hugetlb.trim(self, size);
        }
    }

    /// Takes the first page with a number in `[from, end)` out of the object: it is nobody's from now on.
    pub(super) fn take_page(&self, object: &Object, from: u64, end: u64) -> Option<FolioRef> {
        let (_, page) = object.contents.lock().pages.take_first(from, end)?;
        page.set_mapping(0, 0);
        if object.huge.is_none() {
            self.stats.sub(Counter::NrShmem, 1);
        }
        Some(page)
    }
}
