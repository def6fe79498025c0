//! What a page fault is made of: each instruction that the kernel executes in it, by the room whose code it is.
//!
//! The machine of `make bench` runs the program `faultparts`, which makes one fault of each kind again and again.
//! gdb lets it run to its first mark; from there on QEMU writes down every instruction that is executed (`-d exec`,
//! one instruction a block), to the second mark.
//!
//! ```text
//!   faultparts ─► QEMU ─► log of addresses ─ trace ─► faults, by kind ─ table ─► parts
//!       └ rows: what the virtual counter says of the same faults ──────────────► must be the sum
//! ```
//! Of each kind the cheapest fault counts that no interrupt has met, after a quarter that warms up: the same that
//! the row `<kind>.min` of the program is about. The parts come to that row less `base`, to the instruction, or it
//! is an error.
//!
//! | room | what it holds |
//! |---|---|
//! | [`table`] | which source belongs to which part |
//! | [`trace`] | QEMU's log of instructions → faults |

pub mod table;
pub mod trace;

use crate::artefacts::{Boot, root};
use crate::bench::rows;
use crate::config::Options;
use crate::debugger::Debugger;
use crate::error::Error;
use object::{Object, ObjectSymbol};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use table::{Part, Places};
use trace::Fault;

/// What the experiment is called, and its program.
pub const EXPERIMENT: &str = "faultparts";
/// The kinds of faults: the functions of the program that make them, and its rows.
pub const KINDS: [&str; 4] =
    ["fault_4k_write", "fault_4k_read_zeropage", "fault_thp_2m_write", "cow_4k_child_first_write"];
/// Huge pages at the first touch, as for those that are held against Linux; `experiments/faultparts.toml` says the same.
const CHOICES: &str = "thp=always hugepages=64";
/// Where the vector of a synchronous exception of EL0 stands in the table of vectors, and that of an interrupt of EL1
/// (Arm ARM D1.3.1).
const USER_SYNC: u64 = 0x400;
const KERNEL_IRQ: u64 = 0x280;

/// The parts of one fault of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Which kind.
    pub kind: &'static str,
    /// Instructions by part.
    pub counts: BTreeMap<Part, u64>,
}

impl Parts {
    /// Instructions of the whole fault, from the vector to the return.
    #[must_use]
    pub fn whole(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Runs `faultparts` on this machine, and takes its faults apart. `folder` gets the log of instructions, which is removed
/// again. The machine counts instructions as that of `make bench` does, and has one CPU.
///
/// # Errors
/// As for [`Debugger::halt`] and [`Debugger::script`]; [`Error::Kernel`] if the program or the kernel lacks a symbol;
/// [`Error::Parts`] if the machine did not do what it was to do, or the parts do not come to what the counter says.
pub fn measure(options: &Options, boot: &Boot, folder: &Path, limit: Duration) -> Result<Vec<Parts>, Error> {
    if options.smp != 1 {
        let why = "the instructions of several CPUs cannot be told apart: faults are taken apart on one";
        return Err(Error::Parts(format!("SMP={}: {why}", options.smp)));
    }
    let program = root().join("target/programs").join(EXPERIMENT);
    let user = Symbols::of(&program)?;
    let kernel = Symbols::of(&boot.elf)?;
    std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let log = folder.join(format!("instructions.{}.log", std::process::id()));
    let console = run(options, boot, (user.at("faultparts_begin")?, user.at("faultparts_end")?), &log, limit);
    let vectors = kernel.at("quire_vectors")?;
    let ranges = KINDS.map(|kind| user.range(kind).map(|range| (kind, range)));
    let ranges = ranges.into_iter().collect::<Result<Vec<_>, _>>();
    let faults = console.and_then(|console| {
        let faults = trace::read(&log, &ranges?, vectors + USER_SYNC, vectors + KERNEL_IRQ)?;
        Ok((console, faults))
    });
    let _ = std::fs::remove_file(&log);
    let (console, faults) = faults?;
    let places = Places::of(&boot.elf)?;
    KINDS.into_iter().map(|kind| take_apart(kind, &faults, &console, &places)).collect()
}

/// Lets the program run, logs the instructions between its two marks into `log`, and returns what the machine wrote.
fn run(
    options: &Options,
    boot: &Boot,
    marks: (u64, u64),
    log: &Path,
    limit: Duration,
) -> Result<String, Error> {
    let append = format!("{CHOICES} {} bench={EXPERIMENT}", options.append);
    let options = Options { append, ..options.clone() };
    let debugger = Debugger::halt(&options, boot, Box::new(std::io::sink()))?;
    let script = [
        format!("break *{:#x}", marks.0),
        "continue".into(),
        "delete".into(),
        format!("monitor logfile {}", log.display()),
        // One of the two is the name that this QEMU has for it.
        "monitor singlestep on".into(),
        "monitor one-insn-per-tb on".into(),
        "monitor log exec,nochain".into(),
        format!("break *{:#x}", marks.1),
        "continue".into(),
        "monitor log none".into(),
        "delete".into(),
        "continue".into(),
    ];
    let mut arguments = vec!["-batch"];
    script.iter().for_each(|line| arguments.extend(["-ex", line]));
    let transcript = debugger.script(&arguments, limit)?;
    let console = debugger.session.finish_unless(|| transcript.status.is_none())?.log;
    if rows::read(&console, EXPERIMENT).end == rows::End::Complete {
        return Ok(console);
    }
    Err(Error::Parts(format!("the program did not come to its end:\n{console}\n{}", transcript.output)))
}

/// The parts of the cheapest warm fault of a kind.
fn take_apart(kind: &'static str, faults: &[Fault], console: &str, places: &Places) -> Result<Parts, Error> {
    let all: Vec<_> = faults.iter().filter(|fault| fault.kind == kind).collect();
    let warm = all.iter().skip(all.len() / 4).filter(|fault| fault.interrupts == 0);
    let least = warm.min_by_key(|fault| fault.instructions.len());
    let least =
        least.ok_or_else(|| Error::Parts(format!("{kind}: there was no such fault without an interrupt")))?;
    let mut counts: BTreeMap<Part, u64> = Part::ALL.into_iter().map(|part| (part, 0)).collect();
    for &pc in &least.instructions {
        *counts.entry(places.part(pc)).or_default() += 1;
    }
    let parts = Parts { kind, counts };
    agrees(&parts, console)?;
    Ok(parts)
}

/// Whether the parts come to what the program has measured by the virtual counter, which is one instruction a
/// nanosecond.
fn agrees(parts: &Parts, console: &str) -> Result<(), Error> {
    let output = rows::read(console, EXPERIMENT);
    let row = |name: &str| output.rows.iter().find(|row| row.name == name).map(|row| row.value);
    let (whole, base) = (row(parts.kind), row("base"));
    let counted = whole.zip(base).map(|(whole, base)| whole - base);
    if counted == i64::try_from(parts.whole()).ok() {
        return Ok(());
    }
    let (kind, sum) = (parts.kind, parts.whole());
    Err(Error::Parts(format!("{kind}: its parts come to {sum} instructions, the counter says {counted:?}")))
}

/// The rows, as the kernel prints those of other experiments.
#[must_use]
pub fn rows_of(all: &[Parts]) -> String {
    let mut text = format!("bench: begin {EXPERIMENT}\n");
    for parts in all {
        for (part, count) in &parts.counts {
            text += &format!("{}.{} {count} ns\n", parts.kind, part.name());
        }
    }
    text + &format!("bench: end {EXPERIMENT}\n")
}

/// The symbols of an ELF file.
struct Symbols {
    path: PathBuf,
    /// Address and size by name.
    table: BTreeMap<String, (u64, u64)>,
}

impl Symbols {
    fn of(path: &Path) -> Result<Symbols, Error> {
        let data = std::fs::read(path).map_err(Error::file(path))?;
        let file = object::File::parse(data.as_slice());
        let file = file.map_err(|error| Error::Kernel(path.to_path_buf(), error.to_string()))?;
        let named = |symbol: object::Symbol<'_, '_>| {
            Some((symbol.name().ok()?.to_owned(), (symbol.address(), symbol.size())))
        };
        Ok(Symbols { path: path.to_path_buf(), table: file.symbols().filter_map(named).collect() })
    }

    fn find(&self, name: &str) -> Result<(u64, u64), Error> {
        let absent = || Error::Kernel(self.path.clone(), format!("it has no symbol {name}"));
        self.table.get(name).copied().ok_or_else(absent)
    }

    fn at(&self, name: &str) -> Result<u64, Error> {
        self.find(name).map(|(address, _)| address)
    }

    fn range(&self, name: &str) -> Result<std::ops::Range<u64>, Error> {
        self.find(name).map(|(address, size)| address..address + size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(entry: u64, zeroing: u64) -> Parts {
        let counts = [(Part::Entry, entry), (Part::Zeroing, zeroing)].into();
        Parts { kind: "fault_4k_write", counts }
    }

    /// Rows can be read as those of any experiment.
    #[test]
    fn rows_are_read() {
        let output = rows::read(&rows_of(&[parts(60, 340)]), EXPERIMENT);
        assert_eq!(output.end, rows::End::Complete);
        let rows: Vec<_> = output.rows.iter().map(|row| (row.name.as_str(), row.value)).collect();
        assert_eq!(rows, [("fault_4k_write.entry", 60), ("fault_4k_write.zeroing", 340)]);
    }

    /// A single instruction that is missing or too many is an error; so is a row that is not there.
    #[test]
    fn parts_must_come_to_the_whole() {
        let rows = ["fault_4k_write 500 ns", "fault_4k_write.min 406 ns", "base 7 ns", "base.min 6 ns"];
        let console = &format!("bench: begin faultparts\n{}\n", rows.join("\n"));
        assert!(agrees(&parts(60, 340), console).is_ok());
        for wrong in [parts(60, 339), parts(61, 340)] {
            assert!(agrees(&wrong, console).unwrap_err().to_string().contains("the counter says Some(400)"));
        }
        assert!(agrees(&parts(60, 340), "bench: begin faultparts\nbase.min 6 ns\n").is_err());
    }
}
