//! The figures of Linux, the machine on which they were measured, and the goals: `tests/peers/*.toml`.

use crate::artefacts::root;
use crate::config::{Entry, Options};
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What Linux needs for one operation, in guest instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "(i64, i64, i64)")]
pub struct Linux {
    /// 6.1, without mitigations, zeroing at allocation and memory cgroups.
    pub linux_6_1: i64,
    /// 7.2, the same.
    pub linux_7_2: i64,
    /// 7.2, without mitigations only.
    pub linux_7_2_default: i64,
}

impl From<(i64, i64, i64)> for Linux {
    fn from((linux_6_1, linux_7_2, linux_7_2_default): (i64, i64, i64)) -> Linux {
        Linux { linux_6_1, linux_7_2, linux_7_2_default }
    }
}

/// The machine on which Linux was measured; the words are those of `qemu/machine.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Machine {
    machine: String,
    cpu: String,
    cpu_options: String,
    smp: u32,
    mem: String,
    icount: String,
}

#[derive(Debug, Deserialize)]
struct PeersFile {
    machine: Machine,
    mmbench: BTreeMap<String, Linux>,
}

/// A number of instructions for each of some units.
#[derive(Clone, Copy, Debug, Deserialize)]
struct AtMost {
    cost: i64,
    #[serde(default = "one")]
    units: i64,
}

fn one() -> i64 {
    1
}

#[derive(Debug, Deserialize)]
struct GoalsFile {
    linux_7_2_divided_by: i64,
    no_goal: Vec<String>,
    at_most: BTreeMap<String, AtMost>,
}

/// All of it.
#[derive(Debug)]
pub struct Peers {
    machine: Machine,
    rows: BTreeMap<String, Linux>,
    goals: GoalsFile,
}

impl Peers {
    /// The files of the tree.
    ///
    /// # Errors
    /// [`Error::File`], with what the file's syntax misses.
    pub fn load() -> Result<Peers, Error> {
        let (peers, goals) = (read("linux-arm64.toml")?, read("goals.toml")?);
        let PeersFile { machine, mmbench: rows } = peers;
        Ok(Peers { machine, rows, goals })
    }

    /// What Linux needs for `row` of `suite`, where it was measured.
    #[must_use]
    pub fn linux(&self, suite: &str, row: &str) -> Option<Linux> {
        self.rows.get(row).copied().filter(|_| suite == "mmbench")
    }

    /// The most that `row` of `suite` shall cost.
    #[must_use]
    pub fn goal(&self, suite: &str, row: &str) -> Option<i64> {
        let linux = self.linux(suite, row).filter(|_| !self.goals.no_goal.iter().any(|name| name == row))?;
        let share = linux.linux_7_2 / self.goals.linux_7_2_divided_by.max(1);
        let asked_for = self.goals.at_most.get(row).map(|most| most.cost * most.units);
        Some(asked_for.map_or(share, |cost| cost.min(share)))
    }

    /// The rows of Linux for `suite`.
    pub fn names(&self, suite: &str) -> impl Iterator<Item = &str> {
        let suite = suite.to_owned();
        self.rows.keys().map(String::as_str).filter(move |_| suite == "mmbench")
    }

    /// In what `options` are another machine than that of Linux, or boot otherwise; `None` if they are the same.
    #[must_use]
    pub fn other_machine(&self, options: &Options) -> Option<String> {
        let theirs = &self.machine;
        let icount =
            options.args.iter().position(|arg| arg == "-icount").and_then(|at| options.args.get(at + 1));
        let entry = if options.entry == Entry::El2 { "on" } else { "off" };
        [
            ("machine", options.machine.as_str(), theirs.machine.as_str()),
            ("cpu", &options.cpu, &theirs.cpu),
            ("cpu_options", &options.cpu_options, &theirs.cpu_options),
            ("smp", &options.smp.to_string(), &theirs.smp.to_string()),
            ("mem", &options.mem, &theirs.mem),
            ("-icount", icount.map_or("", String::as_str), &theirs.icount),
            ("el2", entry, "off"),
            ("the list of boot choices", options.append.trim(), ""),
        ]
        .iter()
        .find(|(_, ours, theirs)| ours != theirs)
        .map(|(key, ours, theirs)| format!("{key} is `{ours}`, Linux had `{theirs}`"))
    }
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> Result<T, Error> {
    let path = root().join("tests/peers").join(name);
    let text = std::fs::read_to_string(&path).map_err(Error::file(&path))?;
    toml::from_str(&text).map_err(std::io::Error::other).map_err(Error::file(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of the tree can be read; every goal and every exception is about a row of Linux.
    #[test]
    fn the_files_of_the_tree() {
        let peers = Peers::load().unwrap();
        assert_eq!(peers.names("mmbench").count(), 67);
        assert_eq!(peers.names("kernel").count(), 0);
        let linux = Linux { linux_6_1: 2087, linux_7_2: 2893, linux_7_2_default: 3415 };
        assert_eq!(peers.linux("mmbench", "fault_4k_write"), Some(linux));
        assert_eq!(peers.linux("kernel", "fault_4k_write"), None);
        for row in peers.goals.at_most.keys().chain(&peers.goals.no_goal) {
            assert!(peers.rows.contains_key(row), "{row} is not measured on Linux");
        }
    }

    /// A goal is a third of Linux 7.2, or what is asked for where that is less; the processor itself has none.
    #[test]
    fn goals() {
        let peers = Peers::load().unwrap();
        assert_eq!(peers.goal("mmbench", "mmap_64m_empty"), Some(4271 / 3));
        assert_eq!(peers.goal("mmbench", "fault_4k_write"), Some(900));
        assert_eq!(peers.goal("mmbench", "cow_4k_child_first_write"), Some(3442 / 3));
        assert_eq!(peers.goal("mmbench", "munmap_4k_64m"), Some(150 * 16384));
        assert_eq!(peers.goal("mmbench", "base_counter"), None);
        assert_eq!(peers.goal("kernel", "alloc_free_4k"), None);
    }

    /// The machine of `make bench` is that of Linux; one option that differs is named.
    #[test]
    fn machines_are_compared() {
        let peers = Peers::load().unwrap();
        let mut options = Options::for_bench().unwrap();
        assert_eq!(peers.other_machine(&options), None);
        options.mem = "512M".to_owned();
        assert_eq!(peers.other_machine(&options).unwrap(), "mem is `512M`, Linux had `4G`");
        options.mem = "4G".to_owned();
        options.append = "thp=never".to_owned();
        assert_eq!(
            peers.other_machine(&options).unwrap(),
            "the list of boot choices is `thp=never`, Linux had ``"
        );
    }
}
