//! Memory without a name: what memfd_create opens. It is resized by ftruncate and used by mmap; it has no bytes for `read`
//! and `write` here.
#![forbid(unsafe_code)]

use core::mem;

use arch::sync::{Rank, SpinLock};
use mm::error::OutOfMemory;
use mm::kalloc::KArc;
use mm::shmem::{Object, ObjectUse};

use crate::the_mm;

/// An open memory file: a share in the object, which lives until the last descriptor and the last mapping are gone.
pub struct MemoryFile {
    object: KArc<Object>,
    /// Taken when the file is closed.
    share: SpinLock<Option<ObjectUse>>,
}

impl MemoryFile {
    /// An empty one.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new() -> Result<Self, OutOfMemory> {
        let share = the_mm().new_object(0)?;
        Ok(MemoryFile { object: share.clone(), share: SpinLock::new(Rank(6), Some(share)) })
    }
    /// What is mapped.
    pub fn object(&self) -> &KArc<Object> {
        &self.object
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if let Some(share) = mem::take(self.share.get_mut()) {
            the_mm().close_object(share);
        }
    }
}
