//! exit, exit_group, sched_yield.
#![forbid(unsafe_code)]

use super::Answer;
use crate::process::{ExitStatus, Process};
use crate::sched;

/// `exit(status)` and `exit_group(status)`, which are the same for a process of one thread. Does not return.
pub(super) fn exit(process: &Process, status: u64) -> Answer {
    process.exit(ExitStatus::Exited(status as u8))
}

/// `sched_yield()`.
pub(super) fn sched_yield() -> Answer {
    sched::yield_now();
    Ok(0)
}
