//! What the test programs ended with, on both.
#![forbid(unsafe_code)]

use super::programs::Run;
use serde::Serialize;
use std::fmt;

/// How one run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// As a shell counts; none where the machine ended first.
    pub status: Option<i64>,
    /// Its closing line, of checks and failures.
    pub said: Option<String>,
}

/// Reads what Linux wrote: for each of `runs` what stands between its marks.
#[must_use]
pub fn of_linux(log: &str, runs: &[Run]) -> Vec<Ended> {
    let begins = |line: &str, run: &Run| line.strip_prefix("program: begin ") == Some(run.words);
    let status = |line: &str| line.strip_prefix("program: status ")?.parse().ok();
    read(log, runs, begins, status)
}

/// Reads what Quire wrote: for each of `runs` what stands behind the command that started it.
#[must_use]
pub fn of_quire(log: &str, runs: &[Run]) -> Vec<Ended> {
    let begins =
        |line: &str, run: &Run| line.split_once("> run ").is_some_and(|(_, words)| words == run.words);
    let status = |line: &str| {
        let (_, end) = line.strip_prefix("process ")?.split_once("): ")?;
        let killed = end.split_once("(status ").and_then(|(_, rest)| rest.strip_suffix(')'));
        end.strip_prefix("exit status ").or(killed)?.parse().ok()
    };
    read(log, runs, begins, status)
}

fn read(
    log: &str,
    runs: &[Run],
    begins: impl Fn(&str, &Run) -> bool,
    status: impl Fn(&str) -> Option<i64>,
) -> Vec<Ended> {
    let mut lines = log.lines().map(str::trim);
    let mut one = |run: &Run| {
        let mut ended = Ended::default();
        if !lines.by_ref().any(|line| begins(line, run)) {
            return ended;
        }
        for line in lines.by_ref() {
            if let Some(status) = status(line) {
                ended.status = Some(status);
                break;
            }
            if let Some(text) = line.strip_prefix(run.program()).and_then(|rest| rest.strip_prefix(": "))
                && text.contains(" checks, ")
            {
                ended.said = Some(text.to_owned());
            }
        }
        ended
    };
    runs.iter().map(&mut one).collect()
}

/// One run on both; an object of the JSON list.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Pair {
    /// The program and its arguments.
    pub run: &'static str,
    /// The status on Linux.
    pub linux: Option<i64>,
    /// The status on Quire.
    pub quire: Option<i64>,
    /// Whether they are what they should be: the same, or different where that is meant.
    pub agrees: bool,
    /// Why they are meant to differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<&'static str>,
    /// What the program said at its end on Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux_said: Option<String>,
    /// And on Quire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quire_said: Option<String>,
}

/// Every run on both.
#[derive(Debug)]
pub struct Statuses {
    /// In the order of the plan.
    pub pairs: Vec<Pair>,
}

impl Statuses {
    /// Holds both logs against each other.
    #[must_use]
    pub fn new(runs: &[Run], linux: &str, quire: &str) -> Statuses {
        let both = of_linux(linux, runs).into_iter().zip(of_quire(quire, runs));
        let pairs = runs.iter().zip(both).map(|(run, (linux, quire))| Pair {
            run: run.words,
            agrees: match (linux.status, quire.status) {
                (Some(linux), Some(quire)) => linux == quire || run.differs.is_some(),
                _ => false,
            },
            linux: linux.status,
            quire: quire.status,
            differs: run.differs,
            linux_said: linux.said,
            quire_said: quire.said,
        });
        Statuses { pairs: pairs.collect() }
    }

    /// The JSON list, one object a line.
    ///
    /// # Panics
    /// Never: every field can be written.
    #[must_use]
    pub fn json(&self) -> String {
        let objects = self.pairs.iter().map(|pair| serde_json::to_string(pair).expect("numbers and strings"));
        format!("[\n{}\n]\n", objects.collect::<Vec<_>>().join(",\n"))
    }

    /// Runs that do not end as they should.
    #[must_use]
    pub fn disagreements(&self) -> usize {
        self.pairs.iter().filter(|pair| !pair.agrees).count()
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40} {:>7} {:>7}  checks", "program: status", "Linux", "Quire")?;
        for pair in &self.pairs {
            let status = |status: Option<i64>| status.map_or("-".to_owned(), |status| status.to_string());
            // The path of a setting is long, and its end says which one it is.
            let from = pair.run.char_indices().rev().nth(39).map_or(0, |(at, _)| at);
            write!(f, "{:<40} {:>7} {:>7}", &pair.run[from..], status(pair.linux), status(pair.quire))?;
            match (&pair.linux_said, &pair.quire_said) {
                (Some(linux), Some(quire)) if linux != quire => write!(f, "  {linux}; Quire: {quire}")?,
                (Some(said), _) | (_, Some(said)) => write!(f, "  {said}")?,
                _ => {}
            }
            match (pair.agrees, pair.differs) {
                (false, _) => writeln!(f, "  DIFFERS")?,
                (true, Some(why)) if pair.linux != pair.quire => writeln!(f, "  {why}")?,
                _ => writeln!(f)?,
            }
        }
        let (all, unmeant) = (self.pairs.len(), self.disagreements());
        let unlike = self.pairs.iter().filter(|pair| pair.linux != pair.quire).count();
        writeln!(
            f,
            "programs: {all} runs, {unlike} end otherwise than on Linux, {unmeant} of them unexpectedly"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::programs::RUNS;
    use super::*;

    fn runs(words: &[&str]) -> Vec<Run> {
        words.iter().map(|words| *RUNS.iter().find(|run| run.words == *words).unwrap()).collect()
    }

    const LINUX: &str = "program: begin hello one two\r\nhello: 16 checks, 0 failed\r\nprogram: status 0\r\n\
        program: begin badreads read-null\r\nbadreads: read-null\r\nSegmentation fault\r\nprogram: status 139\r\n\
        program: begin snapshot regions=8\r\nsnapshot: 3 checks, 2 failed\r\nprogram: status 2\r\n";
    const QUIRE: &str = "quire> run hello one two\nhello: 16 checks, 0 failed\nprocess 1 (hello): exit status 0\n\
        quire> run badreads read-null\nprocess 13 (badreads): SIGSEGV at pc 0x400328: user read\n\
        process 13 (badreads): killed by SIGSEGV (status 139)\nquire> run snapshot regions=8\n\
        snapshot: 3 checks, 0 failed\nprocess 14 (snapshot): exit status 0\nquire> poweroff\n";
    const WORDS: [&str; 3] = ["hello one two", "badreads read-null", "snapshot regions=8"];

    /// Statuses by exit and by signal, with the closing line; a status that is meant to differ does not count.
    #[test]
    fn both_logs() {
        let statuses = Statuses::new(&runs(&WORDS), LINUX, QUIRE);
        let seen: Vec<_> = statuses.pairs.iter().map(|pair| (pair.linux, pair.quire, pair.agrees)).collect();
        assert_eq!(seen, [(Some(0), Some(0), true), (Some(139), Some(139), true), (Some(2), Some(0), true)]);
        assert_eq!(statuses.pairs[0].linux_said.as_deref(), Some("16 checks, 0 failed"));
        let text = statuses.to_string();
        assert!(text.contains("3 checks, 2 failed; Quire: 3 checks, 0 failed  Linux has no"), "{text}");
        assert!(
            text.ends_with("programs: 3 runs, 1 end otherwise than on Linux, 0 of them unexpectedly\n"),
            "{text}"
        );
        let list: serde_json::Value = serde_json::from_str(&statuses.json()).unwrap();
        assert_eq!((list[1]["linux"].as_i64(), list[1]["agrees"].as_bool()), (Some(139), Some(true)));
    }

    /// A status that differs, and a machine that ended before the program, are both disagreements.
    #[test]
    fn what_differs() {
        let other = QUIRE.replace("exit status 0", "exit status 7");
        let statuses = Statuses::new(&runs(&WORDS), LINUX, &other);
        assert_eq!(statuses.disagreements(), 1);
        assert!(statuses.to_string().contains("  DIFFERS\n"));
        let cut = &LINUX[..LINUX.find("program: status 139").unwrap()];
        let statuses = Statuses::new(&runs(&WORDS), cut, QUIRE);
        assert_eq!((statuses.disagreements(), statuses.pairs[1].linux), (2, None));
    }
}
