//! clone, wait4, getppid, prctl.
#![forbid(unsafe_code)]

use arch::aarch64::vectors::TrapFrame;
use mm::kalloc::KArc;
use mm::thp::ThpPermission;

use super::{Answer, Errno, user};
use crate::process::{self, ForkError, Killed, Process, Waited, Which, family};
use crate::the_mm;

/// The only exit signal, which is what `fork` asks for.
const SIGCHLD: u64 = 17;

const WNOHANG: u32 = 1;
/// WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL, __WCLONE: nothing here is stopped or made by other kinds of clone.
const WITHOUT_EFFECT: u32 = 2 | 8 | 1 << 29 | 1 << 30;
const WCLONE: u32 = 1 << 31;
/// Bytes of a `struct rusage`.
const RUSAGE_BYTES: usize = 144;

const PR_SET_THP_DISABLE: u64 = 41;
const PR_GET_THP_DISABLE: u64 = 42;
/// What MADV_HUGEPAGE was given for may be huge.
const PR_THP_DISABLE_EXCEPT_ADVISED: u64 = 1 << 1;

/// `clone(flags, stack, ...)`: a fork, with SIGCHLD and no flag. What would be shared by a flag cannot be shared here,
/// so any flag is EINVAL, and so is another exit signal. A stack of 0 is the parent's.
pub(super) fn clone(process: &KArc<Process>, frame: &TrapFrame) -> Answer {
    let [flags, stack, ..] = frame.x;
    if flags != SIGCHLD {
        return Err(Errno::INVAL);
    }
    let mut child = *frame;
    child.x[0] = 0;
    if stack != 0 {
        child.sp = stack;
    }
    Ok(process::fork(process, &child)?.into())
}

impl From<ForkError> for Errno {
    fn from(error: ForkError) -> Self {
        match error {
            ForkError::TooMany => Errno::AGAIN,
            ForkError::OutOfMemory => Errno::NOMEM,
            ForkError::Ending => Errno::INTR,
        }
    }
}

impl From<Killed> for Errno {
    /// Nobody sees it: the process ends before it goes back to EL0.
    fn from(_: Killed) -> Self {
        Errno::INTR
    }
}

/// `wait4(pid, status, options, rusage)`. All processes of a family are in one process group, so that 0, -1 and a
/// group's number all mean any child. The resources that a child used are not counted: `rusage` is filled with zeros.
pub(super) fn wait4(process: &Process, pid: u64, status: u64, options: u64, rusage: u64) -> Answer {
    let (pid, options) = (pid as i32, options as u32);
    if options & !(WNOHANG | WITHOUT_EFFECT | WCLONE) != 0 {
        return Err(Errno::INVAL);
    }
    let which = match pid {
        i32::MIN => return Err(Errno::SRCH),
        // Only children by other kinds of clone.
        _ if options & WCLONE != 0 && options & 1 << 30 == 0 => return Err(Errno::CHILD),
        1.. => Which::Pid(pid.unsigned_abs()),
        0 | -1 => Which::Any,
        _ if pid.unsigned_abs() == process.group() => Which::Any,
        _ => return Err(Errno::CHILD),
    };
    let waited =
        if options & WNOHANG != 0 { process.poll_child(which) } else { process.wait_for_child(which)? };
    let (child, how) = match waited {
        Waited::Ended(child, how) => (child, how),
        Waited::NotYet => return Ok(0),
        Waited::NoChild => return Err(Errno::CHILD),
    };
    // As on Linux, the child is gone even where its status cannot be written.
    if status != 0 {
        user::write(status, &how.wait_word().to_le_bytes())?;
    }
    if rusage != 0 {
        user::write(rusage, &[0; RUSAGE_BYTES])?;
    }
    Ok(child.into())
}

/// `getppid()`; 0 for the first of a family.
pub(super) fn getppid(process: &Process) -> Answer {
    Ok(family::parent_of(process).into())
}

/// `prctl(option, ...)`: PR_SET_THP_DISABLE and PR_GET_THP_DISABLE. The option is an int; arguments that an option does
/// not use must be 0, and so must be the flags where huge pages are not given up (Linux: `prctl_set_thp_disable`). What
/// is read is 1 and the flags, or 0. Any other option is EINVAL.
pub(super) fn prctl(process: &Process, args: [u64; 5]) -> Answer {
    let space = process.space();
    let [option, disable, flags, ..] = args;
    match (u64::from(option as u32), disable, flags, [args[3], args[4]]) {
        (PR_SET_THP_DISABLE, _, _, [0, 0]) => {
            let to = match (disable, flags) {
                (0, 0) => ThpPermission::Granted,
                (1.., 0) => ThpPermission::Withheld,
                (1.., PR_THP_DISABLE_EXCEPT_ADVISED) => ThpPermission::Advised,
                _ => return Err(Errno::INVAL),
            };
            the_mm().set_thp_permission(space, to);
            Ok(0)
        }
        (PR_GET_THP_DISABLE, 0, 0, [0, 0]) => Ok(match space.thp_permission() {
            ThpPermission::Granted => 0,
            ThpPermission::Withheld => 1,
            ThpPermission::Advised => 1 | PR_THP_DISABLE_EXCEPT_ADVISED,
        }),
        _ => Err(Errno::INVAL),
    }
}
