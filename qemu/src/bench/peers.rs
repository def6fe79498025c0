//! The figures of Linux, the machine on which they were measured, and the goals: `tests/peers/*.toml`.

use crate::artefacts::root;
use crate::config::{Entry, Options};
use crate::error::Error;
use crate::linux::script::LEAN;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The boot arguments of the configuration that the figures call `default`.
const WITHOUT_MITIGATIONS: &str = "mitigations=off";

/// What Linux has in one row: guest instructions for one operation, or how many children fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linux {
    /// 6.1, without mitigations, zeroing at allocation and memory cgroups.
    pub linux_6_1: Option<i64>,
    /// 7.2, the same.
    pub linux_7_2: i64,
    /// 7.2, without mitigations only.
    pub linux_7_2_default: Option<i64>,
}

/// A row of `mmbench`: 6.1, 7.2, 7.2 without mitigations only.
#[derive(Deserialize)]
struct Instructions(i64, i64, i64);

impl From<Instructions> for Linux {
    fn from(Instructions(of_6_1, linux_7_2, default): Instructions) -> Linux {
        Linux { linux_6_1: Some(of_6_1), linux_7_2, linux_7_2_default: Some(default) }
    }
}

/// A row of `thpfork`.
#[derive(Deserialize)]
struct Children {
    linux_6_1: Option<i64>,
    linux_7_2: i64,
}

impl From<Children> for Linux {
    fn from(Children { linux_6_1, linux_7_2 }: Children) -> Linux {
        Linux { linux_6_1, linux_7_2, linux_7_2_default: None }
    }
}

/// The machine on which Linux was measured; the words are those of `qemu/machine.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Machine {
    qemu: String,
    machine: String,
    cpu: String,
    cpu_options: String,
    smp: u32,
    mem: String,
    icount: String,
}

/// The kernels that were measured.
#[derive(Debug, Deserialize)]
struct Versions {
    linux_6_1: String,
    linux_7_2: String,
}

#[derive(Deserialize)]
struct PeersFile {
    versions: Versions,
    machine: Machine,
    mmbench: BTreeMap<String, Instructions>,
    thpfork: BTreeMap<String, Children>,
}

type Rows = BTreeMap<String, Linux>;

fn rows<R: Into<Linux>>(rows: BTreeMap<String, R>) -> Rows {
    rows.into_iter().map(|(name, row)| (name, row.into())).collect()
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
    /// Of other experiments, by their name.
    rows: BTreeMap<String, BTreeMap<String, i64>>,
    beside: BTreeMap<String, BTreeMap<String, Beside>>,
    /// By operation on a pool, of 1000 without HVO.
    upstream: BTreeMap<String, i64>,
}

/// At most so many per cent of another row of the experiment.
#[derive(Debug, Deserialize)]
struct Beside {
    row: String,
    per_cent: i64,
}

/// All of it.
#[derive(Debug)]
pub struct Peers {
    versions: Versions,
    machine: Machine,
    /// By experiment.
    rows: BTreeMap<&'static str, Rows>,
    goals: GoalsFile,
}

impl Peers {
    /// The files of the tree.
    ///
    /// # Errors
    /// [`Error::File`], with what the file's syntax misses.
    pub fn load() -> Result<Peers, Error> {
        let (peers, goals) = (read("linux-arm64.toml")?, read("goals.toml")?);
        let PeersFile { versions, machine, mmbench, thpfork } = peers;
        let rows = BTreeMap::from([("mmbench", rows(mmbench)), ("thpfork", rows(thpfork))]);
        Ok(Peers { versions, machine, rows, goals })
    }

    /// What Linux has for `row` of `experiment`, where it was measured.
    #[must_use]
    pub fn linux(&self, experiment: &str, row: &str) -> Option<Linux> {
        self.rows.get(experiment)?.get(row).copied()
    }

    /// What of a row is about Linux `version` with the boot arguments `arguments`; `None` where that was not measured.
    #[must_use]
    pub fn column(&self, version: &str, arguments: &str) -> Option<fn(Linux) -> Option<i64>> {
        let (is_6_1, is_7_2) = (version == self.versions.linux_6_1, version == self.versions.linux_7_2);
        match arguments {
            LEAN if is_6_1 => Some(|linux| linux.linux_6_1),
            LEAN if is_7_2 => Some(|linux| Some(linux.linux_7_2)),
            WITHOUT_MITIGATIONS if is_7_2 => Some(|linux| linux.linux_7_2_default),
            _ => None,
        }
    }

    /// The most that `row` of `experiment` shall cost, where it has a goal; `figure` says what its other rows do.
    #[must_use]
    pub fn goal(&self, experiment: &str, row: &str, figure: impl Fn(&str) -> Option<i64>) -> Option<i64> {
        if let Some(&most) = self.goals.rows.get(experiment).and_then(|rows| rows.get(row)) {
            return Some(most);
        }
        if let Some(beside) = self.goals.beside.get(experiment).and_then(|rows| rows.get(row)) {
            return Some(figure(&beside.row)? * beside.per_cent / 100);
        }
        let has_goal = experiment == "mmbench" && !self.goals.no_goal.iter().any(|name| name == row);
        let linux = self.linux(experiment, row).filter(|_| has_goal)?;
        let share = linux.linux_7_2 / self.goals.linux_7_2_divided_by.max(1);
        let asked_for = self.goals.at_most.get(row).map(|most| most.cost * most.units);
        Some(asked_for.map_or(share, |cost| cost.min(share)))
    }

    /// The version of QEMU under which Linux was measured.
    #[must_use]
    pub fn qemu(&self) -> &str {
        &self.machine.qemu
    }

    /// What HVO makes of an operation on a pool in the best series for Linux, of 1000 without it.
    #[must_use]
    pub fn upstream(&self, operation: &str) -> Option<i64> {
        self.goals.upstream.get(operation).copied()
    }

    /// The rows of Linux for `experiment`.
    pub fn names(&self, experiment: &str) -> impl Iterator<Item = &str> {
        self.rows.get(experiment).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// In what `options` are another machine than that of Linux, or boot otherwise; `None` if they are the same.
    #[must_use]
    pub fn other_machine(&self, options: &Options) -> Option<String> {
        let theirs = &self.machine;
        // QEMU takes the last that it is given, so there must be one.
        let counts = options.args.windows(2).filter(|pair| pair[0] == "-icount").map(|pair| pair[1].as_str());
        let icount = counts.collect::<Vec<_>>().join(" ");
        let entry = if options.entry == Entry::El2 { "on" } else { "off" };
        [
            ("machine", options.machine.as_str(), theirs.machine.as_str()),
            ("cpu", &options.cpu, &theirs.cpu),
            ("cpu_options", &options.cpu_options, &theirs.cpu_options),
            ("smp", &options.smp.to_string(), &theirs.smp.to_string()),
            ("mem", &options.mem, &theirs.mem),
            ("-icount", &icount, &theirs.icount),
            ("el2", entry, "off"),
            ("the list of boot choices", options.append.trim(), ""),
        ]
        .iter()
        .find(|(_, ours, theirs)| ours != theirs)
        .map(|(key, ours, theirs)| {
            let theirs = if theirs.is_empty() { "none".to_owned() } else { format!("`{theirs}`") };
            format!("{key} is `{ours}`, Linux had {theirs}")
        })
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
        let linux = Linux { linux_6_1: Some(2087), linux_7_2: 2893, linux_7_2_default: Some(3415) };
        assert_eq!(peers.linux("mmbench", "fault_4k_write"), Some(linux));
        let children = Linux { linux_6_1: None, linux_7_2: 16, linux_7_2_default: None };
        assert_eq!(peers.linux("thpfork", "always.-128"), Some(children));
        assert_eq!(peers.linux("kernel", "fault_4k_write"), None);
        for row in peers.goals.at_most.keys().chain(&peers.goals.no_goal) {
            assert!(peers.linux("mmbench", row).is_some(), "{row} is not measured on Linux");
        }
    }

    /// A goal is a third of Linux 7.2, or what is asked for where that is less; the processor itself has none.
    #[test]
    fn goals() {
        let peers = Peers::load().unwrap();
        let goal = |experiment, row| peers.goal(experiment, row, |_| Some(1000));
        assert_eq!(goal("mmbench", "mmap_64m_empty"), Some(4271 / 3));
        assert_eq!(goal("mmbench", "fault_4k_write"), Some(900));
        assert_eq!(goal("mmbench", "cow_4k_child_first_write"), Some(3442 / 3));
        assert_eq!(goal("mmbench", "munmap_4k_64m"), Some(150 * 16384));
        assert_eq!(goal("mmbench", "base_counter"), None);
        assert_eq!((goal("kernel", "alloc_free_4k"), goal("thpfork", "never.1")), (None, None));
        assert_eq!(goal("hvopools", "alias-mask-bbm2-pmd-2.demote.permille"), Some(1250));
        let (experiment, row) = ("hvo", "alias-mask-bbm2-pmd-8.optimise_512.ns");
        assert_eq!(goal(experiment, row), Some(1010));
        assert_eq!(peers.goal(experiment, row, |_| None), None);
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
            "the list of boot choices is `thp=never`, Linux had none"
        );
        options.append.clear();
        options.args.extend(["-icount", "shift=1"].map(str::to_owned));
        assert!(peers.other_machine(&options).unwrap().starts_with("-icount is `shift=0,sleep=off shift=1`"));
    }
}
