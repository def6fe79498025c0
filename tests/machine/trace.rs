//! Tracepoints from end to end: the console's words, and a file that agrees with the counters.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::trace::check::check;
use qemu::trace::dump::Dump;
use qemu::trace::table::Table;
use qemu::trace::tracks::Tracks;
use qemu::trace::{self, Request, chrome};
use std::process::Command;
use std::sync::Arc;
use tests::fleet;

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    vec![
        harness.trial("trace::an_experiment_agrees_with_its_counters", |harness| {
            agrees(harness, "experiment hvo part=sizes", &["hvo_optimise", "hvo_restore", "flush", "store"])
        }),
        harness.trial("trace::a_program_agrees_with_its_counters", |harness| {
            agrees(harness, "run fork", &["page_fault", "cow", "alloc", "free"])
        }),
        harness.trial("trace::bad_words_are_refused", bad_words),
        harness.trial("trace::refused_words_leave_no_file", refused),
        harness.trial("trace::the_newest_are_shown", newest),
    ]
}

/// The way of `make trace`: the file's slices begin, nest and end, no record is lost, and each row of the table agrees;
/// the points that the command must pass are in it.
fn agrees(harness: &Harness, command: &str, passed: &[&str]) -> Verdict {
    let request = Request {
        command: command.to_owned(),
        points: "all".to_owned(),
        filter: String::new(),
        buffer: "8192".to_owned(),
    };
    let outcome = trace::run(&harness.options, &harness.release, &request, || false)?;
    if let Some(complaint) = trace::complaint(&outcome) {
        return Err(failed(complaint, &outcome.log));
    }
    let dump = Dump::read(&outcome.log).map_err(|why| failed(why, &outcome.log))?;
    let found = check(&chrome::write(&dump, &Tracks::new(&dump), command))
        .map_err(|wrong| failed(wrong, &outcome.log))?;
    let table = Table::new(&found, &dump);
    if table.lost != 0 || table.differing() != 0 {
        return Err(failed(&table, ""));
    }
    match passed.iter().find(|point| table.rows.iter().all(|row| row.point != **point || row.counted == 0)) {
        Some(point) => Err(failed(format!("`{point}` was not passed\n{table}"), "")),
        None => Ok(()),
    }
}

/// Types lines on a machine without a tour.
fn typed(harness: &Harness, lines: &[&str]) -> Result<String, libtest_mimic::Failed> {
    let options = qemu::Options { append: "tour=off".to_owned(), ..harness.options.clone() };
    let outcome = fleet::type_lines(&options, &harness.release, lines, Box::new(std::io::sink()))?;
    if outcome.success() {
        Ok(outcome.log)
    } else {
        Err(failed("the machine did not end well", &outcome.log))
    }
}

/// What no point, filter or size is gets a sentence, and changes nothing.
fn bad_words(harness: &Harness) -> Verdict {
    let rows = [
        ("trace on nosuch", "there is no point and no room `nosuch`"),
        ("trace on hvo nosuch", "there is no point and no room `nosuch`"),
        ("trace filter pid=x", "`pid=x`: must be pid=N, cpu=N or va=A..B"),
        ("trace filter cpu=99", "`cpu=99`: there are CPUs 0 to"),
        ("trace filter cpu=0 cpu=1", "`cpu=1`: `cpu=` stands there twice"),
        ("trace filter va=5..5", "`va=5..5`: the end must be above the beginning"),
        ("trace buffer 1", "`1`: must be a number of KiB from 4 to 262144"),
        ("trace buffer x", "`x` is no number of KiB"),
        ("trace show x", "`x` is no number of records"),
        ("trace nosuch", "usage: trace"),
    ];
    let mut lines: Vec<_> = rows.iter().map(|(line, _)| *line).collect();
    lines.extend(["trace", "poweroff"]);
    let log = typed(harness, &lines)?;
    if let Some((line, sentence)) = rows.iter().find(|(_, sentence)| !log.contains(sentence)) {
        return Err(failed(format!("`{line}` was not answered by `{sentence}`"), &log));
    }
    let unchanged = ["on        none", "filter    none", "512 KiB a CPU, not allocated now"];
    match unchanged.iter().find(|line| !log.contains(**line)) {
        Some(line) => Err(failed(format!("something has changed: no `{line}`"), &log)),
        None => Ok(()),
    }
}

/// `make trace` with a word that the machine refuses says so in the machine's words, and which line it was; the status is
/// not 0, and there is no file. Nothing is typed after it: a program that was to run does not.
fn refused(harness: &Harness) -> Verdict {
    let rows = [
        (
            "POINTS",
            "nosuch",
            "`trace on nosuch switch` was refused: error: there is no point and no room `nosuch`",
        ),
        ("FILTER", "pid=x", "`trace filter pid=x` was refused: error: `pid=x`: must be pid=N"),
        ("BUFFER", "x", "`trace buffer x` was refused: error: `x` is no number of KiB"),
        (
            "EXPERIMENT",
            "hvo part=nosuch",
            "`experiment hvo part=nosuch` was refused: error: `part=nosuch`: must be",
        ),
        ("EXPERIMENT", "list", "EXPERIMENT: there is no experiment `list`; there are"),
        ("COMMAND", "run nosuch", "`run nosuch` was refused: error: nosuch: "),
        ("COMMAND", "migrate", "`migrate` was refused: usage: migrate"),
        ("NAME", "no/such", "NAME=no/such: must be the name of a file"),
    ];
    let name = format!("refused-{}", std::process::id());
    for (variable, word, sentence) in rows {
        let mut command = Command::new(qemu::root().join("target/debug/quire-trace"));
        for other in ["CPU", "SMP", "MEM", "EL2", "APPEND", "FILTER", "BUFFER", "POINTS", "EXPERIMENT"] {
            command.env_remove(other);
        }
        if variable != "EXPERIMENT" {
            command.env("COMMAND", "run hello");
        } else {
            command.env_remove("COMMAND");
        }
        let output = command.arg(&harness.release.elf).env("NAME", &name).env(variable, word).output()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if !text.contains(sentence) || output.status.success() || text.contains("hello") {
            return Err(failed(format!("{variable}={word} must be answered by `{sentence}` alone"), &text));
        }
        let files = ["json", "log"].map(|kind| qemu::root().join(format!("target/trace/{name}.{kind}")));
        if files.iter().any(|file| file.exists()) {
            return Err(failed(format!("{variable}={word} leaves a file"), &text));
        }
    }
    Ok(())
}

/// `trace show` prints the newest records in their order, with the point's own names of its arguments; after `trace off`
/// nothing is added.
fn newest(harness: &Harness) -> Verdict {
    let lines =
        ["trace on page_fault", "run hello", "trace off", "run hello", "trace show 2", "trace", "poweroff"];
    let log = typed(harness, &lines)?;
    let shown: Vec<_> = log.lines().filter(|line| line.contains(" us  CPU ")).collect();
    let good = |line: &&str, phase: &str| {
        line.contains(phase) && line.contains("  va=0x") && line.contains("pid 1 ")
    };
    match shown.as_slice() {
        [first, second] if good(first, " B page_fault") && good(second, " E page_fault") => Ok(()),
        other => Err(failed(format!("{other:?}"), &log)),
    }
}
