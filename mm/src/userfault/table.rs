//! The contexts of one address space, by the number that their VMAs have of them.
#![forbid(unsafe_code)]

use core::num::NonZeroU16;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use allocator_api2::vec::Vec;
use arch::VirtAddr;
use arch::sync::SpinLock;

use super::context::{Serves, Userfault};
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::{KAlloc, KArc};
use crate::locks;
use crate::space::AddressSpace;

/// The number of a context in its space; another context may have it when this one has been closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserfaultId(NonZeroU16);

impl UserfaultId {
    pub(super) const fn raw(self) -> u16 {
        self.0.get()
    }
    pub(super) const fn from_raw(raw: u16) -> Option<Self> {
        match NonZeroU16::new(raw) {
            Some(id) => Some(UserfaultId(id)),
            None => None,
        }
    }
    fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

/// The contexts of a space.
pub struct SpaceUserfaults {
    all: SpinLock<Vec<Option<KArc<Userfault>>, KAlloc>>,
    /// How many there are; read without the lock.
    many: AtomicUsize,
    /// The number of the next fault: no two faults of a space have the same.
    next: AtomicU64,
}

impl SpaceUserfaults {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        SpaceUserfaults {
            all: SpinLock::new(locks::USERFAULTS, Vec::new_in(KAlloc)),
            many: AtomicUsize::new(0),
            next: AtomicU64::new(0),
        }
    }

    /// The context that a VMA names. Stays so while the caller holds M.
    pub(crate) fn find(&self, id: UserfaultId) -> Option<KArc<Userfault>> {
        self.all.lock().get(id.index()).cloned().flatten()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.many.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a fault, of 48 bits; it comes again when nobody has the last fault with it in mind any more.
    pub(super) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) & (u64::MAX >> 16)
    }

    /// A new context, in the first place that is free.
    fn make(&self, space: &KArc<AddressSpace>, serves: Serves) -> Result<KArc<Userfault>, OutOfMemory> {
        let mut all = self.all.lock();
        let at = all.iter().position(Option::is_none).unwrap_or(all.len());
        let id = u16::try_from(at + 1).ok().and_then(UserfaultId::from_raw).ok_or(OutOfMemory)?;
        all.try_reserve(1).map_err(|_| OutOfMemory)?;
        let context = KArc::try_new(Userfault::new(space, id, serves))?;
        match all.get_mut(at) {
            Some(place) => *place = Some(context.clone()),
            None => all.push(Some(context.clone())),
        }
        self.many.fetch_add(1, Ordering::Relaxed);
        Ok(context)
    }

    /// Takes a context out, if it is there.
    pub(super) fn remove(&self, context: &Userfault) -> Option<KArc<Userfault>> {
        let mut all = self.all.lock();
        let place = all.get_mut(context.id.index())?;
        let taken = place.take_if(|found| core::ptr::eq(&raw const **found, context));
        if taken.is_some() {
            self.many.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes any context out.
    fn take_one(&self) -> Option<KArc<Userfault>> {
        let taken = self.all.lock().iter_mut().find_map(Option::take);
        if taken.is_some() {
            self.many.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// What was mapped at these addresses is not any more, or not registered: the faults there are tried again. M is
    /// held for writing. Where the space has no contexts this is one load.
    #[inline]
    pub(crate) fn wake(&self, mm: &Mm, range: Range<VirtAddr>) {
        if !self.is_empty() {
            self.wake_all(mm, &range);
        }
    }

    #[cold]
    fn wake_all(&self, mm: &Mm, range: &Range<VirtAddr>) {
        let mut at = 0;
        loop {
            let context = match self.all.lock().get(at) {
                Some(context) => context.clone(),
                None => return,
            };
            if let Some(context) = context {
                context.wake(mm, range);
            }
            at += 1;
        }
    }

    /// The space ends: it has no VMAs any more, and M is held for writing. The contexts stay with who has them.
    pub(crate) fn end(&self, mm: &Mm) {
        while let Some(context) = self.take_one() {
            context.end(mm);
        }
        drop(core::mem::replace(&mut *self.all.lock(), Vec::new_in(KAlloc)));
    }
}

impl Default for SpaceUserfaults {
    fn default() -> Self {
        Self::new()
    }
}

impl Mm {
    /// A context for the space, with which nothing is registered. The caller closes it by [`Self::close_userfault`].
    ///
    /// # Errors
    /// [`OutOfMemory`]: no memory, or 65535 contexts.
    pub fn new_userfault(
        &self,
        space: &KArc<AddressSpace>,
        serves: Serves,
    ) -> Result<KArc<Userfault>, OutOfMemory> {
        space.userfaults.make(space, serves)
    }
}
