//! System calls, with Linux's arm64 numbers, argument order, structures and error numbers.
//!
//! The number comes in x8, arguments in x0 to x5, the result goes to x0: a value, or a negated [`Errno`]. What
//! is not in the table is -ENOSYS. User addresses are checked against the user half before they are used, and a
//! fault that the page fault handler cannot resolve becomes -EFAULT.
//!
//! | number | call | file |
//! |--:|---|---|
//! | 56, 57, 59, 62, 63, 64, 67 | openat, close, pipe2, lseek, read, write, pread64 | `io` |
//! | 93, 94 | exit, exit_group | here |
//! | 101, 113 | nanosleep, clock_gettime | `time` |
//! | 124 | sched_yield | here |
//! | 167, 172, 173, 178 | prctl, getpid, getppid, gettid | `task` |
//! | 46, 279 | ftruncate, memfd_create | `memory` |
//! | 214, 215, 216, 222, 226, 232, 233 | brk, munmap, mremap, mmap, mprotect, mincore, madvise | `memory` |
//! | 220, 260 | clone, wait4 | `task` |
//! | 29, 282 | ioctl, userfaultfd | `userfault` |
#![forbid(unsafe_code)]

mod errno;
mod io;
mod memory;
mod task;
mod time;
pub mod user;
mod userfault;

use arch::aarch64::vectors::TrapFrame;
pub use errno::Errno;
use mm::kalloc::KArc;
use mm::thp::reclaim;

use crate::process::{ExitStatus, Process};
use crate::{sched, the_mm};

/// What a call gives back: a value for x0, or an error.
type Answer = Result<u64, Errno>;

/// Performs a system call of `process`, whose thread runs this and whose registers these are, and returns what x0
/// becomes.
#[inline(always)]
pub fn perform(process: &KArc<Process>, frame: &TrapFrame) -> i64 {
    match frame.x[8] {
        172 | 178 => process.pid().into(),
        _ => perform_other(process, frame),
    }
}

/// All calls that need more than the process at hand.
#[inline(never)]
fn perform_other(process: &KArc<Process>, frame: &TrapFrame) -> i64 {
    let [a, b, c, d, e, f, ..] = frame.x;
    let answer = match frame.x[8] {
        29 => userfault::ioctl(process, a, b, c),
        46 => memory::ftruncate(process, a, b),
        56 => with_room(|| io::openat(process, a, b, c)),
        57 => io::close(process, a),
        59 => with_room(|| io::pipe2(process, a, b)),
        62 => io::lseek(process, a, b, c),
        63 => io::read(process, a, b, c),
        64 => io::write(process, a, b, c),
        67 => io::pread64(process, a, b, c, d),
        93 | 94 => {
            process.decide(ExitStatus::Exited(a as u8));
            Ok(0)
        }
        101 => time::nanosleep(process, a, b),
        113 => time::clock_gettime(a, b),
        124 => {
            sched::yield_now();
            Ok(0)
        }
        167 => task::prctl(process, [a, b, c, d, e]),
        173 => task::getppid(process),
        214 => memory::brk(process, a),
        215 => memory::munmap(process, a, b),
        216 => memory::mremap(process, [a, b, c, d, e]),
        220 => task::clone(process, frame),
        222 => with_room(|| memory::mmap(process, [a, b, c, d, e, f])),
        226 => memory::mprotect(process, a, b, c),
        232 => memory::mincore(process, a, b, c),
        233 => memory::madvise(process, a, b, c),
        279 => memory::memfd_create(process, a, b),
        282 => with_room(|| userfault::userfaultfd(process, a)),
        260 => task::wait4(process, a, b, c, d),
        _ => Err(Errno::NOSYS),
    };
    match answer {
        Ok(value) => value.cast_signed(),
        Err(errno) => errno.code(),
    }
}

/// A call that has changed nothing where it found no memory. The kernel's heap may be asked with locks held under which
/// nothing can be given back, so that is done here, where memory is short, and the call is performed once more (clone
/// does so itself).
fn with_room(call: impl Fn() -> Answer) -> Answer {
    let mm = the_mm();
    match call() {
        Err(Errno::NOMEM)
            if mm.free_page_count() <= mm.watermarks().high && mm.reclaim(reclaim::BATCH) != 0 =>
        {
            call()
        }
        answer => answer,
    }
}
