//! The descriptors of a process.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::sync::{Rank, SpinLock};
use mm::error::OutOfMemory;
use mm::kalloc::{KAlloc, KArc};

use super::OpenFile;
use crate::syscall::Errno;

/// Descriptors that a process can have, as Linux's usual limit.
const MAX_OPEN: usize = 1024;

type Slots = Vec<Option<KArc<OpenFile>>, KAlloc>;

/// The descriptors of a process; the lock is below all of memory management's.
pub struct Descriptors(SpinLock<Slots>);

impl Descriptors {
    fn of(slots: Slots) -> Self {
        Descriptors(SpinLock::new(Rank(5), slots))
    }

    /// 0, 1 and 2 lead to the console.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn console() -> Result<Self, OutOfMemory> {
        let mut slots = Vec::new_in(KAlloc);
        slots.try_reserve(3).map_err(|_| OutOfMemory)?;
        let console = KArc::try_new(OpenFile::Console)?;
        slots.extend([Some(console.clone()), Some(console.clone()), Some(console)]);
        Ok(Self::of(slots))
    }

    /// The same descriptors, for a fork's child.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn copy(&self) -> Result<Self, OutOfMemory> {
        let mut copy = Vec::new_in(KAlloc);
        let slots = self.0.lock();
        copy.try_reserve(slots.len()).map_err(|_| OutOfMemory)?;
        copy.extend(slots.iter().cloned());
        Ok(Self::of(copy))
    }

    /// The file that a descriptor leads to.
    ///
    /// # Errors
    /// EBADF.
    pub fn get(&self, fd: u64) -> Result<KArc<OpenFile>, Errno> {
        let slots = self.0.lock();
        // Linux looks at the low 32 bits, as the type of the argument says.
        slots.get(fd as u32 as usize).and_then(Option::clone).ok_or(Errno::BADF)
    }

    /// The lowest free descriptor leads to the file from now on.
    ///
    /// # Errors
    /// EMFILE, ENOMEM; the file is closed, where nobody else has it.
    pub fn add(&self, file: KArc<OpenFile>) -> Result<u64, Errno> {
        let mut slots = self.0.lock();
        let fd = match slots.iter().position(Option::is_none) {
            Some(free) => free,
            None if slots.len() == MAX_OPEN => return Err(Errno::MFILE),
            None => {
                slots.try_reserve(1).map_err(|_| Errno::NOMEM)?;
                slots.push(None);
                slots.len() - 1
            }
        };
        slots[fd] = Some(file);
        Ok(fd as u64)
    }

    /// Frees a descriptor.
    ///
    /// # Errors
    /// EBADF.
    pub fn close(&self, fd: u64) -> Result<(), Errno> {
        let file = self.0.lock().get_mut(fd as u32 as usize).and_then(Option::take);
        // Closing wakes others, so the file goes without the lock.
        file.map(drop).ok_or(Errno::BADF)
    }

    /// Frees all descriptors.
    pub fn close_all(&self) {
        let slots = core::mem::replace(&mut *self.0.lock(), Vec::new_in(KAlloc));
        drop(slots);
    }
}
