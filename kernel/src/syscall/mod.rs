//! System calls, with Linux's arm64 numbers, argument order, structures and error numbers.
//!
//! The number comes in x8, arguments in x0 to x5, the result goes to x0: a value, or a negated [`Errno`]. What
//! is not in the table is -ENOSYS. User addresses are checked against the user half before they are used, and a
//! fault that the page fault handler cannot resolve becomes -EFAULT.
//!
//! | number | call | file |
//! |--:|---|---|
//! | 64 | write | `io` |
//! | 93, 94 | exit, exit_group | here |
//! | 101, 113 | nanosleep, clock_gettime | `time` |
//! | 124 | sched_yield | here |
//! | 172, 178 | getpid, gettid | here |
//! | 214, 215, 216, 222, 226, 233 | brk, munmap, mremap, mmap, mprotect, madvise | `memory` |
#![forbid(unsafe_code)]

mod errno;
mod io;
mod memory;
mod time;
mod user;

pub use errno::Errno;

use mm::kalloc::KArc;

use crate::process::{ExitStatus, Process, leave};
use crate::sched;

/// Number and arguments of one call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// x8.
    pub number: u64,
    /// x0 to x5.
    pub args: [u64; 6],
}

/// What a call gives back: a value for x0, or an error.
type Answer = Result<u64, Errno>;

/// Performs a system call of `process`, the one that runs on this CPU, and returns what x0 becomes.
pub fn perform(process: KArc<Process>, call: &Call) -> i64 {
    let [a, b, c, d, e, f] = call.args;
    let answer = match call.number {
        64 => io::write(&process, a, b, c),
        93 | 94 => leave(process, ExitStatus::Exited(a as u8)),
        101 => time::nanosleep(a, b),
        113 => time::clock_gettime(a, b),
        124 => {
            sched::yield_now();
            Ok(0)
        }
        172 | 178 => Ok(process.pid().into()),
        214 => memory::brk(&process, a),
        215 => memory::munmap(&process, a, b),
        216 => memory::mremap(&process, [a, b, c, d, e]),
        222 => memory::mmap(&process, [a, b, c, d, e, f]),
        226 => memory::mprotect(&process, a, b, c),
        233 => memory::madvise(&process, a, b, c),
        _ => Err(Errno::NOSYS),
    };
    match answer {
        Ok(value) => value.cast_signed(),
        Err(errno) => errno.code(),
    }
}
