//! The experiments: what `experiments/*.toml` say of each, and what is chosen of it.
//!
//! The kernel has the same files built in, with what they ask and print, for its console; it runs what stands here as
//! keys. What stands below `[bench]` is about boots:
//!
//! | word | what | else |
//! |---|---|---|
//! | `choices` | boot choices; words `cpu=`, `smp=` and `mem=` among them are about the machine ([`super::machine`]) | none |
//! | `each` | further choices: it is booted with each of them, and the rows of all are its rows | one boot |
//! | `apart` | keys: it is booted anew for each of their values, so that none finds what another has left | none |
//! | `against` | choices under which it is measured once more, to hold each row against | not |
//! | `rows_of` | the experiment that the kernel is asked for, where it is another one | its own name |
//! | `beside` | a program beside this one that has more rows, for what the machine cannot be asked; it is told the kernel's file, what is chosen, and by the environment the machine | none |
//! | `layout` | `tables`: rows `a.b.c` as tables, one for each `b`; `series`: one for each `a` | one row a line |

use crate::artefacts::root;
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// How the rows of an experiment are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One row a line.
    #[default]
    List,
    /// Rows `a.b.c` as tables, one for each `b`.
    Tables,
    /// The same, one for each `a`.
    Series,
}

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Key {
    /// Some of these words, with commas between.
    Words {
        /// What it chooses.
        says: String,
        /// The words.
        values: Vec<String>,
    },
    /// A number.
    Number {
        /// What it chooses.
        says: String,
        /// The least that it may be.
        least: u64,
        /// The most that it may be.
        most: u64,
        /// What it is else.
        default: u64,
    },
}

/// How it is booted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Bench {
    rows_of: Option<String>,
    choices: String,
    each: Vec<String>,
    apart: Vec<String>,
    against: Option<String>,
    layout: Layout,
    beside: Option<String>,
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Its name: that of its file.
    #[serde(skip)]
    pub name: String,
    /// The question.
    pub asks: String,
    /// What is done.
    pub workload: String,
    /// What stands beside each other.
    pub compares: String,
    /// What its rows say.
    pub prints: String,
    /// The discussion that it comes from.
    pub seed: String,
    /// What may be chosen.
    #[serde(default)]
    pub keys: BTreeMap<String, Key>,
    #[serde(default)]
    bench: Bench,
}

impl Experiment {
    /// How its rows are printed.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.bench.layout
    }

    /// The choices of each of its boots; one of them may be nothing.
    #[must_use]
    pub fn each(&self) -> Vec<String> {
        let Bench { choices, each, .. } = &self.bench;
        let one = [String::new()];
        let each: &[String] = if each.is_empty() { &one } else { each };
        each.iter().map(|more| format!("{choices} {more}").trim().to_owned()).collect()
    }

    /// The choices under which it is measured once more.
    #[must_use]
    pub fn against(&self) -> Option<&str> {
        self.bench.against.as_deref()
    }

    /// The choices of what is held against those.
    #[must_use]
    pub fn choices(&self) -> &str {
        &self.bench.choices
    }

    /// Whether one boot of the kernel can do it: it does not only compare boots of another one.
    #[must_use]
    pub fn is_of_one_boot(&self) -> bool {
        self.bench.rows_of.is_none()
    }

    /// Whether the console has all rows of it, in one boot.
    #[must_use]
    pub fn is_whole_on_the_console(&self) -> bool {
        self.is_of_one_boot() && self.bench.each.len() < 2 && self.bench.beside.is_none()
    }

    /// The program beside this one that has more rows.
    pub(super) fn beside(&self) -> Option<&str> {
        self.bench.beside.as_deref()
    }
}

/// Every experiment, by its name.
///
/// # Errors
/// [`Error::File`], with what the file's syntax misses.
pub fn all() -> Result<Vec<Experiment>, Error> {
    let folder = root().join("experiments");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(Error::file(&folder))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            all.push(load(&path)?);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn load(path: &Path) -> Result<Experiment, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let mut experiment: Experiment =
        toml::from_str(&text).map_err(std::io::Error::other).map_err(Error::file(path))?;
    experiment.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(experiment)
}

/// An experiment, and what is chosen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The experiment.
    pub experiment: Experiment,
    /// `name`, or `name:key=value:key=value` for a part of it.
    pub argument: String,
}

impl Chosen {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.experiment.name
    }

    /// Whether all of the experiment is run, as its file has it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.argument == self.experiment.name
    }

    /// The name that the kernel has for it.
    pub(super) fn rows_of(&self) -> &str {
        self.experiment.bench.rows_of.as_deref().unwrap_or(&self.experiment.name)
    }

    /// What the kernel is asked for in a boot that is not apart from others.
    pub(super) fn asked(&self) -> String {
        self.argument.replacen(&self.experiment.name, self.rows_of(), 1)
    }

    /// The values of a key of words that are chosen, all where none is.
    fn values(&self, key: &str) -> Vec<String> {
        let chosen = self.words().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        match (chosen, self.experiment.keys.get(key)) {
            (Some(chosen), _) => chosen.split(',').map(str::to_owned).collect(),
            (None, Some(Key::Words { values, .. })) => values.clone(),
            (None, _) => Vec::new(),
        }
    }

    /// What the kernel is asked for in each boot, by the keys whose values are kept apart.
    fn apart(&self) -> Vec<String> {
        let apart = &self.experiment.bench.apart;
        let is_apart =
            |word: &&str| word.split_once('=').is_some_and(|(key, _)| apart.iter().any(|one| one == key));
        let others: String =
            self.words().filter(|word| !is_apart(word)).map(|word| format!(":{word}")).collect();
        let with = |asked: &String, key: &String| {
            self.values(key).into_iter().map(|value| format!("{asked}:{key}={value}")).collect::<Vec<_>>()
        };
        let begin = vec![format!("{}{others}", self.rows_of())];
        apart.iter().fold(begin, |all, key| all.iter().flat_map(|asked| with(asked, key)).collect())
    }

    /// Each boot: its choices, and what the kernel is asked for.
    pub(super) fn boots(&self) -> Vec<(String, String)> {
        let apart = self.apart();
        let of_choices = |choices: String| apart.iter().map(move |asked| (choices.clone(), asked.clone()));
        self.experiment.each().into_iter().flat_map(of_choices).collect()
    }

    /// What is chosen, `key=value` each.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.argument.split(':').skip(1)
    }
}

/// The experiments that `words` name, each `name` or `name:key=value:key=value`; all where there are no words.
///
/// # Errors
/// A sentence that names the word that is no experiment, or nothing that can be chosen of it, and what there is.
pub fn choose(words: &str, all: &[Experiment]) -> Result<Vec<Chosen>, String> {
    let whole = |one: &Experiment| Chosen { experiment: one.clone(), argument: one.name.clone() };
    let words: Vec<_> = words.split_whitespace().collect();
    if let Some(word) = repeated(&words) {
        return Err(format!("`{word}` stands there twice"));
    }
    let chosen: Result<Vec<_>, _> = words.into_iter().map(|word| choose_one(word, all)).collect();
    chosen.map(|chosen| if chosen.is_empty() { all.iter().map(whole).collect() } else { chosen })
}

/// The experiment of this name.
///
/// # Errors
/// A sentence: there is none, but these.
pub fn find<'a>(name: &str, all: &'a [Experiment]) -> Result<&'a Experiment, String> {
    all.iter().find(|one| one.name == name).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        format!("there is no experiment `{name}`; there are {}", names.join(", "))
    })
}

/// The first word that has stood there before.
fn repeated<'a>(words: &[&'a str]) -> Option<&'a str> {
    words.iter().enumerate().find(|(n, word)| words[..*n].contains(word)).map(|(_, word)| *word)
}

fn choose_one(argument: &str, all: &[Experiment]) -> Result<Chosen, String> {
    let mut words = argument.split(':');
    let name = words.next().unwrap_or(argument);
    let experiment = find(name, all)?;
    words.clone().try_for_each(|word| experiment.permits(word))?;
    let keys: Vec<_> = words.filter_map(|word| word.split_once('=')).map(|(key, _)| key).collect();
    if let Some(key) = repeated(&keys) {
        return Err(format!("`{key}=` stands there twice"));
    }
    Ok(Chosen { experiment: experiment.clone(), argument: argument.to_owned() })
}

impl Experiment {
    /// Whether `key=value` can be chosen of it.
    fn permits(&self, word: &str) -> Result<(), String> {
        let name = &self.name;
        let found = word.split_once('=').and_then(|(key, value)| Some((key, value, self.keys.get(key)?)));
        let Some((key, value, permitted)) = found else {
            let keys: Vec<_> = self.keys.keys().map(|key| format!("{key}=")).collect();
            let there = if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
            return Err(format!("`{word}` cannot be chosen of `{name}`; there is {there}"));
        };
        match permitted {
            Key::Words { values, .. } => {
                match value.split(',').find(|word| !values.iter().any(|one| one == word)) {
                    Some(word) => Err(format!("`{key}={word}`: must be of {}", values.join(", "))),
                    None => Ok(()),
                }
            }
            Key::Number { least, most, .. } => {
                let fits = value.parse().is_ok_and(|number: u64| (*least..=*most).contains(&number));
                fits.then_some(()).ok_or(format!("`{key}={value}`: must be a number from {least} to {most}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiments() -> Vec<Experiment> {
        all().unwrap()
    }

    /// The groups of `mmbench` are the names in the program's own list, and the schemes of `mapcount` its boot choices;
    /// `curves` and `collapse` boot each of those.
    #[test]
    fn values_are_those_of_the_programs() {
        let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
        let words = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let all = experiments();
        let find = |name: &str| all.iter().find(|one| one.name == name).unwrap();
        let values = |name: &str, key: &str| match &find(name).keys[key] {
            Key::Words { values, .. } => values.clone(),
            Key::Number { .. } => panic!("{name} {key} is a number"),
        };
        let program = read("tests/programs/mmbench.c");
        let list = program.split("} tests[] = {").nth(1).and_then(|rest| rest.split("};").next()).unwrap();
        assert_eq!(words(list), values("mmbench", "group"));
        assert_eq!(words(list), values("threshold", "group"));
        let config = read("mm/src/config.rs");
        let list = config.split("Mapcount, \"mapcount\" {").nth(1).unwrap().split("\n}").next().unwrap();
        assert_eq!(words(list), values("mapcount", "scheme"));
        let boots: Vec<_> = words(list).iter().map(|scheme| format!("hvo=off mapcount={scheme}")).collect();
        assert_eq!(find("curves").each(), boots);
        assert_eq!(find("collapse").each(), boots);
        assert_eq!(values("thp", "policy"), values("thpfork", "policy"));
        assert_eq!(values("thp", "policy"), values("timeline", "policy"));
        assert_eq!(find("kernel").each(), [""]);
    }

    /// Each says all that an experiment has to say, as a question first.
    #[test]
    fn files_say_what_they_ask() {
        for Experiment { name, asks, workload, compares, prints, seed, .. } in experiments() {
            assert!(asks.ends_with('?'), "{name}: {asks}");
            for words in [workload, compares, prints, seed] {
                assert!(words.len() > 10, "{name}: `{words}` says too little");
            }
        }
    }

    /// Nothing is everything; a part of an experiment is not whole; what is no experiment, key or value is named.
    #[test]
    fn choices() {
        let all = experiments();
        let names = |words| {
            choose(words, &all).map(|all| all.iter().map(|one| one.argument.clone()).collect::<Vec<_>>())
        };
        assert_eq!(names(" ").unwrap().len(), all.len());
        let two = "thpfork:pages=-64:policy=reserve-lru,never kernel";
        assert_eq!(names(two).unwrap().join(" "), two);
        assert_eq!(names("mapcount:states=100:seed=0").unwrap().len(), 1);
        assert!(names("kernel curves kernel").unwrap_err().contains("`kernel` stands there twice"));
        assert!(names("kernel nothing:x").unwrap_err().contains("`nothing`"));
        assert!(names("mmbench:group=fault,nosuch").unwrap_err().contains("`group=nosuch`: must be of base"));
        assert!(names("mapcount:states=99").unwrap_err().contains("a number from 100 to"));
        assert!(names("thp:fault=1").unwrap_err().contains("there is mib=, policy=, way="));
        assert!(names("thp:mib=8:mib=9").unwrap_err().contains("`mib=` stands there twice"));
        assert!(names("mmbench:").is_err() && names("mmbench:fault").is_err());
        assert!(names("kernel:a=b").unwrap_err().contains("there is nothing"));
        let part = &choose("threshold:group=fault,cow", &all).unwrap()[0];
        assert!(!part.is_whole() && choose("mmbench", &all).unwrap()[0].is_whole());
        assert_eq!((part.rows_of(), part.asked().as_str()), ("mmbench", "mmbench:group=fault,cow"));
        assert_eq!(part.words().collect::<Vec<_>>(), ["group=fault,cow"]);
    }

    /// Values that are kept apart have a boot each, those that were chosen.
    #[test]
    fn boots_apart() {
        let all = experiments();
        let boots = |words: &str| choose(words, &all).unwrap()[0].boots();
        assert_eq!(boots("thpfork").len(), 4 * 9);
        let two = boots("thpfork:policy=never:pages=-64,1");
        let asked = ["thpfork:pages=-64:policy=never", "thpfork:pages=1:policy=never"];
        assert_eq!(two, asked.map(|asked| (String::new(), asked.to_owned())));
        assert_eq!(boots("thp:mib=8"), [(String::new(), "thp:mib=8".to_owned())]);
        assert_eq!(boots("curves:operation=fork").len(), 8);
    }
}
