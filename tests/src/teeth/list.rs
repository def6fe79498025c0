//! The list of mutations: `tests/teeth/mutations/*.toml`, one file a room.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;

/// One way to break the code.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// Its name: words of lower case, joined by hyphens.
    pub name: String,
    /// The file that it breaks, from the top of the tree.
    pub file: String,
    /// What stands there; must occur exactly once.
    pub snippet: String,
    /// What stands there instead.
    pub becomes: String,
    /// What is broken then, in a sentence.
    pub broken: String,
    /// Who is expected to notice.
    pub test: Target,
}

/// A test of the list, as it is written there: package, then `--lib` or `--test NAME`, then a part of its name.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Target {
    /// The package.
    pub package: String,
    /// `--lib`, or `--test` and the name of the test program.
    pub program: Vec<String>,
    /// A part of the test's name.
    pub filter: String,
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (package, program, filter) = match words[..] {
            [package, lib @ "--lib", filter] => (package, vec![lib.to_owned()], filter),
            [package, test @ "--test", name, filter] => {
                (package, vec![test.to_owned(), name.to_owned()], filter)
            }
            _ => {
                return Err(format!(
                    "{text:?}: a test is `PACKAGE --lib PART` or `PACKAGE --test PROGRAM PART`"
                ));
            }
        };
        Ok(Target { package: package.to_owned(), program, filter: filter.to_owned() })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    mutation: Vec<Mutation>,
}

/// Reads the list of the tree at `root`, files in the order of their names.
///
/// # Errors
/// A sentence: a file cannot be read, or is not such a list, or a name is given twice.
pub fn read(root: &Path) -> Result<Vec<Mutation>, String> {
    let folder = root.join("tests/teeth/mutations");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut list: Vec<Mutation> = Vec::new();
    for path in files {
        let name = path.display();
        let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        let room: Room = toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        list.extend(room.mutation);
    }
    let mut seen = HashSet::new();
    match list.iter().find(|mutation| !seen.insert(mutation.name.as_str())) {
        Some(twice) => Err(format!("two mutations are named {}", twice.name)),
        None => Ok(list),
    }
}

impl Mutation {
    /// The file's text with the mutation in it.
    ///
    /// # Errors
    /// A sentence: the mutation has gone stale, as its snippet does not occur exactly once, or it changes nothing.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let Mutation { name, file, snippet, becomes, .. } = self;
        match text.matches(snippet.as_str()).count() {
            _ if snippet == becomes => Err(format!("{name} changes nothing")),
            1 => Ok(text.replacen(snippet.as_str(), becomes, 1)),
            n => Err(format!("{name} has gone stale: its snippet occurs {n} times in {file}, not once")),
        }
    }

    /// As [`Self::apply`], for the file as it stands in the tree at `root`.
    ///
    /// # Errors
    /// As [`Self::apply`], or the file cannot be read.
    pub fn mutated(&self, root: &Path) -> Result<String, String> {
        let text = fs::read_to_string(root.join(&self.file));
        self.apply(&text.map_err(|error| format!("{}: {}: {error}", self.name, self.file))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No mutation has gone stale: each snippet occurs exactly once in its file. Names are kebab, and each
    /// mutation says what is broken in a sentence.
    #[test]
    fn every_mutation_fits_the_code() {
        let root = qemu::root();
        let list = read(root).unwrap();
        assert!(list.len() >= 45, "only {} mutations", list.len());
        let wrong: Vec<String> = list.iter().filter_map(|mutation| mutation.mutated(root).err()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for Mutation { name, broken, .. } in &list {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
            assert!(broken.ends_with('.') && !broken.contains(['\n', '|']), "{name}: {broken:?}");
        }
    }

    /// A snippet that is not there, or twice, is refused in words, and what is written badly too.
    #[test]
    fn stale_mutations_are_refused() {
        let mutation = |snippet: &str, becomes: &str| Mutation {
            name: "x".to_owned(),
            file: "y.rs".to_owned(),
            snippet: snippet.to_owned(),
            becomes: becomes.to_owned(),
            broken: "It is.".to_owned(),
            test: Target::try_from("mm --lib z".to_owned()).unwrap(),
        };
        let text = "a b a";
        assert_eq!(mutation("b", "c").apply(text).unwrap(), "a c a");
        let stale = |n| Err(format!("x has gone stale: its snippet occurs {n} times in y.rs, not once"));
        assert_eq!(mutation("a", "c").apply(text), stale(2));
        assert_eq!(mutation("d", "c").apply(text), stale(0));
        assert_eq!(mutation("b", "b").apply(text), Err("x changes nothing".to_owned()));
        assert!(Target::try_from("mm z".to_owned()).is_err());
    }
}
