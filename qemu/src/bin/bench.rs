//! `quire-bench`: boots a kernel for each experiment, prints its figures beside those of Linux, says what has moved, and
//! writes JSON and CSV.
#![forbid(unstable_features)]

use qemu::bench::boots::{self, All, Measured};
use qemu::bench::commits;
use qemu::bench::experiment::{self, Chosen};
use qemu::bench::figures;
use qemu::bench::machine::overridden;
use qemu::bench::moved::{self, Extent, Moved};
use qemu::bench::pairs::Pairs;
use qemu::bench::peers::Peers;
use qemu::bench::report::{Machine, Report};
use qemu::bench::rows::End;
use qemu::session::tail;
use qemu::{Boot, Error, Options, Status, root};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const USAGE: &str = "usage: quire-bench KERNEL | --list | --figures

Boots the ELF file KERNEL with the options of qemu/machine.conf and its [bench] for each
experiment of EXPERIMENT (all where it is empty; `mmbench:group=fault,cow` is a part of one),
JOBS boots at a time (as many as there are processors), prints the figures, lists rows that
have moved by more than 1 % since the last run and since those of tests/figures, and writes
target/bench/<experiment>.json, .csv and .log (of a part <experiment>.<key>=<value>.json, and of
another machine than that of Linux, or than that of the experiment's file where the environment
asks for one, <experiment>.other.json); FOLDER names another folder than target/bench. One that
breaks off leaves its log only.

The exit status is 0 if every experiment came to its end, whatever it cost, and no row of
threshold is off. With STRICT=1 a row that is an error, is absent where Linux has one, or is among
those that are listed as moved, makes it 1.

FIGURES=1 takes what whole experiments gave, and parts of thpfork, into tests/figures, and writes the
tables of docs anew; --figures only writes the tables. --list lists the experiments.";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let kernel = match (words.next(), words.next()) {
        (Some(kernel), None) if !kernel.starts_with('-') => kernel,
        (Some(option), None) if option == "--figures" => return ended(figures::write_pages()),
        (Some(option), None) if option == "--list" => return ended(list()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(Path::new(&kernel)) {
        Ok(code) => code,
        error => ended(error.map(|_| ())),
    }
}

/// The exit status of what went well, or did not, which it says.
fn ended(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quire-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn list() -> Result<(), Error> {
    experiment::all()?.iter().for_each(|one| println!("{:<12} {}", one.name, one.asks));
    Ok(())
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// How many boots run at a time; a sentence where `JOBS` is no such number.
fn at_once() -> Result<usize, String> {
    match variable("JOBS") {
        words if words.trim().is_empty() => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        words => words
            .trim()
            .parse()
            .ok()
            .filter(|&n| n > 0)
            .ok_or(format!("JOBS={words}: must be a number from 1 on")),
    }
}

/// What was asked for, and what everything is held against.
struct Bench {
    options: Options,
    peers: Peers,
    /// What the figures are of.
    commits: Vec<String>,
    folder: PathBuf,
    /// A row that is an error, absent or moved is a failure.
    strict: bool,
    /// Figures go into the tree.
    keep: bool,
}

fn run(kernel: &Path) -> Result<ExitCode, Error> {
    let all = experiment::all()?;
    let asked = experiment::choose(&variable("EXPERIMENT"), &all).map_err(|why| format!("EXPERIMENT: {why}"));
    let (chosen, at_once) = match (asked, at_once()) {
        (Ok(chosen), Ok(at_once)) => (chosen, at_once),
        (Err(sentence), _) | (_, Err(sentence)) => {
            eprintln!("quire-bench: {sentence}");
            return Ok(ExitCode::from(2));
        }
    };
    let options = Options::load(Some("bench"))?;
    let (boot, peers) = (Boot::prepare(kernel)?, Peers::load()?);
    if let Some(difference) = peers.other_machine(&options) {
        println!("no ratio to Linux, which was measured otherwise: {difference}\n");
    }
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
    }
    let folder = match variable("FOLDER") {
        none if none.trim().is_empty() => root().join("target/bench"),
        folder => PathBuf::from(folder.trim()),
    };
    std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
    let bench = Bench {
        options,
        peers,
        commits: commits::of_the_tree(),
        folder,
        strict: variable("STRICT") == "1",
        keep: variable("FIGURES") == "1",
    };
    let (mut good, mut complete) = (true, 0);
    boots::measure_all(
        &bench.options,
        &boot,
        &chosen,
        at_once,
        &|| signal.load(Ordering::Relaxed) != 0,
        |one, all| {
            good &= bench.conclude(one, all)?;
            complete += 1;
            Ok(())
        },
    )?;
    let success = good && complete == chosen.len();
    Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Bench {
    /// Prints and writes what one experiment gave; whether it went well.
    fn conclude(&self, chosen: &Chosen, all: All) -> Result<bool, Error> {
        let All { ours, against } = all;
        if let Some(sentence) = overridden(&self.options, chosen) {
            println!(
                "{}: {sentence}; held against no figures but those of another such run",
                chosen.argument
            );
        }
        self.write(chosen, "log", ours.log.as_bytes())?;
        let mut good = explain(chosen, &ours);
        if let (Some(choices), Some(against)) = (chosen.experiment.against(), against) {
            self.write(chosen, "against.log", against.log.as_bytes())?;
            let pairs = Pairs::new(chosen.name(), &ours.output, &against.output);
            println!("{} against {choices}\n{pairs}", chosen.experiment.choices());
            let figures = pairs.pairs.iter().filter_map(|pair| Some((pair.name.as_str(), pair.value?)));
            let listed = self.say_what_moved(chosen, figures.collect())?;
            good &= !self.strict || listed == 0;
            let json = pairs.json(&self.commits);
            self.write(chosen, "json", json.as_bytes())?;
            self.write(chosen, "csv", &pairs.csv()?)?;
            if pairs.end == End::Complete {
                self.take(chosen, &json)?;
            }
            return Ok(good & explain(chosen, &against) && pairs.end == End::Complete && pairs.off() == 0);
        }
        let report = Report::new(chosen, ours.output, &self.peers, self.machine(chosen));
        println!("{report}");
        let every_row = report.errors() == 0 && report.absent.is_empty();
        let complete = report.end == End::Complete && !report.figures.is_empty();
        good &= complete && (!self.strict || every_row);
        if !complete {
            return Ok(false);
        }
        let figures = report.figures.iter().map(|figure| (figure.name.as_str(), figure.value));
        let listed = self.say_what_moved(chosen, figures.collect())?;
        good &= !self.strict || listed == 0;
        self.write(chosen, "json", report.json(&self.commits).as_bytes())?;
        self.write(chosen, "csv", &report.csv()?)?;
        self.take(chosen, &report.json(&self.commits))?;
        Ok(good)
    }

    /// Takes the figures into the tree, where that is asked for and they are such that are kept there.
    fn take(&self, chosen: &Chosen, json: &str) -> Result<(), Error> {
        if self.keep && self.machine(chosen) == Machine::OfThePeers && figures::takes(chosen) {
            figures::take(chosen, json)?;
            figures::write_pages()?;
        }
        Ok(())
    }

    /// Whether it was measured as Linux was, and as its file says.
    fn machine(&self, chosen: &Chosen) -> Machine {
        let other = self.peers.other_machine(&self.options).or_else(|| overridden(&self.options, chosen));
        if other.is_none() { Machine::OfThePeers } else { Machine::Another }
    }

    /// Where a file of this experiment is; each part has files of its own, and so has another machine.
    fn path(&self, chosen: &Chosen, kind: &str) -> PathBuf {
        let other = if self.machine(chosen) == Machine::OfThePeers { "" } else { ".other" };
        self.folder.join(format!("{}{other}.{kind}", chosen.argument.replace(':', ".")))
    }

    fn write(&self, chosen: &Chosen, kind: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(chosen, kind);
        std::fs::write(&path, bytes).map_err(Error::file(&path))
    }

    /// Holds the figures against those of the last run of the same part, and, of what is booted as for the tree, against
    /// those. Returns how many rows it has listed.
    fn say_what_moved(&self, chosen: &Chosen, figures: Vec<(&str, i64)>) -> Result<usize, Error> {
        let extent = if chosen.is_whole() { Extent::Whole } else { Extent::Part };
        let of_the_tree = self.machine(chosen) == Machine::OfThePeers && figures::takes(chosen);
        let mut listed = 0;
        let mut say = |moved: Moved| {
            print!("{moved}");
            listed += moved.count();
        };
        match moved::read(&self.path(chosen, "json"))? {
            Some(last) => say(Moved::new("the last run", &last, figures.iter().copied(), Extent::Whole)),
            None => println!("no run before this one to hold it against"),
        }
        if !figures::takes(chosen) {
            println!("tests/figures has all of {}, and is not held against a part", chosen.name());
        }
        if let (true, Some(baseline)) = (of_the_tree, figures::baseline(chosen.name())?) {
            let ours = figures::of_baseline(chosen.name(), figures.into_iter());
            say(Moved::new("tests/figures", &baseline, ours, extent));
        }
        println!();
        Ok(listed)
    }
}

/// Whether the machine ended with status 0; says what it said last if not.
fn explain(chosen: &Chosen, measured: &Measured) -> bool {
    let why = match measured.status {
        Status::Exited(0) => return true,
        Status::Exited(status) => format!("the machine ended with status {status}"),
        Status::TimedOut(limit) => {
            format!("the time limit of {} s has passed (TIMEOUT= sets it)", limit.as_secs())
        }
        Status::GivenUp => "it was ended by a signal".to_owned(),
    };
    eprintln!("quire-bench: {}: {why}; the last lines were:\n{}\n", chosen.argument, tail(&measured.log, 12));
    false
}
