//! `make bench` from end to end: the same figures at each run, and what is slower is listed.

use crate::{Harness, Verdict, failed};
use libtest_mimic::Trial;
use qemu::bench::moved;
use qemu::parts::KINDS;
use qemu::{Boot, Options};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tests::fleet;

pub(crate) fn trials(harness: &Arc<Harness>) -> Vec<Trial> {
    vec![
        harness.trial("bench::what_is_slower_is_listed_and_nothing_else", listed),
        harness.trial("bench::experiments_say_that_memory_is_short", short),
        harness.trial("bench::the_machine_that_was_asked_for_wins", machine),
        harness.trial("bench::a_program_beside_has_the_same_kernel_and_machine", beside),
    ]
}

/// A part of an experiment of one boot: it takes a second, and `tests/figures` has nothing to say of it.
const PART: &str = "mmbench:group=fault";
/// So many rows it has.
const ROWS: usize = 7;
/// Its file, of a machine that was booted with a choice of ours.
const FILE: &str = "mmbench.group=fault.other.json";
/// With its other value a first read of 2 MiB zeroes a page of its own, and no other path is another one.
const AS_IT_IS: &str = "use_zero_page=1";
const SLOWER: &str = "use_zero_page=0";
const SLOWED: &str = "fault_thp_2m_read_zeropage";

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> std::io::Result<Folder> {
        let folder = qemu::root().join(format!("target/tmp/bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a run of the program printed, and whether its status was 0.
struct Ran {
    text: String,
    success: bool,
}

impl Ran {
    /// The program that `make runner` built, with a kernel, its figures in `folder`, and these variables.
    fn new(kernel: &Boot, folder: &Path, variables: &[(&str, &str)]) -> std::io::Result<Ran> {
        let mut command = Command::new(qemu::root().join("target/debug/quire-bench"));
        for variable in ["CPU", "SMP", "MEM", "EL2", "APPEND", "JOBS", "STRICT", "FIGURES", "TIMEOUT"] {
            command.env_remove(variable);
        }
        command.arg(&kernel.elf).env("FOLDER", folder).envs(variables.iter().copied());
        let output = command.output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Ran { text: String::from_utf8_lossy(&text).into_owned(), success: output.status.success() })
    }

    /// What stands below the line that counts what has moved since the last run; `None` where there is no such line.
    fn moved(&self, same: usize, moved: usize) -> Option<Vec<&str>> {
        let head =
            format!("since the last run: {same} of {ROWS} rows the same, {moved} moved by more than 1 %");
        let mut lines = self.text.lines().skip_while(|line| *line != head);
        lines.next()?;
        Some(lines.take_while(|line| line.starts_with("  ")).collect())
    }

    /// The verdict, with what was printed where it is a bad one.
    fn must(&self, good: bool, sentence: &str) -> Verdict {
        if good { Ok(()) } else { Err(failed(sentence, &self.text)) }
    }
}

/// The figure of a row in the file becomes `times / by` of what it was; returns what it was and is.
fn change(path: &Path, row: &str, times: i64, by: i64) -> Result<(i64, i64), Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let begin = format!("{{\"name\":\"{row}\",\"unit\":\"ns\",\"value\":");
    let at = text.find(&begin).ok_or(format!("{}: no row {row}", path.display()))? + begin.len();
    let rest = &text[at..];
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let was: i64 = rest[..digits].parse()?;
    let is = was * times / by;
    std::fs::write(path, format!("{}{is}{}", &text[..at], &rest[digits..]))?;
    Ok((was, is))
}

/// Two runs of one tree give the same figures, which is no failure. A row that is 5 % more than it was is listed with both
/// figures and by how much, is all that is listed beside one that is half a per cent more, and makes a strict run fail. So
/// does a path that takes longer in truth.
fn listed(harness: &Harness) -> Verdict {
    let folder = Folder::new("listed")?;
    let run = |append| {
        let variables = [("EXPERIMENT", PART), ("STRICT", "1"), ("APPEND", append)];
        Ran::new(&harness.release, &folder.0, &variables)
    };
    let first = run(AS_IT_IS)?;
    first.must(
        first.success && !first.text.contains("since "),
        "a first run has nothing to be held against",
    )?;

    let second = run(AS_IT_IS)?;
    let same = second.moved(ROWS, 0).is_some_and(|lines| lines.is_empty());
    second.must(second.success && same, "two runs of one tree must give the same figures")?;

    let path = folder.0.join(FILE);
    let commits = std::fs::read_to_string(&path)?.starts_with("[\n{\"commits\":[");
    second.must(commits, "the file must name the commits that it is of")?;
    let changed = change(&path, "fault_thp_2m_write", 20, 21)
        .and_then(|five| change(&path, "fault_2m_region_by_4k", 200, 201).map(|_| five));
    let (now, before) = changed.map_err(|why| failed(why, &second.text))?;
    let third = run(AS_IT_IS)?;
    let expected = format!("  {:<48} {before:>12} -> {now:>12} {:>8} %", "fault_thp_2m_write", "+5.0");
    let lines = third.moved(ROWS - 2, 1);
    third.must(lines == Some(vec![&expected]), "only the row that is 5 % more must be listed")?;
    third.must(!third.success, "a row that has moved must fail a strict run")?;

    let slower = run(SLOWER)?;
    let only = slower.text.lines().filter(|line| line.contains(" -> ")).collect::<Vec<_>>();
    let good = matches!(only[..], [line] if line.trim_start().starts_with(SLOWED) && line.contains('+'));
    slower.must(good, "the path that takes longer must be listed, and no other")?;
    slower.must(!slower.success, "a path that takes longer must fail a strict run")
}

/// What takes faults apart boots the kernel that was asked for, as it was asked for: the parts of each fault are what the
/// boot beside it has for the whole. A machine on which that cannot be done is refused in a sentence.
fn beside(harness: &Harness) -> Verdict {
    let folder = Folder::new("beside")?;
    let run = |variable| Ran::new(&harness.checked, &folder.0, &[("EXPERIMENT", "faultparts"), variable]);
    let ran = run(("APPEND", "mapcount=rfc-v2"))?;
    ran.must(ran.success, "faults must come apart on the checked kernel")?;
    let figures = moved::read(&folder.0.join("faultparts.other.json"))?.unwrap_or_default();
    let of = |name: &str| figures.get(name).copied().unwrap_or_default();
    for kind in KINDS {
        let parts = figures
            .iter()
            .filter(|(name, _)| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.')));
        let sum: i64 = parts.map(|(_, value)| value).sum();
        let whole = of(kind) - of("base");
        ran.must(sum == whole && sum > 0, &format!("{kind}: its parts come to {sum}, all of it is {whole}"))?;
    }
    let several = run(("SMP", "2"))?;
    several.must(
        several.text.contains("quire-parts: SMP=2: the instructions of several CPUs"),
        "SMP=2 must be refused",
    )?;
    several.must(!several.success, "what is refused is no success")
}

/// What the environment says of the machine goes over the experiment's file, which is said; boots that are the same then
/// are one; and the figures are held against none of the tree.
fn machine(harness: &Harness) -> Verdict {
    let folder = Folder::new("machine")?;
    let variables = [("EXPERIMENT", "hvo:part=sizes"), ("CPU", "max"), ("SMP", "1"), ("MEM", "512M")];
    let ran = Ran::new(&harness.release, &folder.0, &variables)?;
    ran.must(ran.success, "it must come to its end")?;
    let sentence = "hvo:part=sizes: MEM=512M goes over mem=12G of experiments/hvo.toml";
    ran.must(ran.text.contains(sentence) && !ran.text.contains("since "), "the other machine must be said")?;
    let figures = moved::read(&folder.0.join("hvo.part=sizes.other.json"))?.unwrap_or_default();
    let of_one_cpu = |name: &String| name.split('.').next().is_some_and(|boot| boot.ends_with("-1"));
    ran.must(!figures.is_empty() && figures.keys().all(of_one_cpu), "all boots must have one CPU")?;
    ran.must(
        !folder.0.join("hvo.part=sizes.json").exists(),
        "the figures must not be those of the experiment",
    )
}

/// An experiment that has too little memory says for what, in a line of an error, and its status is that of a failure; it
/// is no list of figures that happens to be shorter.
fn short(harness: &Harness) -> Verdict {
    let rows = [
        ("kernel", "error: there is too little memory to fork a space of 4096 pages"),
        ("thp:way=promotion", "error: promote_512: there is too little memory for its pages"),
        ("hvo:part=lists", "error: memory has no folio of 2 MiB to spare for a list"),
        ("hvo:part=walkers", "error: memory has no folio of 2 MiB to spare for the list"),
    ];
    for (experiment, sentence) in rows {
        let append = format!("hugepages=0 bench={experiment}");
        let options = Options { mem: "16M".to_owned(), append, ..harness.options.clone() };
        let outcome = fleet::run(&options, &harness.release)?;
        let broken = format!("bench: broken {}", experiment.split(':').next().unwrap_or(experiment));
        if !outcome.log.contains(sentence) || !outcome.log.contains(&broken) || outcome.success() {
            return Err(failed(format!("{experiment} must end with `{sentence}`"), &outcome.log));
        }
    }
    Ok(())
}
