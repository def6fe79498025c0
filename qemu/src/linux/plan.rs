//! What is run on both: parts, each with a boot of its own, or several.
//!
//! | word of `ONLY=` | part |
//! |---|---|
//! | `mmbench`, `mmbench:fault:cow` | what each operation costs, or groups of it |
//! | `workload`, `workload:dense` | ways of using memory, under the policies that both have |
//! | `thpfork`, `thpfork:-64:never` | how many children fit, by pages in each 2 MiB and policy |
//! | `programs`, `fork`, `hugetlb` | the test programs, or one of them |
#![forbid(unsafe_code)]

use super::programs::{RUNS, Run};

/// Groups of operations of `mmbench`.
pub const GROUPS: [&str; 12] = [
    "base", "syscall", "mmap", "fault", "fork", "cow", "region", "mremap", "collapse", "split", "populate",
    "smaps",
];
/// Pages that a child of `thpfork` touches in each 2 MiB; negative: a random number from 1 to that.
pub const PAGES: [&str; 4] = ["1", "-64", "-128", "-512"];
/// Policies of `thpfork` that Linux has too.
pub const FORK_POLICIES: [&str; 3] = ["never", "always", "underused"];
/// Policies of `workload` that Linux has too.
pub const WORK_POLICIES: [&str; 2] = ["never", "always"];
/// Ways in which `workload` uses memory.
pub const WAYS: [&str; 7] = ["sequential", "dense", "random", "sparse", "grow", "short", "snapshot"];

/// What is run where nothing is chosen.
pub const DEFAULT: &str = "mmbench workload thpfork:1:never:always programs";

/// A part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The program `mmbench`; the groups, all where there are none.
    Mmbench(Vec<String>),
    /// The program `workload`; the ways.
    Workload(Vec<String>),
    /// The program `thpfork`.
    Thpfork {
        /// Of [`PAGES`].
        pages: Vec<String>,
        /// Of [`FORK_POLICIES`].
        policies: Vec<String>,
    },
    /// Test programs.
    Programs(Vec<Run>),
}

impl Part {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Part::Mmbench(_) => "mmbench",
            Part::Workload(_) => "workload",
            Part::Thpfork { .. } => "thpfork",
            Part::Programs(_) => "programs",
        }
    }

    /// The parts that have a boot of their own: all of it, but for the fork test, which leaves memory in another state
    /// than it finds it in, each row.
    #[must_use]
    pub fn boots(&self) -> Vec<Part> {
        let Part::Thpfork { pages, policies } = self else { return vec![self.clone()] };
        let one = |pages: &String, policy: &String| Part::Thpfork {
            pages: vec![pages.clone()],
            policies: vec![policy.clone()],
        };
        pages.iter().flat_map(|pages| policies.iter().map(move |policy| one(pages, policy))).collect()
    }

    /// What is run in a boot of it, in a word.
    #[must_use]
    pub fn said(&self) -> String {
        match self {
            Part::Thpfork { pages, policies } => {
                format!("thpfork {} {}", pages.join(" "), policies.join(" "))
            }
            part => part.name().to_owned(),
        }
    }

    /// The experiment of Quire that prints the same rows; none for test programs.
    #[must_use]
    pub fn experiment(&self) -> Option<&'static str> {
        match self {
            Part::Mmbench(_) => Some("mmbench"),
            Part::Workload(_) => Some("thp"),
            Part::Thpfork { .. } => Some("thpfork"),
            Part::Programs(_) => None,
        }
    }

    /// That experiment, and what is chosen of it.
    #[must_use]
    pub fn argument(&self) -> Option<String> {
        let name = self.experiment()?;
        Some(match self {
            Part::Mmbench(groups) => format!("{name}:group={}", groups.join(",")),
            Part::Workload(ways) => {
                format!("{name}:policy={}:way={}", WORK_POLICIES.join(","), ways.join(","))
            }
            Part::Thpfork { pages, policies } => {
                format!("{name}:pages={}:policy={}", pages.join(","), policies.join(","))
            }
            Part::Programs(_) => return None,
        })
    }
}

/// The parts that `words` name; [`DEFAULT`] where there are none.
///
/// # Errors
/// A sentence that names the word that is none, and those that there are.
pub fn plan(words: &str) -> Result<Vec<Part>, String> {
    let words = if words.trim().is_empty() { DEFAULT } else { words };
    let (mut parts, mut runs) = (Vec::new(), Vec::new());
    for word in words.split_whitespace() {
        let mut pieces = word.split(':');
        let name = pieces.next().unwrap_or(word);
        let pieces: Vec<String> = pieces.map(str::to_owned).collect();
        match name {
            "mmbench" => parts.push(Part::Mmbench(all_if_none(&among(word, &pieces, &GROUPS)?, &GROUPS))),
            "workload" => parts.push(Part::Workload(all_if_none(&among(word, &pieces, &WAYS)?, &WAYS))),
            "thpfork" => {
                among(word, &pieces, &[&PAGES[..], &FORK_POLICIES[..]].concat())?;
                let of = |known: &[&str]| -> Vec<String> {
                    let named: Vec<_> =
                        pieces.iter().filter(|piece| known.contains(&piece.as_str())).cloned().collect();
                    all_if_none(&named, known)
                };
                parts.push(Part::Thpfork { pages: of(&PAGES), policies: of(&FORK_POLICIES) });
            }
            "programs" if pieces.is_empty() => runs.extend(RUNS),
            name if pieces.is_empty() && RUNS.iter().any(|run| run.program() == name) => {
                runs.extend(RUNS.iter().filter(|run| run.program() == name));
            }
            _ => {
                let mut programs: Vec<_> = RUNS.iter().map(Run::program).collect();
                programs.dedup();
                return Err(format!(
                    "there is no `{word}`; there are mmbench, workload, thpfork, programs, {}",
                    programs.join(", ")
                ));
            }
        }
    }
    if !runs.is_empty() {
        parts.push(Part::Programs(runs));
    }
    Ok(parts)
}

fn among(word: &str, pieces: &[String], known: &[&str]) -> Result<Vec<String>, String> {
    match pieces.iter().find(|piece| !known.contains(&piece.as_str())) {
        Some(piece) => Err(format!("`{word}` has no part `{piece}`; its parts are {}", known.join(", "))),
        None => Ok(pieces.to_vec()),
    }
}

fn all_if_none(named: &[String], known: &[&str]) -> Vec<String> {
    if named.is_empty() { known.iter().map(|&word| word.to_owned()).collect() } else { named.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::experiment::{self, Key};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    /// Nothing is the default; a word without parts is all of it.
    #[test]
    fn what_is_planned() {
        let names: Vec<_> = plan("").unwrap().iter().map(Part::name).collect();
        assert_eq!(names, ["mmbench", "workload", "thpfork", "programs"]);
        assert_eq!(plan("mmbench:fault:cow").unwrap(), [Part::Mmbench(words(&["fault", "cow"]))]);
        assert_eq!(plan("workload").unwrap(), [Part::Workload(words(&WAYS))]);
        let part = Part::Thpfork { pages: words(&["-64"]), policies: words(&FORK_POLICIES) };
        assert_eq!(plan("thpfork:-64").unwrap(), [part]);
        let part = Part::Thpfork { pages: words(&PAGES), policies: words(&["never"]) };
        assert_eq!(plan("thpfork:never").unwrap(), [part]);
        let [Part::Programs(runs)] = &plan("fork hello").unwrap()[..] else { panic!("one part") };
        assert_eq!(runs.iter().map(Run::program).collect::<Vec<_>>(), ["fork", "fork", "fork", "hello"]);
    }

    /// Each part that can be planned can be chosen of an experiment, and has all the groups and ways that there are.
    #[test]
    fn parts_are_of_experiments() {
        let all = experiment::all().unwrap();
        for word in ["mmbench", "mmbench:fault", "workload", "thpfork"] {
            let argument = plan(word).unwrap()[0].argument().unwrap();
            experiment::choose(&argument, &all).unwrap();
        }
        assert_eq!(plan("programs").unwrap()[0].argument(), None);
        let values = |name: &str, key: &str| match &all.iter().find(|one| one.name == name).unwrap().keys[key]
        {
            Key::Words { values, .. } => values.clone(),
            Key::Number { .. } => panic!("{name} {key} is a number"),
        };
        assert_eq!(values("mmbench", "group"), GROUPS);
        assert_eq!(values("thpfork", "pages"), PAGES);
        assert_eq!(values("thp", "way")[1..], WAYS);
    }

    /// Each row of the fork test has a boot of its own, in which it is a part of the experiment still; the rest has one.
    #[test]
    fn boots_of_a_part() {
        let boots = plan("thpfork:1:-64:never:always").unwrap()[0].boots();
        let said: Vec<_> = boots.iter().map(Part::said).collect();
        assert_eq!(said, ["thpfork 1 never", "thpfork 1 always", "thpfork -64 never", "thpfork -64 always"]);
        assert_eq!(boots[2].argument().unwrap(), "thpfork:pages=-64:policy=never");
        let mmbench = &plan("mmbench").unwrap()[0];
        assert_eq!((mmbench.boots(), mmbench.said()), (vec![mmbench.clone()], "mmbench".to_owned()));
    }

    /// What is none is named, with what there is.
    #[test]
    fn what_is_no_part() {
        assert!(plan("nothing").unwrap_err().contains("`nothing`; there are mmbench"));
        assert!(plan("mmbench:nothing").unwrap_err().contains("no part `nothing`"));
        assert!(plan("workload:promotion").unwrap_err().contains("its parts are sequential"));
        assert!(plan("thpfork:reserve").unwrap_err().contains("never, always, underused"));
        assert!(plan("fork:cow").is_err() && plan("dma").is_err());
    }
}
