//! `mmbench`: the operations of memory management as a process sees them, by the program that Linux was measured with.
#![forbid(unsafe_code)]

use arrayvec::ArrayVec;
use mm::Mm;

use super::Run;

/// Most words of the command line.
const MAX_WORDS: usize = 16;

/// `mmbench [group ...]`.
pub(super) fn run(_: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let groups = run.asked.words("group");
    let args: ArrayVec<&str, MAX_WORDS> = ["mmbench"].into_iter().chain(groups).take(MAX_WORDS).collect();
    run.program(&args)
}
