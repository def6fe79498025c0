//! `faultparts`: a fault of each kind, warm, as a process sees it. What it is made of says a program of the host, which
//! watches this one in a boot of its own (`qemu/src/parts`).
#![forbid(unsafe_code)]

use mm::Mm;

use super::Run;

/// `faultparts`.
pub(super) fn run(_: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    run.program(&["faultparts"])
}
