//! userfaultfd and ioctl: minor faults of shared hugetlb memory, served by whoever has the descriptor.
//!
//! Numbers, structures, checks and their order are Linux's (`fs/userfaultfd.c`), so that one program runs on both.
//!
//! | request | structure, bytes | what |
//! |---|---|---|
//! | UFFDIO_API, 0xc018aa3f | api, features, ioctls: 24 | chooses features, once, before all else: MINOR_HUGETLBFS, EXACT_ADDRESS; others are EINVAL |
//! | UFFDIO_REGISTER, 0xc020aa00 | start, length, mode, ioctls: 32 | mode MINOR (4) only, of shared hugetlb memory only; else EINVAL |
//! | UFFDIO_UNREGISTER, 0x8010aa01 | start, length: 16 | who waits there goes on |
//! | UFFDIO_WAKE, 0x8010aa02 | start, length: 16 | who waits there tries again |
//! | UFFDIO_CONTINUE, 0xc020aa07 | start, length, mode, mapped: 32 | maps what the object has; mode DONTWAKE (1) |
//! | QUIRE_UFFDIO_SOURCE, 0xc020aa51 | start, length, seed, arrived: 32 | here only: see below |
//!
//! CONTINUE counts in units of 4 KiB where MADV_SPLIT has permitted that, else of hugetlb pages (EINVAL). `mapped` is
//! how many bytes it has mapped, or the negated error; fewer than asked for is EAGAIN.
//!
//! **QUIRE_UFFDIO_SOURCE** starts a thread of the kernel that brings content to a range in one registered VMA, a hugetlb
//! page or more, from its beginning on: `crate::descriptors::source` says what, how, and when it ends. A program that
//! starts one leaves the messages to it. With length 0 it starts nothing. `arrived` becomes how many bytes have come of
//! the source that was started last. Errors: EINVAL for the range, EBUSY while one runs, EFAULT beyond the object's
//! end, ENOMEM.
//!
//! What differs from Linux: private hugetlb memory cannot be registered; whoever reads a descriptor whose space has
//! ended gets ESRCH; a message that could not be written is told again; and munmap and mremap wake who waits there.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::VirtAddr;
use mm::hugetlb::hgm::ContinueError;
use mm::kalloc::KArc;
use mm::userfault::{Serves, Userfault, UserfaultError, Wake};

use super::{Answer, Errno, user};
use crate::descriptors::userfault::{FEATURES, UserfaultFile};
use crate::descriptors::{Blocking, OpenFile};
use crate::process::Process;
use crate::the_mm;

const O_NONBLOCK: u32 = 0o4000;
const O_CLOEXEC: u32 = 0o2_000_000;
const UFFD_USER_MODE_ONLY: u32 = 1;

const UFFD_API: u64 = 0xaa;

const API: u32 = 0xc018_aa3f;
const REGISTER: u32 = 0xc020_aa00;
const UNREGISTER: u32 = 0x8010_aa01;
const WAKE: u32 = 0x8010_aa02;
const CONTINUE: u32 = 0xc020_aa07;
const SOURCE: u32 = 0xc020_aa51;

/// What a context offers: REGISTER, UNREGISTER, API.
const API_IOCTLS: u64 = 1 << 0x00 | 1 << 0x01 | 1 << 0x3f;
/// What a registered range offers: WAKE, CONTINUE.
const RANGE_IOCTLS: u64 = 1 << 0x02 | 1 << 0x07;

const MODE_MINOR: u64 = 4;
const MODE_DONTWAKE: u64 = 1;

/// `userfaultfd(flags)`: O_CLOEXEC, which changes nothing, O_NONBLOCK, UFFD_USER_MODE_ONLY; others are EINVAL.
pub(super) fn userfaultfd(process: &Process, flags: u64) -> Answer {
    // Linux takes an int.
    let flags = flags as u32;
    if flags & !(O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY) != 0 {
        return Err(Errno::INVAL);
    }
    let serves = if flags & UFFD_USER_MODE_ONLY != 0 { Serves::UserOnly } else { Serves::All };
    let blocking = if flags & O_NONBLOCK != 0 { Blocking::Refuses } else { Blocking::Waits };
    let file = UserfaultFile::new(process, serves, blocking).map_err(|_| Errno::NOMEM)?;
    let file = KArc::try_new(OpenFile::Userfault(file)).map_err(|_| Errno::NOMEM)?;
    process.descriptors.add(file)
}

/// `ioctl(fd, request, argument)`: ENOTTY for other files than those of userfaultfd.
pub(super) fn ioctl(process: &Process, fd: u64, request: u64, argument: u64) -> Answer {
    let file = process.descriptors.get(fd)?;
    let OpenFile::Userfault(file) = &*file else { return Err(Errno::NOTTY) };
    // Linux takes an unsigned int.
    let request = request as u32;
    if request == API {
        return api(file, argument);
    }
    let context = file.context()?;
    match request {
        REGISTER => register(context, argument),
        UNREGISTER => {
            let [start, bytes] = words(argument)?;
            the_mm().unregister_userfault(context, Userfault::range(start, bytes)?)?;
            Ok(0)
        }
        WAKE => {
            let [start, bytes] = words(argument)?;
            the_mm().wake_userfault(context, Userfault::range(start, bytes)?);
            Ok(0)
        }
        CONTINUE => go_on(context, argument),
        SOURCE => source(file, argument),
        _ => Err(Errno::INVAL),
    }
}

fn api(file: &UserfaultFile, argument: u64) -> Answer {
    let [api, features, _] = words(argument)?;
    if api != UFFD_API || features & !FEATURES != 0 {
        put(argument, &[0; 3])?;
        return Err(Errno::INVAL);
    }
    put(argument, &[api, FEATURES, API_IOCTLS])?;
    match file.choose(features) {
        Ok(()) => Ok(0),
        Err(errno) => {
            put(argument, &[0; 3])?;
            Err(errno)
        }
    }
}

fn register(context: &Userfault, argument: u64) -> Answer {
    let [start, bytes, mode] = words(argument)?;
    if mode != MODE_MINOR {
        return Err(Errno::INVAL);
    }
    the_mm().register_userfault(context, Userfault::range(start, bytes)?)?;
    put(argument.wrapping_add(24), &[RANGE_IOCTLS])?;
    Ok(0)
}

fn go_on(context: &Userfault, argument: u64) -> Answer {
    let [start, bytes, mode] = words(argument)?;
    let range: Range<VirtAddr> = Userfault::range(start, bytes)?;
    if mode & !MODE_DONTWAKE != 0 {
        return Err(Errno::INVAL);
    }
    if context.is_ended() {
        return Err(Errno::SRCH);
    }
    let wake = if mode & MODE_DONTWAKE != 0 { Wake::Later } else { Wake::Now };
    let (done, result) = the_mm().continue_userfault(context, range, wake);
    let error = result.err().map(Errno::from);
    let mapped = match error {
        Some(errno) if done == 0 => errno.code().cast_unsigned(),
        _ => done,
    };
    put(argument.wrapping_add(24), &[mapped])?;
    match error {
        None => Ok(0),
        Some(errno) if done == 0 => Err(errno),
        Some(_) => Err(Errno::AGAIN),
    }
}

fn source(file: &UserfaultFile, argument: u64) -> Answer {
    let [start, bytes, seed] = words(argument)?;
    if bytes != 0 {
        file.start_source(start, bytes, seed)?;
    }
    put(argument.wrapping_add(24), &[file.arrived()])?;
    Ok(0)
}

/// The first words of a structure.
fn words<const N: usize>(from: u64) -> Result<[u64; N], Errno> {
    let mut words = [0; N];
    for (n, word) in words.iter_mut().enumerate() {
        let mut bytes = [0; 8];
        user::read(from.checked_add(n as u64 * 8).ok_or(Errno::FAULT)?, &mut bytes)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

/// Writes words of a structure.
fn put(to: u64, words: &[u64]) -> Result<(), Errno> {
    for (n, word) in words.iter().enumerate() {
        user::write(to.checked_add(n as u64 * 8).ok_or(Errno::FAULT)?, &word.to_le_bytes())?;
    }
    Ok(())
}

impl From<UserfaultError> for Errno {
    fn from(error: UserfaultError) -> Self {
        error.errno().into()
    }
}

impl From<ContinueError> for Errno {
    fn from(error: ContinueError) -> Self {
        error.errno().into()
    }
}
