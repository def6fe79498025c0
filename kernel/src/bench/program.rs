//! User programs that measure: what they print are the rows.

use mm::Mm;

use super::End;
use crate::{println, process};

/// `mmbench [name-prefix ...]`, the operations of memory management as a process sees them.
pub(super) fn mmbench(_: &'static Mm, words: &[&str]) -> End {
    let mut args = arrayvec::ArrayVec::<&str, { super::MAX_WORDS + 1 }>::new();
    args.push("mmbench");
    args.extend(words.iter().copied());
    let status = match process::run(args[0], &args, None) {
        Ok(process) => process.wait(),
        Err(error) => {
            println!("error: {}: {error}", args[0]);
            return End::Broken;
        }
    };
    if status == process::ExitStatus::Exited(0) {
        return End::Complete;
    }
    println!("error: {}: {status}", args[0]);
    End::Broken
}
