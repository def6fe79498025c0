//! `quire-bench`: boots a kernel once for each suite, prints its figures beside those of Linux, writes them as JSON.
#![forbid(unstable_features)]

use qemu::bench::figures;
use qemu::bench::pairs::Pairs;
use qemu::bench::peers::Peers;
use qemu::bench::report::{Machine, Report};
use qemu::bench::rows::End;
use qemu::bench::suite::{self, Chosen, Measured};
use qemu::session::tail;
use qemu::{Boot, Error, Options, Status, root};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const USAGE: &str = "usage: quire-bench KERNEL | --figures

Boots the ELF file KERNEL with the options of qemu/machine.conf and its [bench], once
for each suite of SUITE (all but thpfork, hvo and hvopools where it is empty; `mmbench:fault:cow` is a part of one),
prints the figures and writes target/bench/<suite>.json and .log.

The exit status is 0 if every suite came to its end, whatever it cost, and no row of threshold
is off. With STRICT=1 a row that is an error, or is absent where Linux has one, makes it 1.

FIGURES=1 takes what thpfork, and as a whole thp, mapcount, hgm, collapse, hvo and hvopools gave into tests/figures, and writes the
tables of docs anew; --figures only writes the tables.";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let kernel = match (words.next(), words.next()) {
        (Some(kernel), None) if !kernel.starts_with('-') => kernel,
        (Some(option), None) if option == "--figures" => return ended(figures::write_pages()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let variable = |name| std::env::var(name).unwrap_or_default();
    let chosen = match suite::choose(&variable("SUITE")) {
        Ok(chosen) => chosen,
        Err(sentence) => {
            eprintln!("quire-bench: SUITE: {sentence}");
            return ExitCode::from(2);
        }
    };
    let wish = if variable("STRICT") == "1" { Wish::EveryRow } else { Wish::Figures };
    let keep = if variable("FIGURES") == "1" { Keep::InTheTree } else { Keep::InTarget };
    match run(Path::new(&kernel), &chosen, wish, keep) {
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

/// Where figures stay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Below `target/bench`.
    InTarget,
    /// In `tests/figures` too, and in the page that is made of them.
    InTheTree,
}

/// What makes a run a good one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Every suite came to its end.
    Figures,
    /// No row is an error either, and none is absent.
    EveryRow,
}

fn run(kernel: &Path, chosen: &[Chosen], wish: Wish, keep: Keep) -> Result<ExitCode, Error> {
    let options = Options::load(Some("bench"))?;
    let (boot, peers) = (Boot::prepare(kernel)?, Peers::load()?);
    let machine = match peers.other_machine(&options) {
        None => Machine::OfThePeers,
        Some(difference) => {
            println!("no ratio to Linux, which was measured otherwise: {difference}\n");
            Machine::Another
        }
    };
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
    }
    let folder = root().join("target/bench");
    std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
    let mut good = true;
    for one in chosen {
        let give_up = || signal.load(Ordering::Relaxed) != 0;
        let measured = suite::measure(&options, &boot, one, one.suite.choices, give_up)?;
        let write = |kind: &str, text: &str| {
            let path = folder.join(format!("{}.{kind}", one.suite.name));
            std::fs::write(&path, text).map_err(Error::file(&path))
        };
        write("log", &measured.log)?;
        good &= explain(&measured);
        if let Some(choices) = one.suite.against {
            let against = suite::measure(&options, &boot, one, choices, give_up)?;
            write("against.log", &against.log)?;
            let pairs = Pairs::new(one.suite.name, &measured.output, &against.output);
            write("json", &pairs.json())?;
            println!("{} against {choices}\n{pairs}", one.suite.choices);
            good &= explain(&against) && pairs.end == End::Complete && pairs.off() == 0;
        } else {
            let report = Report::new(one, measured.output, &peers, machine);
            write("json", &report.json())?;
            println!("{report}");
            let every_row = report.errors() == 0 && report.absent.is_empty();
            good &= report.end == End::Complete && (wish == Wish::Figures || every_row);
            let sound = report.end == End::Complete && machine == Machine::OfThePeers;
            if keep == Keep::InTheTree && sound && figures::takes(one) {
                figures::take(one, &report.json())?;
                figures::write_pages()?;
            }
        }
        if signal.load(Ordering::Relaxed) != 0 {
            break;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the machine ended with status 0; says what it said last if not.
fn explain(measured: &Measured) -> bool {
    let why = match measured.status {
        Status::Exited(0) => return true,
        Status::Exited(status) => format!("the machine ended with status {status}"),
        Status::TimedOut(limit) => {
            format!("the time limit of {} s has passed (TIMEOUT= sets it)", limit.as_secs())
        }
        Status::GivenUp => "it was ended by a signal".to_owned(),
    };
    eprintln!("quire-bench: {why}; the last lines were:\n{}\n", tail(&measured.log, 12));
    false
}
