//! What `experiments/*.toml` say of the experiments, as the build script has made it a table.
#![forbid(unsafe_code)]

use core::fmt;

/// One experiment.
#[derive(Debug)]
pub struct Description {
    /// Its name: that of its file.
    pub name: &'static str,
    /// The question.
    pub asks: &'static str,
    /// What is done.
    pub workload: &'static str,
    /// What stands beside each other.
    pub compares: &'static str,
    /// What its rows say.
    pub prints: &'static str,
    /// The discussion that it comes from.
    pub seed: &'static str,
    /// The boot choices with which `make bench` counts it, beside those that it compares.
    pub choices: &'static str,
    /// It compares boots, so that it cannot be had in one.
    pub of_boots: bool,
    /// How its figures are shown.
    pub layout: Layout,
    /// What may be chosen.
    pub keys: &'static [Key],
}

/// How figures are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// One a line.
    List,
    /// Those named `a.b.c` as tables, one for each `b`.
    Tables,
    /// The same, one for each `a`.
    Series,
}

/// What may be chosen of an experiment, by `name=value`.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it chooses.
    pub says: &'static str,
    /// What it may be.
    pub values: Values,
}

/// The values of a key.
#[derive(Debug)]
pub enum Values {
    /// One or more of these, with commas between; all where none is given.
    Words(&'static [&'static str]),
    /// A number.
    Number {
        /// The least that it may be.
        least: u64,
        /// The most that it may be.
        most: u64,
        /// What it is where none is given.
        default: u64,
    },
}

include!(concat!(env!("OUT_DIR"), "/experiments.rs"));

impl Description {
    /// The experiment of that name.
    pub fn of(name: &str) -> Option<&'static Description> {
        EXPERIMENTS.iter().find(|experiment| experiment.name == name)
    }

    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Values::Words(words) => Listed(words).fmt(f),
            Values::Number { least, most, default } => write!(f, "{least} to {most}; else {default}"),
        }
    }
}

/// Words with spaces between.
pub struct Listed<'l>(pub &'l [&'l str]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(n, word)| write!(f, "{}{word}", if n == 0 { "" } else { " " }))
    }
}

/// All of the file, for people.
impl Description {
    /// By which command its instructions are counted, and how that boots.
    pub fn counted(&self) -> impl fmt::Display {
        let Description { name, choices, .. } = *self;
        fmt::from_fn(move |f| {
            write!(f, "make bench EXPERIMENT={name}")?;
            if choices.is_empty() { Ok(()) } else { write!(f, ", which boots with {choices}") }
        })
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Description { name, asks, workload, compares, prints, seed, .. } = self;
        writeln!(f, "    {name}: {asks}")?;
        for (word, says) in
            [("workload", workload), ("compares", compares), ("prints", prints), ("from", seed)]
        {
            writeln!(f, "      {word:<9} {says}")?;
        }
        for Key { name, says, values } in self.keys {
            writeln!(f, "      {name}=   {says}: {values}")?;
        }
        write!(f, "      counted   {}", self.counted())
    }
}
