//! What a descriptor leads to.
//!
//! Bytes go through a small buffer on the kernel stack: what produces or takes them may hold locks, and a copy from or
//! to user memory may fault and sleep.
#![forbid(unsafe_code)]

use arch::sync::{Rank, SpinLock};
use mm::locks::{SleepLock, TURN};

use super::MemoryFile;
use super::dma::DmaFile;
use super::mappable::MappableFile;
use super::pipe::{ReadEnd, WriteEnd};
use super::userfault::UserfaultFile;
use crate::files::{Opened, Position};
use crate::process::Process;
use crate::syscall::{Errno, user};
use crate::{the_mm, uart};

/// Bytes that are copied at a time.
const CHUNK: usize = 1024;

/// Whether a call that would have to wait does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocking {
    /// It waits.
    Waits,
    /// It returns EAGAIN (O_NONBLOCK).
    Refuses,
}

/// What a file of the kernel is open for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenFor {
    /// O_RDONLY.
    Reading,
    /// O_WRONLY.
    Writing,
    /// O_RDWR.
    Both,
}

/// An open file.
pub enum OpenFile {
    /// The console, for reading and writing.
    Console,
    /// A file of the kernel.
    File(Opened, OpenFor, Offset),
    /// The end of a pipe that is read.
    Read(ReadEnd),
    /// The end of a pipe that is written.
    Write(WriteEnd),
    /// Memory, to be mapped.
    Memory(MemoryFile),
    /// The device that uses its user's memory.
    Dma(DmaFile),
    /// The device that is mapped.
    Mappable(MappableFile),
    /// Whoever has it serves faults.
    Userfault(UserfaultFile),
}

/// Where the next `read` begins. One reader at a time uses it.
pub struct Offset {
    turn: SleepLock,
    at: SpinLock<Position>,
}

impl Offset {
    fn start() -> Self {
        Offset { turn: SleepLock::new(TURN), at: SpinLock::new(Rank(6), Position::START) }
    }
}

impl OpenFile {
    /// A file of the kernel, at its beginning.
    pub fn of(opened: Opened, purpose: OpenFor) -> Self {
        OpenFile::File(opened, purpose, Offset::start())
    }

    /// `read`: up to `count` bytes to `buffer` of the process, which runs this.
    ///
    /// # Errors
    /// EBADF for what cannot be read, EFAULT, EAGAIN, EINTR where the process is to end.
    pub fn read(&self, process: &Process, buffer: u64, count: u64) -> Result<u64, Errno> {
        match self {
            OpenFile::Console => read_console(process, buffer, count),
            OpenFile::File(_, OpenFor::Writing, _) | OpenFile::Write(_) => Err(Errno::BADF),
            OpenFile::File(opened, _, offset) => {
                let _turn = offset.turn.write(the_mm().env);
                let mut at = *offset.at.lock();
                let done = read_file(opened, &mut at, buffer, count);
                *offset.at.lock() = at;
                done
            }
            OpenFile::Read(end) => end.read(process, buffer, count),
            OpenFile::Memory(memory) => memory.read(buffer, count),
            OpenFile::Mappable(_) => Err(Errno::INVAL),
            OpenFile::Dma(file) => file.read(buffer, count),
            OpenFile::Userfault(file) => file.read(buffer, count),
        }
    }

    /// Whether it is open for reading.
    pub fn is_readable(&self) -> bool {
        !matches!(self, OpenFile::Write(_) | OpenFile::File(_, OpenFor::Writing, _))
    }
    /// Whether it is open for writing.
    pub fn is_writable(&self) -> bool {
        !matches!(self, OpenFile::File(_, OpenFor::Reading, _) | OpenFile::Read(_) | OpenFile::Userfault(_))
    }

    /// `pread64`: as [`Self::read`], from this offset on.
    ///
    /// # Errors
    /// ESPIPE for what has no offset, EBADF for what cannot be read, EFAULT.
    pub fn read_at(&self, offset: u64, buffer: u64, count: u64) -> Result<u64, Errno> {
        match self {
            OpenFile::File(_, OpenFor::Writing, _) => Err(Errno::BADF),
            OpenFile::File(opened, ..) => {
                let mut at = Position::START;
                at.seek(offset);
                read_file(opened, &mut at, buffer, count)
            }
            OpenFile::Memory(memory) => memory.read_at(offset, buffer, count),
            OpenFile::Mappable(file) => file.read_at(offset, buffer, count),
            _ => Err(Errno::SPIPE),
        }
    }

    /// `lseek`: a change of the offset, which `to` computes from the present one and from the end, where there is one.
    ///
    /// # Errors
    /// ESPIPE for what has no offset, EINVAL where it would be negative.
    pub fn seek(&self, to: impl FnOnce(u64, Option<u64>) -> Option<u64>) -> Result<u64, Errno> {
        let offset = match self {
            OpenFile::File(_, _, offset) => offset,
            OpenFile::Memory(memory) => return memory.seek(to),
            _ => return Err(Errno::SPIPE),
        };
        let _turn = offset.turn.write(the_mm().env);
        let mut at = offset.at.lock();
        let new = to(at.offset(), None).ok_or(Errno::INVAL)?;
        at.seek(new);
        Ok(new)
    }

    /// `write`: up to `count` bytes from `buffer` of the process, which runs this.
    ///
    /// # Errors
    /// EBADF for what cannot be written, EINVAL for a value that a file of the kernel refuses, EFAULT, EAGAIN, EPIPE,
    /// EINTR where the process is to end.
    pub fn write(&self, process: &Process, buffer: u64, count: u64) -> Result<u64, Errno> {
        match self {
            OpenFile::Console => write_console(process, buffer, count),
            OpenFile::Write(end) => end.write(process, buffer, count),
            OpenFile::Memory(memory) => memory.write(buffer, count),
            OpenFile::Mappable(_) => Err(Errno::INVAL),
            OpenFile::Dma(file) => file.write(process, buffer, count),
            OpenFile::File(_, OpenFor::Reading, _) | OpenFile::Read(_) | OpenFile::Userfault(_) => {
                Err(Errno::BADF)
            }
            OpenFile::File(opened, ..) => write_value(opened, buffer, count),
        }
    }
}

/// A value is written in one piece, wherever the offset is, as to Linux's sysfs; no value is longer than the chunk.
fn write_value(opened: &Opened, buffer: u64, count: u64) -> Result<u64, Errno> {
    let mut chunk = [0; CHUNK];
    let value = chunk.get_mut(..count as usize).ok_or(Errno::INVAL)?;
    user::read(buffer, value)?;
    if value.is_empty() {
        return Ok(0);
    }
    let value = core::str::from_utf8(value).map_err(|_| Errno::INVAL)?;
    opened.write(the_mm(), value)?;
    Ok(count)
}

fn read_file(opened: &Opened, at: &mut Position, buffer: u64, count: u64) -> Result<u64, Errno> {
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < count {
        let part = &mut chunk[..(count - done).min(CHUNK as u64) as usize];
        let mut next = *at;
        let step = opened
            .read(the_mm(), &mut next, part)
            .map_err(Errno::from)
            .and_then(|filled| user::write(buffer + done, &part[..filled]).map(|()| filled));
        match step {
            Ok(0) => break,
            Ok(filled) => {
                *at = next;
                done += filled as u64;
            }
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Up to the end of a line, as a terminal gives it.
fn read_console(process: &Process, buffer: u64, count: u64) -> Result<u64, Errno> {
    let mut done = 0;
    while done < count {
        let byte = match uart::try_read_byte() {
            Some(b'\r') => b'\n',
            Some(byte) => byte,
            None => {
                process.park(uart::key(), &|| uart::is_empty())?;
                continue;
            }
        };
        user::write(buffer + done, &[byte])?;
        done += 1;
        if byte == b'\n' {
            break;
        }
    }
    Ok(done)
}

/// When a chunk of the buffer cannot be read, the chunks before it are written and counted; -EFAULT where there are
/// none.
fn write_console(process: &Process, buffer: u64, count: u64) -> Result<u64, Errno> {
    // As Linux's terminals do.
    const CHUNK: usize = 2048;
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < count {
        let part = &mut chunk[..(count - done).min(CHUNK as u64) as usize];
        match user::read(buffer + done, part) {
            Ok(()) => process.output(part),
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        done += part.len() as u64;
    }
    Ok(done)
}
