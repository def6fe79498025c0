//! QEMU's log of executed blocks (`-d exec,nochain`, one instruction a block) → the faults in it.
//!
//! ```text
//! Trace 0: 0x7f20d8000100 [0000000000004000/ffffffff80129480/00000021/ff020201] name
//!                                            address of the block
//! Stopped execution of TB chain before 0x7f20d8000100 [ffffffff80129480] name
//! ```
//! The second line takes the first back: an interrupt came before the block was executed.

use crate::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

/// One fault of EL0, as the kernel went through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind of the function that made the access.
    pub kind: &'static str,
    /// The addresses of the kernel's instructions, from the vector to the return, in their order.
    pub instructions: Vec<u64>,
    /// Interrupts that came in between.
    pub interrupts: u32,
}

/// What the log says of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Executed(u64),
    /// The line before does not count.
    Stopped,
}

/// The faults of the log at `path` that an access from one of these ranges of addresses began, by taking the vector
/// `user_sync`; `kernel_irq` is that of an interrupt of the kernel.
///
/// # Errors
/// [`Error::File`].
pub fn read(
    path: &Path,
    kinds: &[(&'static str, Range<u64>)],
    user_sync: u64,
    kernel_irq: u64,
) -> Result<Vec<Fault>, Error> {
    let mut reader = Reader { kinds, user_sync, kernel_irq, before: 0, open: None, faults: Vec::new() };
    let mut pending = None;
    let mut lines = BufReader::new(File::open(path).map_err(Error::file(path))?);
    let mut line = String::new();
    while lines.read_line(&mut line).map_err(Error::file(path))? > 0 {
        match parse(&line) {
            Some(Line::Executed(pc)) => {
                if let Some(pc) = pending.replace(pc) {
                    reader.take(pc);
                }
            }
            Some(Line::Stopped) => pending = None,
            None => {}
        }
        line.clear();
    }
    pending.into_iter().for_each(|pc| reader.take(pc));
    Ok(reader.faults)
}

fn parse(line: &str) -> Option<Line> {
    if line.starts_with("Stopped execution") {
        return Some(Line::Stopped);
    }
    let block = line.strip_prefix("Trace ")?.split_once('[')?.1;
    let pc = block.split('/').nth(1)?;
    u64::from_str_radix(pc, 16).ok().map(Line::Executed)
}

struct Reader<'a> {
    kinds: &'a [(&'static str, Range<u64>)],
    user_sync: u64,
    kernel_irq: u64,
    /// The address before.
    before: u64,
    /// The fault that is not at its end.
    open: Option<Fault>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn take(&mut self, pc: u64) {
        // The upper half of the addresses is the kernel's.
        if pc >> 63 == 0 {
            self.faults.extend(self.open.take());
        } else if pc == self.user_sync {
            let kind = self.kinds.iter().find(|(_, range)| range.contains(&self.before));
            self.open = kind.map(|(kind, _)| Fault { kind, instructions: Vec::new(), interrupts: 0 });
        }
        if let Some(fault) = &mut self.open {
            fault.instructions.push(pc);
            fault.interrupts += u32::from(pc == self.kernel_irq);
        }
        self.before = pc;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults of a log, one address a word; `!` stands for the line that takes the one before back.
    fn faults(words: &str) -> Vec<Fault> {
        let path = std::env::temp_dir().join(format!(
            "quire-trace-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let line = |word: &str| match word {
            "!" => "Stopped execution of TB chain before 0x7f20d8000100 [ffffffff80129480] \n".to_owned(),
            pc => format!("Trace 0: 0x7f20d8000100 [0000000000004000/{pc:0>16}/00000021/ff020201] x\n"),
        };
        std::fs::write(&path, words.split(' ').map(line).collect::<String>()).unwrap();
        let kinds = [("read", 0x100..0x108), ("write", 0x200..0x208)];
        let faults = read(&path, &kinds, 0xffff_ffff_8000_0400, 0xffff_ffff_8000_0280).unwrap();
        std::fs::remove_file(&path).unwrap();
        faults
    }

    const LOW: u64 = 0xffff_ffff_8000_0000;

    /// A fault is from the vector to the return to EL0; who made the access tells the kind; others are left out.
    #[test]
    fn faults_by_kind() {
        let log =
            "100 ffffffff80000400 ffffffff80001000 100 104 300 ffffffff80000400 300 200 ffffffff80000400 200";
        let found = faults(log);
        let kinds: Vec<_> = found.iter().map(|fault| (fault.kind, fault.instructions.as_slice())).collect();
        assert_eq!(kinds, [("read", &[LOW + 0x400, LOW + 0x1000][..]), ("write", &[LOW + 0x400][..])]);
    }

    /// A block that was not executed after all is not counted, and an interrupt is noticed.
    #[test]
    fn interrupts() {
        let log = "200 ffffffff80000400 ffffffff80001000 ! ffffffff80000280 ffffffff80001000 200";
        let found = faults(log);
        assert_eq!(found[0].instructions, [LOW + 0x400, LOW + 0x280, LOW + 0x1000]);
        assert_eq!(found[0].interrupts, 1);
    }

    /// A fault that the log does not see the end of is none.
    #[test]
    fn an_open_end() {
        assert!(faults("200 ffffffff80000400 ffffffff80001000").is_empty());
    }
}
