//! The test programs that run on both, with their arguments, and those that cannot, with the reason.
//!
//! What they do and which status they end with is in `tests/programs/README.md`.
#![forbid(unsafe_code)]

/// How Linux starts a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// As a child of the first process, which is root.
    Plain,
    /// As the first process of a pid namespace, which it is on Quire.
    First,
    /// As another user than root, and its output into a pipe: who is refused more.
    Nobody,
}

/// One run of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The program and its arguments.
    pub words: &'static str,
    /// Why Linux ends with another status than Quire, where it is meant to.
    pub differs: Option<&'static str>,
    /// How Linux starts it.
    pub start: Start,
}

const fn run(words: &'static str) -> Run {
    Run { words, differs: None, start: Start::Plain }
}

const fn differs(words: &'static str, why: &'static str) -> Run {
    Run { words, differs: Some(why), start: Start::Plain }
}

const fn started(words: &'static str, start: Start) -> Run {
    Run { words, differs: None, start }
}

impl Run {
    /// The program's name.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.words.split(' ').next().unwrap_or(self.words)
    }
}

/// All runs.
pub const RUNS: &[Run] = &[
    run("hello one two"),
    run("walka"),
    run("hugetlb"),
    run("hugesizes"),
    differs("userfault", "a newer Linux has more requests; no source of content there"),
    run("badreads read-null"),
    run("badreads write-text"),
    run("badreads execute-stack"),
    run("badreads jump-misaligned"),
    run("badreads undefined"),
    run("badreads breakpoint"),
    Run {
        differs: Some("a write whose bytes end before its length is cut short there"),
        ..started("badptr", Start::Nobody)
    },
    run("toomuch"),
    run("toomuch touch"),
    run("spin name=1 ms=80"),
    run("tick ticks=5"),
    run("fp name=1 ms=60"),
    run("tls name=1 ms=60"),
    run("mprot"),
    run("mprot write-readonly"),
    run("mprot touch-hole"),
    Run {
        differs: Some("Linux's clone has threads and more, Quire's is a fork"),
        ..started("fork", Start::First)
    },
    run("fork cow"),
    started("fork chain length=20", Start::First),
    Run { differs: Some("a process may write its comm there"), ..started("files", Start::Nobody) },
    run("files pipe"),
    run("settings /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none 0 511"),
    run("promote seed=1"),
    run("collapse"),
    differs("snapshot regions=8", "Linux has no reservations: what was copied comes back later, if at all"),
    differs("shared", "neighbours of a mapping in /proc/self/maps"),
    run("shared beyond"),
    run("shared cut"),
    differs("report", "VmRSS lags behind there; since 7.0 a zombie has no pagemap"),
    run("poison private"),
    run("poison shared"),
];

/// Programs that have rows: they are parts of their own.
pub const WITH_ROWS: [&str; 3] = ["mmbench", "workload", "thpfork"];

/// Programs that are left out.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("devmap", "it maps a device that Quire has in software"),
    ("dma", "it uses a device that Quire has in software"),
    ("faultparts", "its rows are for a count of what Quire executes, function by function"),
    ("postcopy", "its memory comes from a source that Quire's userfaultfd has"),
    ("squeeze", "it needs a machine that is nearly full, which a self-test of Quire makes"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every program of the tree is run, has rows, or is left out with a reason; and nothing else is.
    #[test]
    fn every_program_has_its_place() {
        let folder = crate::root().join("tests/programs");
        let names =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<_> =
            names.filter_map(|name| name.strip_suffix(".c").map(str::to_owned)).collect();
        let placed =
            RUNS.iter().map(Run::program).chain(WITH_ROWS).chain(LEFT_OUT.iter().map(|(name, _)| *name));
        assert_eq!(there, placed.map(str::to_owned).collect());
    }
}
