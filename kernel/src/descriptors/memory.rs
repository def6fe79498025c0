//! Memory without a path: what memfd_create opens. It is resized by ftruncate, used by mmap, and read and written at an
//! offset, which all who have the open file share.
#![forbid(unsafe_code)]

use core::mem;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::sync::{Rank, SpinLock};
use mm::error::OutOfMemory;
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::locks::{SleepLock, TURN};
use mm::shmem::{MOST_BYTES, Object, ObjectUse, ReadFailed, WriteError};

use crate::syscall::{Errno, user};
use crate::the_mm;

/// Bytes that are copied at a time.
const CHUNK: usize = 1024;

/// An open memory file: a share in the object, which lives until the last descriptor and the last mapping are gone.
pub struct MemoryFile {
    object: KArc<Object>,
    /// Taken when the file is closed.
    share: SpinLock<Option<ObjectUse>>,
    /// Where the next `read` or `write` begins; changed by whoever has the turn.
    offset: AtomicU64,
    turn: SleepLock,
}

impl MemoryFile {
    /// An empty one of this name, of pages of 4 KiB or of hugetlb.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(name: &[u8], huge: Option<HugeSize>) -> Result<Self, OutOfMemory> {
        let share = the_mm().new_named_object(name, huge)?;
        let (object, share) = (share.clone(), SpinLock::new(Rank(6), Some(share)));
        Ok(MemoryFile { object, share, offset: AtomicU64::new(0), turn: SleepLock::new(TURN) })
    }
    /// What is mapped.
    pub fn object(&self) -> &KArc<Object> {
        &self.object
    }

    /// `read` at the shared offset, which moves on.
    pub(super) fn read(&self, buffer: u64, count: u64) -> Result<u64, Errno> {
        self.at_offset(|offset| self.read_at(offset, buffer, count))
    }

    /// `write` at the shared offset, which moves on.
    pub(super) fn write(&self, buffer: u64, count: u64) -> Result<u64, Errno> {
        self.at_offset(|offset| self.write_at(offset, buffer, count))
    }

    /// The shared offset becomes what `to` makes of it and of the size.
    pub(super) fn seek(&self, to: impl FnOnce(u64, Option<u64>) -> Option<u64>) -> Result<u64, Errno> {
        let _turn = self.turn.write(the_mm().env);
        let new = to(self.offset.load(Ordering::Relaxed), Some(self.object.bytes())).ok_or(Errno::INVAL)?;
        self.offset.store(new, Ordering::Relaxed);
        Ok(new)
    }

    fn at_offset(&self, copy: impl FnOnce(u64) -> Result<u64, Errno>) -> Result<u64, Errno> {
        let _turn = self.turn.write(the_mm().env);
        let offset = self.offset.load(Ordering::Relaxed);
        let done = copy(offset)?;
        self.offset.store(offset + done, Ordering::Relaxed);
        Ok(done)
    }

    /// `pread64`: up to the object's end.
    pub(super) fn read_at(&self, offset: u64, buffer: u64, count: u64) -> Result<u64, Errno> {
        has_offsets(offset, count)?;
        in_chunks(count, |done, part| {
            let read = the_mm().read_object(&self.object, offset.saturating_add(done), part);
            let read = read.map_err(|ReadFailed| Errno::IO)?;
            user::write(buffer + done, &part[..read])?;
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, buffer: u64, count: u64) -> Result<u64, Errno> {
        has_offsets(offset, count)?;
        in_chunks(count, |done, part| {
            user::read(buffer + done, part)?;
            let written = the_mm().write_object(&self.object, offset.saturating_add(done), part);
            written.map_err(|error| match error {
                WriteError::TooFar => Errno::FBIG,
                WriteError::OutOfMemory => Errno::NOMEM,
                WriteError::Huge => Errno::INVAL,
            })?;
            Ok(part.len())
        })
    }
}

/// Whether every byte asked for has an offset, and the one behind them has one (EINVAL; Linux: `rw_verify_area`).
fn has_offsets(offset: u64, count: u64) -> Result<(), Errno> {
    offset.checked_add(count).filter(|&end| end <= MOST_BYTES).map(|_| ()).ok_or(Errno::INVAL)
}

/// Copies `count` bytes by `step`, which is given what is done already and a chunk, and returns how much of the chunk
/// it did: less at the end. An error counts only where nothing was done.
fn in_chunks(count: u64, mut step: impl FnMut(u64, &mut [u8]) -> Result<usize, Errno>) -> Result<u64, Errno> {
    let (mut chunk, mut done) = ([0; CHUNK], 0);
    while done < count {
        let part = &mut chunk[..(count - done).min(CHUNK as u64) as usize];
        let asked = part.len();
        match step(done, part) {
            Ok(copied) => {
                done += copied as u64;
                if copied < asked {
                    break;
                }
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if let Some(share) = mem::take(self.share.get_mut()) {
            the_mm().close_object(share);
        }
    }
}
