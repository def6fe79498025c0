//! User programs that measure: what they print are the rows.

use mm::Mm;

use super::End;
use crate::{println, process};

/// `mmbench [name-prefix ...]`, the operations of memory management as a process sees them.
pub(super) fn mmbench(_: &'static Mm, words: &[&str]) -> End {
    let mut args = arrayvec::ArrayVec::<&str, { super::MAX_WORDS + 1 }>::new();
    args.push("mmbench");
    args.extend(words.iter().copied());
    if run(&args).is_some() { End::Complete } else { End::Broken }
}

/// Runs a program to its end; `args[0]` is its name. `None` where that is not a good one, which a line then says.
pub(super) fn run(args: &[&str]) -> Option<()> {
    match process::run(args[0], args, None).map(|process| process.wait()) {
        Ok(process::ExitStatus::Exited(0)) => return Some(()),
        Ok(status) => println!("error: {}: {status}", args[0]),
        Err(error) => println!("error: {}: {error}", args[0]),
    }
    None
}
