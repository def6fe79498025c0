//! `quire-trace`: boots a kernel, runs a command of its console with tracepoints on, writes what they say as a file that
//! ui.perfetto.dev opens, and holds it against the counters.
#![forbid(unstable_features)]

use qemu::bench::experiment;
use qemu::session::tail;
use qemu::trace::check::check;
use qemu::trace::dump::Dump;
use qemu::trace::table::Table;
use qemu::trace::tracks::Tracks;
use qemu::trace::{self, Request, chrome};
use qemu::{Boot, Error, Options, root};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const USAGE: &str = "usage: quire-trace KERNEL

Boots the ELF file KERNEL with the options of qemu/machine.conf and the environment, types
COMMAND on its console, or `experiment` and the words of EXPERIMENT (hvo), with the tracepoints
of POINTS on (all), let through by FILTER, with rings of BUFFER KiB a CPU (8192), and writes
target/trace/<words>.json for ui.perfetto.dev. NAME names the file otherwise. Where the machine
refuses a word, that is said, and no file is written.

The exit status is 0 if the command did what was asked, no record was lost, every slice of the
file begins, nests and ends, and the file agrees with the counters, unless records were filtered.";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(kernel), None) = (words.next().filter(|kernel| !kernel.starts_with('-')), words.next()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match command().and_then(|command| run(Path::new(&kernel), &command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quire-trace: {error}");
            ExitCode::from(2)
        }
    }
}

/// A variable, or this where it is empty.
fn variable(name: &str, otherwise: &str) -> String {
    let value = std::env::var(name).unwrap_or_default();
    if value.trim().is_empty() { otherwise.to_owned() } else { value }
}

/// What is typed on the console.
fn command() -> Result<String, Error> {
    let words = variable("EXPERIMENT", "hvo");
    let command = variable("COMMAND", "");
    if !command.is_empty() {
        return Ok(command);
    }
    let name = words.split_whitespace().next().unwrap_or_default();
    experiment::find(name, &experiment::all()?).map_err(|why| Error::Trace(format!("EXPERIMENT: {why}")))?;
    Ok(format!("experiment {words}"))
}

fn run(kernel: &Path, command: &str) -> Result<ExitCode, Error> {
    let name = variable("NAME", &file_name(command));
    if name.contains('/') {
        return Err(Error::Trace(format!("NAME={name}: must be the name of a file in target/trace")));
    }
    let (options, boot) = (Options::load(None)?, Boot::prepare(kernel)?);
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
    }
    let request = Request {
        command: command.to_owned(),
        points: variable("POINTS", "all"),
        filter: variable("FILTER", ""),
        buffer: variable("BUFFER", "8192"),
    };
    let outcome = trace::run(&options, &boot, &request, || signal.load(Ordering::Relaxed) != 0)?;
    let folder = root().join("target/trace");
    std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
    let write = |kind: &str, text: &str| {
        let path = folder.join(format!("{name}.{kind}"));
        std::fs::write(&path, text).map_err(Error::file(&path)).map(|()| path)
    };
    write("log", &outcome.log)?;
    trace::said(&outcome.log).for_each(|line| println!("{line}"));
    let complaint = trace::complaint(&outcome);
    if let Some(complaint) = &complaint {
        eprintln!("quire-trace: {complaint}");
    }
    let dump = match Dump::read(&outcome.log) {
        Ok(dump) => dump,
        Err(why) => {
            eprintln!("quire-trace: {why}; the last lines were:\n{}", tail(&outcome.log, 12));
            return Ok(ExitCode::FAILURE);
        }
    };
    let tracks = Tracks::new(&dump);
    let text = chrome::write(&dump, &tracks, command);
    let path = write("json", &text)?;
    let found = match check(&text) {
        Ok(found) => found,
        Err(wrong) => {
            eprintln!("quire-trace: {}: {wrong}", path.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    let table = Table::new(&found, &dump);
    println!("{table}");
    let (unbegun, unended) = (tracks.unbegun, tracks.unended);
    println!("  {unbegun} slices were open when the trace began, {unended} when it ended");
    let shown = path.strip_prefix(root()).unwrap_or(&path);
    println!("{}: {} records; ui.perfetto.dev opens it", shown.display(), dump.records.len());
    let good = complaint.is_none() && table.is_sound();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The words of a command, but the first where it is `experiment`, as the name of a file.
fn file_name(command: &str) -> String {
    let words = command.strip_prefix("experiment ").unwrap_or(command);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    words.chars().map(plain).collect()
}
