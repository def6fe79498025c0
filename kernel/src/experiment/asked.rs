//! What was asked of an experiment: `key=value` words, held against its description.
#![forbid(unsafe_code)]

use core::fmt;

use arrayvec::ArrayVec;

use super::description::{Description, Key, Listed, Values};

/// Most keys that an experiment may have.
const MAX_KEYS: usize = 4;

/// An experiment, and what is chosen of it: every word is one that its description permits.
pub struct Asked<'w> {
    /// The experiment.
    pub experiment: &'static Description,
    chosen: ArrayVec<(&'static Key, &'w str), MAX_KEYS>,
}

/// Why nothing is run.
#[derive(Debug)]
pub enum Refused<'w> {
    /// There is no experiment of this name.
    NoExperiment(&'w str),
    /// It compares boots.
    OfBoots(&'static Description),
    /// The word is no `key=value` of the experiment.
    NoKey(&'w str, &'static Description),
    /// The key stands there twice.
    Twice(&'static Key),
    /// The value is none that the key has.
    NoValue(&'w str, &'static Key),
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NoExperiment(name) => write!(f, "there is no experiment `{name}`; `experiment list`"),
            Refused::OfBoots(Description { name, .. }) => {
                write!(f, "`{name}` compares boots: `make bench EXPERIMENT={name}`")
            }
            Refused::NoKey(word, Description { name, keys: [], .. }) => {
                write!(f, "`{word}`: nothing can be chosen of `{name}`")
            }
            Refused::NoKey(word, Description { name, keys, .. }) => {
                let names: ArrayVec<&str, MAX_KEYS> =
                    keys.iter().map(|key| key.name).take(MAX_KEYS).collect();
                write!(f, "`{word}`: `{name}` is told key=value, its keys are {}", Listed(&names))
            }
            Refused::Twice(Key { name, .. }) => write!(f, "`{name}=` stands there twice"),
            Refused::NoValue(value, Key { name, values: Values::Words(words), .. }) => {
                write!(f, "`{name}={value}`: must be one or more, with commas, of {}", Listed(words))
            }
            Refused::NoValue(value, Key { name, values: Values::Number { least, most, .. }, .. }) => {
                write!(f, "`{name}={value}`: must be a number from {least} to {most}")
            }
        }
    }
}

impl<'w> Asked<'w> {
    /// The experiment `name` with these words.
    ///
    /// # Errors
    /// [`Refused`], by the first word that is wrong.
    pub fn new(name: &'w str, words: impl Iterator<Item = &'w str>) -> Result<Self, Refused<'w>> {
        let experiment = Description::of(name).ok_or(Refused::NoExperiment(name))?;
        if experiment.of_boots {
            return Err(Refused::OfBoots(experiment));
        }
        let mut asked = Asked { experiment, chosen: ArrayVec::new() };
        words.into_iter().try_for_each(|word| asked.choose(word)).map(|()| asked)
    }

    fn choose(&mut self, word: &'w str) -> Result<(), Refused<'w>> {
        let no_key = || Refused::NoKey(word, self.experiment);
        let (key, value) = word.split_once('=').ok_or_else(no_key)?;
        let key = self.experiment.key(key).ok_or_else(no_key)?;
        if self.chosen.iter().any(|(other, _)| other.name == key.name) {
            return Err(Refused::Twice(key));
        }
        let permitted = match key.values {
            Values::Words(words) => value.split(',').all(|word| words.contains(&word)),
            Values::Number { least, most, .. } => {
                value.parse().is_ok_and(|n: u64| (least..=most).contains(&n))
            }
        };
        if !permitted {
            return Err(Refused::NoValue(value, key));
        }
        // An experiment has no more keys than there is room for.
        self.chosen.try_push((key, value)).map_err(|_| Refused::NoKey(word, self.experiment))
    }

    fn value(&self, key: &str) -> Option<&'w str> {
        self.chosen.iter().find(|(chosen, _)| chosen.name == key).map(|(_, value)| *value)
    }

    /// Whether the word is among those that were chosen by `key`, or none was.
    pub fn wants(&self, key: &str, word: &str) -> bool {
        self.value(key).is_none_or(|chosen| chosen.split(',').any(|one| one == word))
    }

    /// The words that were chosen by `key`; nothing where none was.
    pub fn words(&self, key: &str) -> impl Iterator<Item = &'w str> + use<'w> {
        self.value(key).into_iter().flat_map(|words| words.split(','))
    }

    /// The number that was chosen by `key`, or its default; 0 where it is no number of the experiment.
    pub fn number(&self, key: &str) -> u64 {
        let default = match self.experiment.key(key).map(|key| &key.values) {
            Some(Values::Number { default, .. }) => *default,
            _ => 0,
        };
        self.value(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }
}
