//! A reference-counted box whose making can fail.

use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use allocator_api2::boxed::Box;

use super::fallible::KAlloc;
use crate::error::OutOfMemory;

/// More owners than this, and the count is about to wrap.
const MOST_OWNERS: usize = isize::MAX as usize;

struct Shared<T> {
    owners: AtomicUsize,
    value: T,
}

/// Shared ownership of a `T`: the last owner to go drops it. As `alloc::sync::Arc` without weak owners, but
/// [`Self::try_new`] reports that memory is out.
pub struct KArc<T> {
    shared: NonNull<Shared<T>>,
    owns: PhantomData<Shared<T>>,
}

// SAFETY: owners on several threads share `&T` (so `T: Sync`), and any of them may drop the `T` (so `T: Send`).
unsafe impl<T: Send + Sync> Send for KArc<T> {}
// SAFETY: as above, since `&KArc<T>` can be cloned.
unsafe impl<T: Send + Sync> Sync for KArc<T> {}

impl<T> KArc<T> {
    /// A first owner of `value`.
    ///
    /// # Errors
    /// [`OutOfMemory`]; `value` is dropped.
    pub fn try_new(value: T) -> Result<Self, OutOfMemory> {
        Self::try_new_with(|| Ok(value))
    }

    /// A first owner of what `make` gives. Where `make` is called, nothing else can fail.
    ///
    /// # Errors
    /// [`OutOfMemory`]: no memory for the value, or `make` said so.
    pub fn try_new_with(make: impl FnOnce() -> Result<T, OutOfMemory>) -> Result<Self, OutOfMemory> {
        let memory = Box::try_new_uninit_in(KAlloc).map_err(|_| OutOfMemory)?;
        let shared = Box::write(memory, Shared { owners: AtomicUsize::new(1), value: make()? });
        Ok(KArc { shared: NonNull::from(Box::leak(shared)), owns: PhantomData })
    }

    /// Whether two owners own the same object.
    #[must_use]
    pub fn ptr_eq(a: &Self, b: &Self) -> bool {
        a.shared == b.shared
    }

    /// Owners at this moment. Others may come and go meanwhile.
    #[must_use]
    pub fn owners(this: &Self) -> usize {
        this.shared().owners.load(Ordering::Relaxed)
    }

    fn shared(&self) -> &Shared<T> {
        // SAFETY: 1. aligned and initialised: it came from a box; 2. alive: this owner is counted, and the
        // box is freed by the last; 3. nobody has `&mut` while an owner lives.
        unsafe { self.shared.as_ref() }
    }
}

impl<T> Clone for KArc<T> {
    /// # Panics
    /// There are more than `isize::MAX` owners.
    fn clone(&self) -> Self {
        let owners = self.shared().owners.fetch_add(1, Ordering::Relaxed);
        assert!(owners <= MOST_OWNERS, "too many owners of one object");
        KArc { shared: self.shared, owns: PhantomData }
    }
}

impl<T> Deref for KArc<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.shared().value
    }
}

impl<T> Drop for KArc<T> {
    fn drop(&mut self) {
        if self.shared().owners.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // Everything that other owners did with the object happens before it is dropped.
        fence(Ordering::Acquire);
        // SAFETY: 1. the pointer came from `Box::leak` of a box of this allocator; 2. it becomes a box once
        // only: the count reached 0, so no other owner is left, and none can come.
        drop(unsafe { Box::from_raw_in(self.shared.as_ptr(), KAlloc) });
    }
}

impl<T: fmt::Debug> fmt::Debug for KArc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
