//! Pipes: a page of bytes between two ends.
//!
//! A reader waits for the first byte, or for the end of the last writer, which is the end of the file. A writer waits
//! for room; up to [`ATOMIC`] bytes are written together or not at all. Readers take turns, and so do writers, with a
//! sleeping lock, because bytes leave the pipe only once they have reached user memory. A write without a reader is
//! EPIPE, and SIGPIPE, which nobody can ignore here, ends the process.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use allocator_api2::boxed::Box;
use arch::sync::{Rank, SpinLock};
use mm::error::OutOfMemory;
use mm::kalloc::{KAlloc, KArc};
use mm::locks::{SleepLock, TURN};

use super::{Blocking, OpenFile};
use crate::process::{Process, Signal};
use crate::syscall::{Errno, user};
use crate::{sched, the_mm};

/// Bytes in a pipe at most; Linux has 65536, and this much for users with many pipes.
const CAPACITY: usize = 4096;
/// Bytes that are written together (PIPE_BUF).
const ATOMIC: u64 = 4096;
/// Bytes that are copied at a time.
const CHUNK: usize = 512;

struct Ring {
    bytes: Box<[u8; CAPACITY], KAlloc>,
    first: usize,
    len: usize,
}

impl Ring {
    /// Copies the first bytes without taking them.
    fn peek(&self, into: &mut [u8]) -> usize {
        let many = into.len().min(self.len);
        let at = |n: usize| self.bytes[(self.first + n) % CAPACITY];
        into[..many].iter_mut().enumerate().for_each(|(n, byte)| *byte = at(n));
        many
    }
    fn take(&mut self, many: usize) {
        self.first = (self.first + many) % CAPACITY;
        self.len -= many;
    }
    /// Adds bytes, for which there is room.
    fn put(&mut self, bytes: &[u8]) {
        let end = self.first + self.len;
        bytes.iter().enumerate().for_each(|(n, &byte)| self.bytes[(end + n) % CAPACITY] = byte);
        self.len += bytes.len();
    }
}

struct Pipe {
    ring: SpinLock<Ring>,
    /// Bytes in the ring; read without its lock by who decides whether to wait.
    len: AtomicUsize,
    readers_turn: SleepLock,
    writers_turn: SleepLock,
    /// Open files of each side.
    readers: AtomicU32,
    writers: AtomicU32,
}

impl Pipe {
    /// What readers and writers wait on.
    fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
    fn changed(&self, ring: &Ring) {
        self.len.store(ring.len, Ordering::SeqCst);
    }
    fn is_empty(&self) -> bool {
        self.len.load(Ordering::SeqCst) == 0
    }
    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::SeqCst) != 0
    }
    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::SeqCst) != 0
    }
    fn room(&self) -> u64 {
        (CAPACITY - self.len.load(Ordering::SeqCst)) as u64
    }
}

/// The end that is read.
pub struct ReadEnd {
    pipe: KArc<Pipe>,
    blocking: Blocking,
}

/// The end that is written.
pub struct WriteEnd {
    pipe: KArc<Pipe>,
    blocking: Blocking,
}

/// Both ends of a new pipe: the one to read, the one to write.
///
/// # Errors
/// [`OutOfMemory`].
pub fn pipe(blocking: Blocking) -> Result<(KArc<OpenFile>, KArc<OpenFile>), OutOfMemory> {
    let bytes = Box::try_new_in([0; CAPACITY], KAlloc).map_err(|_| OutOfMemory)?;
    let pipe = KArc::try_new(Pipe {
        ring: SpinLock::new(Rank(7), Ring { bytes, first: 0, len: 0 }),
        len: AtomicUsize::new(0),
        readers_turn: SleepLock::new(TURN),
        writers_turn: SleepLock::new(TURN),
        readers: AtomicU32::new(1),
        writers: AtomicU32::new(1),
    })?;
    let write = WriteEnd { pipe: pipe.clone(), blocking };
    let read = KArc::try_new(OpenFile::Read(ReadEnd { pipe, blocking }))?;
    Ok((read, KArc::try_new(OpenFile::Write(write))?))
}

impl Drop for ReadEnd {
    fn drop(&mut self) {
        self.pipe.readers.fetch_sub(1, Ordering::SeqCst);
        sched::unpark_all(self.pipe.key());
    }
}

impl Drop for WriteEnd {
    fn drop(&mut self) {
        self.pipe.writers.fetch_sub(1, Ordering::SeqCst);
        sched::unpark_all(self.pipe.key());
    }
}

impl ReadEnd {
    /// Up to `count` bytes; 0 at the end.
    pub(super) fn read(&self, process: &Process, buffer: u64, count: u64) -> Result<u64, Errno> {
        let pipe = &self.pipe;
        loop {
            if count == 0 {
                return Ok(0);
            }
            {
                let _turn = pipe.readers_turn.write(the_mm().env);
                // Asked before the bytes: a last writer's last bytes are in the pipe before it goes.
                let ended = !pipe.has_writers();
                let done = self.take(buffer, count)?;
                if done != 0 || ended {
                    return Ok(done);
                }
            }
            if self.blocking == Blocking::Refuses {
                return Err(Errno::AGAIN);
            }
            process.park(pipe.key(), &|| pipe.is_empty() && pipe.has_writers())?;
        }
    }

    fn take(&self, buffer: u64, count: u64) -> Result<u64, Errno> {
        let pipe = &self.pipe;
        let mut chunk = [0; CHUNK];
        let mut done = 0;
        while done < count {
            let part = &mut chunk[..(count - done).min(CHUNK as u64) as usize];
            let many = pipe.ring.lock().peek(part);
            if many == 0 {
                break;
            }
            match user::write(buffer + done, &part[..many]) {
                Ok(()) => {}
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
            {
                let mut ring = pipe.ring.lock();
                ring.take(many);
                pipe.changed(&ring);
            }
            done += many as u64;
            sched::unpark_all(pipe.key());
        }
        Ok(done)
    }
}

impl WriteEnd {
    /// All of `count` bytes, or as many as there is room for where it does not wait.
    pub(super) fn write(&self, process: &Process, buffer: u64, count: u64) -> Result<u64, Errno> {
        let pipe = &self.pipe;
        let mut done = 0;
        while done < count {
            let wanted = if count <= ATOMIC { count } else { 1 };
            let step = {
                let _turn = pipe.writers_turn.write(the_mm().env);
                if !pipe.has_readers() {
                    process.kill(Signal::Pipe);
                    return if done == 0 { Err(Errno::PIPE) } else { Ok(done) };
                }
                if pipe.room() >= wanted { self.put(buffer + done, count - done) } else { Ok(0) }
            };
            match step {
                Ok(0) if self.blocking == Blocking::Refuses && done == 0 => return Err(Errno::AGAIN),
                Ok(0) if self.blocking == Blocking::Refuses => break,
                Ok(0) => {
                    process.park(pipe.key(), &|| pipe.room() < wanted && pipe.has_readers())?;
                }
                Ok(put) => done += put,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// As much as there is room for.
    fn put(&self, buffer: u64, count: u64) -> Result<u64, Errno> {
        let pipe = &self.pipe;
        let mut chunk = [0; CHUNK];
        let mut done = 0;
        while done < count && pipe.room() != 0 {
            let part = &mut chunk[..(count - done).min(pipe.room()).min(CHUNK as u64) as usize];
            match user::read(buffer + done, part) {
                Ok(()) => {}
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
            {
                let mut ring = pipe.ring.lock();
                ring.put(part);
                pipe.changed(&ring);
            }
            done += part.len() as u64;
        }
        sched::unpark_all(pipe.key());
        Ok(done)
    }
}
