//! The suites, and the boot of one.

use super::rows::{self, Output};
use crate::artefacts::Boot;
use crate::config::Options;
use crate::error::Error;
use crate::session::{Session, Status};
use std::process::{Command, Stdio};

/// How a suite is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One row a line.
    List,
    /// Rows `a.b.c` as tables.
    Tables,
}

/// When a suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Where nothing is chosen, too.
    Always,
    /// Where it is named: it takes long.
    Named,
}

/// A suite of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// What it is called on both sides.
    pub name: &'static str,
    /// The kernel's name of what is measured, where it is not this one.
    pub rows_of: Option<&'static str>,
    /// The boot choices under which it is measured.
    pub choices: &'static str,
    /// Further boot choices: it is booted with each of them, one after the other. Words `cpu=`, `smp=` and `mem=` among
    /// them are about the machine.
    pub each: &'static [&'static str],
    /// The boot choices under which it is measured once more, to hold each row against.
    pub against: Option<&'static str>,
    /// What may be chosen within it.
    pub parts: &'static [&'static str],
    /// How it is printed.
    pub layout: Layout,
    /// When it runs.
    pub when: When,
    /// A program beside this one that has more rows of the suite, for what the machine cannot be asked.
    pub beside: Option<&'static str>,
}

/// The groups of rows of `mmbench`, by the names that the program has for them.
const MMBENCH: &[&str] = &[
    "base", "syscall", "mmap", "fault", "fork", "cow", "region", "mremap", "collapse", "split", "populate",
    "smaps",
];

/// The values of `mapcount=`.
const SCHEMES: &[&str] = &[
    "rfc-v1",
    "rfc-v1+counted",
    "rfc-v2",
    "thp-like",
    "rfc-v2+vmacount",
    "vma-pt",
    "mm-owner",
    "total-mapped",
];

/// The ways of counting as boot choices.
const EACH_SCHEME: &[&str] = &[
    "mapcount=rfc-v1",
    "mapcount=rfc-v1+counted",
    "mapcount=rfc-v2",
    "mapcount=thp-like",
    "mapcount=rfc-v2+vmacount",
    "mapcount=vma-pt",
    "mapcount=mm-owner",
    "mapcount=total-mapped",
];

/// Collapse of hugetlb pages of 1 GiB that are mapped by 4 KiB, what is said of them, and how many such mappings fit.
const COLLAPSE: &[&str] = &["collapse", "consumers", "overflow"];

/// Ways of using memory, and the roads to one huge page.
const THP: &[&str] = &["promotion", "sequential", "dense", "random", "sparse", "grow", "short", "snapshot"];

/// What entries that are smaller than a hugetlb page are good for.
const HGM: &[&str] = &["postcopy"];

/// Struct pages of hugetlb pages given back and had again, and pools with that and without.
const HVO: &[&str] = &["lists", "sizes", "walkers"];
const HVO_POOLS: &[&str] = &["upstream"];

/// Each strategy on 1 to 8 CPUs; those that can do with tails that lead to their head by its address; and those that
/// need no FEAT_BBM, on a CPU without it.
const EACH_STRATEGY: &[&str] = &[
    "cpu=max smp=1 hvo=alias",
    "cpu=max smp=2 hvo=alias",
    "cpu=max smp=4 hvo=alias",
    "cpu=max smp=8 hvo=alias",
    "cpu=max smp=1 hvo=bbml2",
    "cpu=max smp=2 hvo=bbml2",
    "cpu=max smp=4 hvo=bbml2",
    "cpu=max smp=8 hvo=bbml2",
    "cpu=max smp=1 hvo=pause",
    "cpu=max smp=2 hvo=pause",
    "cpu=max smp=4 hvo=pause",
    "cpu=max smp=8 hvo=pause",
    "cpu=max smp=1 hvo=stop-machine",
    "cpu=max smp=2 hvo=stop-machine",
    "cpu=max smp=4 hvo=stop-machine",
    "cpu=max smp=8 hvo=stop-machine",
    "cpu=max smp=1 hvo=fault",
    "cpu=max smp=2 hvo=fault",
    "cpu=max smp=4 hvo=fault",
    "cpu=max smp=8 hvo=fault",
    "cpu=max smp=4 hvo=bbml2 tails=pointer",
    "cpu=max smp=4 hvo=pause tails=pointer",
    "cpu=max smp=4 hvo=stop-machine tails=pointer",
    "cpu=max smp=4 hvo=fault tails=pointer",
    "cpu=cortex-a72 smp=4 hvo=alias vmemmap=pte",
    "cpu=cortex-a72 smp=4 hvo=alias",
    "cpu=cortex-a72 smp=4 hvo=pause",
    "cpu=cortex-a72 smp=4 hvo=stop-machine",
    "cpu=cortex-a72 smp=4 hvo=fault",
];

/// Each strategy beside another CPU.
const EACH_POOL: &[&str] = &[
    "cpu=max smp=2 hvo=alias",
    "cpu=max smp=2 hvo=bbml2",
    "cpu=max smp=2 hvo=pause",
    "cpu=max smp=2 hvo=stop-machine",
    "cpu=max smp=2 hvo=fault",
];

/// Pages that a child of `thpfork` touches in each 2 MiB, and policies.
const THPFORK: &[&str] = &[
    "1",
    "-64",
    "-128",
    "-512",
    "never",
    "always",
    "underused",
    "defer",
    "reserve",
    "reserve-lru",
    "reserve-sync",
    "reserve-64",
    "full",
];

/// A suite as most are.
const PLAIN: Suite = Suite {
    name: "",
    rows_of: None,
    choices: "",
    each: &[""],
    against: None,
    parts: &[],
    layout: Layout::List,
    when: When::Always,
    beside: None,
};

/// As Linux was set: huge pages at the first touch, and a hugetlb pool.
const AS_LINUX: &str = "thp=always hugepages=64";

/// Every suite. `threshold` shows that a reservation that is promoted at its first page costs what a huge page at the
/// first touch does. Atomic operations and lines that `mapcount` counts are counted on the model.
pub const SUITES: [Suite; 10] = [
    Suite { name: "mmbench", choices: AS_LINUX, parts: MMBENCH, ..PLAIN },
    Suite {
        name: "threshold",
        rows_of: Some("mmbench"),
        choices: "thp=reserve promotion_threshold=1 hugepages=64",
        against: Some(AS_LINUX),
        parts: MMBENCH,
        ..PLAIN
    },
    Suite { name: "kernel", ..PLAIN },
    Suite { name: "mapcount", parts: SCHEMES, beside: Some("counts"), ..PLAIN },
    Suite { name: "hgm", parts: HGM, layout: Layout::Tables, ..PLAIN },
    Suite {
        name: "collapse",
        // One way of counting writes where HVO maps read-only.
        choices: "hvo=off",
        each: EACH_SCHEME,
        parts: COLLAPSE,
        layout: Layout::Tables,
        ..PLAIN
    },
    Suite {
        name: "hvo",
        // 4096 pages of 2 MiB; none is optimised at boot.
        choices: "mem=12G hugepages=0",
        each: EACH_STRATEGY,
        parts: HVO,
        layout: Layout::Tables,
        when: When::Named,
        ..PLAIN
    },
    Suite {
        name: "hvopools",
        choices: "mem=16G hugepages=0",
        each: EACH_POOL,
        parts: HVO_POOLS,
        layout: Layout::Tables,
        when: When::Named,
        ..PLAIN
    },
    Suite { name: "thp", parts: THP, layout: Layout::Tables, ..PLAIN },
    Suite { name: "thpfork", parts: THPFORK, when: When::Named, ..PLAIN },
];

/// A suite, and what is chosen within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The suite.
    pub suite: Suite,
    /// `name`, or `name:word:word` for a part of it.
    pub argument: String,
}

impl Chosen {
    /// Whether all of the suite is run.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.argument == self.suite.name
    }

    /// The name that the kernel has for the suite.
    fn rows_of(&self) -> &'static str {
        self.suite.rows_of.unwrap_or(self.suite.name)
    }

    /// What the kernel is asked for.
    fn asked(&self) -> String {
        self.argument.replacen(self.suite.name, self.rows_of(), 1)
    }
}

/// The suites that `words` name, each `name` or `name:word:word`; where there are no words, all that run
/// [`When::Always`].
///
/// # Errors
/// A sentence that names the word that is no suite, or no part of it, and those that there are.
pub fn choose(words: &str) -> Result<Vec<Chosen>, String> {
    let unasked = SUITES.into_iter().filter(|suite| suite.when == When::Always);
    let all = || unasked.map(|suite| Chosen { suite, argument: suite.name.to_owned() }).collect();
    let chosen: Result<Vec<_>, _> = words.split_whitespace().map(choose_one).collect();
    chosen.map(|chosen| if chosen.is_empty() { all() } else { chosen })
}

fn choose_one(word: &str) -> Result<Chosen, String> {
    let mut words = word.split(':');
    let name = words.next().unwrap_or(word);
    let Some(suite) = SUITES.into_iter().find(|suite| suite.name == name) else {
        let names = SUITES.map(|suite| suite.name).join(", ");
        return Err(format!("there is no suite `{name}`; there are {names}"));
    };
    match words.find(|word| !suite.parts.contains(word)) {
        None => Ok(Chosen { suite, argument: word.to_owned() }),
        Some(word) if suite.parts.is_empty() => Err(format!("`{name}` has no parts, so no `{word}`")),
        Some(word) => Err(format!("`{name}` has no part `{word}`; its parts are {}", suite.parts.join(", "))),
    }
}

/// What a boot gave.
#[derive(Debug)]
pub struct Measured {
    /// The rows.
    pub output: Output,
    /// How the machine ended.
    pub status: Status,
    /// All that it wrote.
    pub log: String,
}

/// Boots the machine with `choices`, those of the suite or what it is held against, runs the suite, and reads what it
/// printed.
///
/// # Errors
/// As for [`Session::boot`] and [`Session::finish_unless`].
pub fn measure(
    options: &Options,
    boot: &Boot,
    chosen: &Chosen,
    choices: &str,
    mut give_up: impl FnMut() -> bool,
) -> Result<Measured, Error> {
    let mut each = chosen.suite.each.iter();
    let first = each.next().copied().unwrap_or("");
    let mut boot_with =
        |each: &str| boot_once(options, boot, chosen, &format!("{choices} {each}"), &mut give_up);
    let mut all = boot_with(first)?;
    for each in each {
        if all.status != Status::Exited(0) {
            break;
        }
        all = boot_with(each)?.after(all);
    }
    if let Some(program) = chosen.suite.beside {
        all.output.append(beside(program, chosen)?);
    }
    Ok(all)
}

fn boot_once(
    options: &Options,
    boot: &Boot,
    chosen: &Chosen,
    choices: &str,
    give_up: impl FnMut() -> bool,
) -> Result<Measured, Error> {
    let mut options = options.clone();
    let choices = set_machine(&mut options, choices);
    // A choice that is given twice counts as the last: what the environment asks for goes over the suite's.
    options.append = format!("{choices} {} bench={}", options.append, chosen.asked());
    let outcome = Session::boot(&options, boot)?.finish_unless(give_up)?;
    let output = rows::read(&outcome.log, chosen.rows_of());
    Ok(Measured { output, status: outcome.status, log: outcome.log })
}

/// Sets the machine as the words say that are about it; returns the others, which are for the kernel.
fn set_machine(options: &mut Options, choices: &str) -> String {
    let mut others = Vec::new();
    for word in choices.split_whitespace() {
        match word.split_once('=') {
            Some(("cpu", cpu)) => cpu.clone_into(&mut options.cpu),
            Some(("mem", mem)) => mem.clone_into(&mut options.mem),
            Some(("smp", smp)) => options.smp = smp.parse().unwrap_or(options.smp),
            _ => others.push(word),
        }
    }
    others.join(" ")
}

impl Measured {
    /// What this boot gave, and those before it. They ended well.
    fn after(self, before: Measured) -> Measured {
        let Measured { mut output, log, .. } = before;
        output.append(self.output);
        Measured { output, status: self.status, log: log + &self.log }
    }
}

/// The rows of the program beside this one, of the same part of the suite.
fn beside(program: &str, chosen: &Chosen) -> Result<Output, Error> {
    let path = std::env::current_exe()?.with_file_name(program);
    let words = chosen.argument.split(':').skip(1);
    let ran = Command::new(&path).args(words).stderr(Stdio::inherit()).output();
    let ran = ran.map_err(|error| Error::Start(path.display().to_string(), error))?;
    Ok(rows::read(&String::from_utf8_lossy(&ran.stdout), chosen.suite.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of `mmbench` are the names in the program's own list, and those of `mapcount` are its boot choices.
    #[test]
    fn parts_are_those_of_the_programs() {
        let read = |path: &str| std::fs::read_to_string(crate::root().join(path)).unwrap();
        let program = read("tests/programs/mmbench.c");
        let list = program.split("} tests[] = {").nth(1).and_then(|rest| rest.split("};").next()).unwrap();
        assert_eq!(list.split('"').skip(1).step_by(2).collect::<Vec<_>>(), MMBENCH);
        let config = read("mm/src/config.rs");
        let list = config
            .split("Mapcount, \"mapcount\" {")
            .nth(1)
            .and_then(|rest| rest.split("\n}").next())
            .unwrap();
        assert_eq!(list.split('"').skip(1).step_by(2).collect::<Vec<_>>(), SCHEMES);
    }

    /// Words about the machine change it and are not the kernel's; those of the suites can be read.
    #[test]
    fn words_about_the_machine() {
        let mut options = Options::for_bench().unwrap();
        let others = set_machine(&mut options, "mem=12G hugepages=0 cpu=max smp=4 hvo=alias");
        assert_eq!((options.mem.as_str(), options.cpu.as_str(), options.smp), ("12G", "max", 4));
        assert_eq!(others, "hugepages=0 hvo=alias");
        for word in SUITES.iter().flat_map(|suite| suite.each).flat_map(|each| each.split_whitespace()) {
            let cpus = word.strip_prefix("smp=").map_or(Ok(1), str::parse::<u32>);
            assert!(cpus.is_ok_and(|cpus| (1..=8).contains(&cpus)), "{word}");
        }
    }

    /// Nothing is everything; a part of a suite is not whole; what is no suite is named.
    #[test]
    fn choices() {
        let names =
            |words| choose(words).map(|all| all.iter().map(|one| one.argument.clone()).collect::<Vec<_>>());
        assert_eq!(
            names(" ").unwrap(),
            ["mmbench", "threshold", "kernel", "mapcount", "hgm", "collapse", "thp"]
        );
        assert_eq!(names("thpfork:-64").unwrap(), ["thpfork:-64"]);
        assert_eq!(names("thpfork:-64:reserve-lru").unwrap(), ["thpfork:-64:reserve-lru"]);
        assert_eq!(names("kernel mmbench:fault:cow").unwrap(), ["kernel", "mmbench:fault:cow"]);
        assert!(names("kernel nothing:x").unwrap_err().contains("`nothing`"));
        assert!(names("mmbench:fault:nosuch").unwrap_err().contains("no part `nosuch`; its parts are base"));
        assert!(names("mmbench:fault_2m").is_err() && names("mmbench:").is_err());
        assert!(names("kernel:hvo").unwrap_err().contains("has no parts"));
        let part = &choose("mmbench:fault").unwrap()[0];
        assert!(!part.is_whole() && choose("mmbench").unwrap()[0].is_whole());
        assert_eq!((part.rows_of(), part.asked().as_str()), ("mmbench", "mmbench:fault"));
        let part = &choose("threshold:fault").unwrap()[0];
        assert_eq!((part.rows_of(), part.asked().as_str()), ("mmbench", "mmbench:fault"));
    }
}
