//! openat, close, pipe2, lseek, read, pread64, write.
#![forbid(unsafe_code)]

use mm::kalloc::KArc;

use super::{Answer, Errno, user};
use crate::descriptors::dma::{self, DmaFile};
use crate::descriptors::mappable::{self, MappableFile};
use crate::descriptors::{self, Blocking, OpenFile, OpenFor};
use crate::files::{self, FileError};
use crate::process::Process;

/// Most bytes of one read or write (Linux: MAX_RW_COUNT).
const MOST: u64 = 0x7fff_f000;
/// Bytes of a path with its final zero: every path that there is is shorter than this.
const PATH_BYTES: usize = 128;
/// Bytes of a path with its final zero, at most (Linux: PATH_MAX).
const PATH_MAX: u64 = 4096;

const AT_FDCWD: i32 = -100;
const O_ACCMODE: u64 = 0o3;
const O_RDONLY: u64 = 0;
const O_WRONLY: u64 = 1;
const O_RDWR: u64 = 2;
const O_CREAT: u64 = 0o100;
const O_NONBLOCK: u64 = 0o4000;
/// As arm64 has it.
const O_DIRECTORY: u64 = 0o40000;
const O_CLOEXEC: u64 = 0o2_000_000;

const SEEK_SET: u64 = 0;
const SEEK_CUR: u64 = 1;
const SEEK_END: u64 = 2;

/// `openat(dirfd, path, flags)`: a file of [`crate::files`], or a device. A file is opened for writing where it takes
/// values, by any process; else EACCES. The working directory is `/`, so that a relative path needs AT_FDCWD.
pub(super) fn openat(process: &KArc<Process>, dirfd: u64, path: u64, flags: u64) -> Answer {
    let mut buffer = [0; PATH_BYTES];
    // The first byte is for the root that a relative path leaves out.
    let path = path_at(path, &mut buffer[1..]).map(|length| &mut buffer[..=length])?;
    let relative = path.get(1) != Some(&b'/');
    if path.len() == 1 {
        return Err(Errno::NOENT);
    }
    if relative && dirfd as i32 != AT_FDCWD {
        process.descriptors.get(dirfd)?;
        return Err(Errno::NOTDIR);
    }
    path[0] = b'/';
    let path = if relative { &path[..] } else { &path[1..] };
    let path = core::str::from_utf8(path).map_err(|_| Errno::NOENT)?;
    let device = match path {
        dma::PATH => Some(OpenFile::Dma(DmaFile::new())),
        mappable::PATH => Some(OpenFile::Mappable(MappableFile::open().ok_or(Errno::NOENT)?)),
        _ => None,
    };
    if let Some(device) = device {
        if flags & O_DIRECTORY != 0 {
            return Err(Errno::NOTDIR);
        }
        return process.descriptors.add(KArc::try_new(device).map_err(|_| Errno::NOMEM)?);
    }
    let opened = match files::open(path, Some(process)) {
        Ok(_) if flags & O_DIRECTORY != 0 => return Err(Errno::NOTDIR),
        Ok(opened) => opened,
        Err(_) if flags & O_CREAT != 0 => return Err(Errno::ACCES),
        Err(error) => return Err(error.into()),
    };
    let purpose = match flags & O_ACCMODE {
        O_RDONLY => OpenFor::Reading,
        _ if !opened.is_writable() => return Err(Errno::ACCES),
        O_WRONLY => OpenFor::Writing,
        O_RDWR => OpenFor::Both,
        _ => return Err(Errno::INVAL),
    };
    let file = KArc::try_new(OpenFile::of(opened, purpose)).map_err(|_| Errno::NOMEM)?;
    process.descriptors.add(file)
}

/// Copies a path and returns its length without the final zero.
fn path_at(from: u64, into: &mut [u8]) -> Result<usize, Errno> {
    for n in 0..PATH_MAX {
        let mut byte = [0];
        user::read(from.checked_add(n).ok_or(Errno::FAULT)?, &mut byte)?;
        match (byte, into.get_mut(n as usize)) {
            ([0], Some(_)) => return Ok(n as usize),
            ([0], None) => return Err(Errno::NOENT),
            ([byte], Some(place)) => *place = byte,
            (_, None) => {}
        }
    }
    Err(Errno::NAMETOOLONG)
}

impl From<FileError> for Errno {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotFound => Errno::NOENT,
            FileError::NoProcess => Errno::SRCH,
            FileError::ReadOnly => Errno::ACCES,
            FileError::Binary | FileError::Unaligned | FileError::Value(_) => Errno::INVAL,
        }
    }
}

/// `close(fd)`.
pub(super) fn close(process: &Process, fd: u64) -> Answer {
    process.descriptors.close(fd)?;
    Ok(0)
}

/// `pipe2(descriptors, flags)`: the one to read, then the one to write. O_CLOEXEC changes nothing, as there is no exec;
/// other flags than that and O_NONBLOCK are EINVAL.
pub(super) fn pipe2(process: &Process, to: u64, flags: u64) -> Answer {
    let flags = u64::from(flags as u32);
    if flags & !(O_CLOEXEC | O_NONBLOCK) != 0 {
        return Err(Errno::INVAL);
    }
    let blocking = if flags & O_NONBLOCK != 0 { Blocking::Refuses } else { Blocking::Waits };
    let (read, write) = descriptors::pipe(blocking).map_err(|_| Errno::NOMEM)?;
    let read = process.descriptors.add(read)?;
    let both = process.descriptors.add(write).and_then(|write| {
        let mut pair = [0; 8];
        pair[..4].copy_from_slice(&(read as u32).to_le_bytes());
        pair[4..].copy_from_slice(&(write as u32).to_le_bytes());
        user::write(to, &pair).or_else(|errno| process.descriptors.close(write).and(Err(errno)))
    });
    both.or_else(|errno| process.descriptors.close(read).and(Err(errno)))?;
    Ok(0)
}

/// `lseek(fd, offset, whence)`: SEEK_SET and SEEK_CUR, and SEEK_END of memory; other files have no end that could be
/// known (EINVAL).
pub(super) fn lseek(process: &Process, fd: u64, offset: u64, whence: u64) -> Answer {
    let file = process.descriptors.get(fd)?;
    let in_range = |to: u64| (to <= i64::MAX as u64).then_some(to);
    file.seek(|now, end| match u64::from(whence as u32) {
        SEEK_SET => in_range(offset),
        SEEK_CUR => now.checked_add_signed(offset.cast_signed()).and_then(in_range),
        SEEK_END => end?.checked_add_signed(offset.cast_signed()).and_then(in_range),
        _ => None,
    })
}

/// `read(fd, buffer, count)`.
pub(super) fn read(process: &Process, fd: u64, buffer: u64, count: u64) -> Answer {
    let file = process.descriptors.get(fd)?;
    user::in_user_half(buffer, count)?;
    file.read(process, buffer, count.min(MOST))
}

/// `pread64(fd, buffer, count, offset)`.
pub(super) fn pread64(process: &Process, fd: u64, buffer: u64, count: u64, offset: u64) -> Answer {
    if offset.cast_signed() < 0 {
        return Err(Errno::INVAL);
    }
    let file = process.descriptors.get(fd)?;
    user::in_user_half(buffer, count)?;
    file.read_at(offset, buffer, count.min(MOST))
}

/// `write(fd, buffer, count)`.
pub(super) fn write(process: &Process, fd: u64, buffer: u64, count: u64) -> Answer {
    let file = process.descriptors.get(fd)?;
    user::in_user_half(buffer, count)?;
    file.write(process, buffer, count.min(MOST))
}
