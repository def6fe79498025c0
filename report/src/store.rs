//! Where the figures of a plot come from: measured in this checkout, else those that are stored in the tree.
//!
//! ```text
//!   target/bench/<experiment>.json ── is it there? ──► measured here, when
//!   tests/figures/<experiment>.json ── else ─────────► stored in the tree
//! ```
//! Both name the commits that were measured. Rows that say that an operation failed are no figures. A file that is there and cannot be read is an error: a page
//! that silently showed older figures would lie.

use crate::error::Error;
use jiff::Timestamp;
use qemu::bench::commits;
use qemu::bench::report::{Figure, is_error};
use qemu::root;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How a day and a minute are written, in UTC.
const DAY: &str = "%Y-%m-%d %H:%M UTC";

/// The two folders of figures.
#[derive(Clone, Debug)]
pub struct Store {
    measured: PathBuf,
    stored: PathBuf,
}

/// Whence the figures of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Measured in this checkout, then.
    Measured(String),
    /// The same, by `make compare-linux`.
    Compared(String),
    /// Stored in the tree.
    Stored,
}

/// Whence figures are, and what they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where they were found.
    pub place: Place,
    /// The commits that were measured, as far as the file names any.
    pub commits: Vec<String>,
}

/// The figures of one experiment.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its name.
    pub experiment: &'static str,
    /// The rows, in the order in which they came.
    pub rows: Vec<Figure>,
    /// Whence they are.
    pub origin: Origin,
}

impl Store {
    /// The folders of this tree.
    #[must_use]
    pub fn of_the_tree() -> Store {
        Store::new(&root().join("target/bench"), &root().join("tests/figures"))
    }

    /// Two folders.
    #[must_use]
    pub fn new(measured: &Path, stored: &Path) -> Store {
        Store { measured: measured.to_owned(), stored: stored.to_owned() }
    }

    /// The figures of `experiment`; `None` where there are none.
    ///
    /// # Errors
    /// [`Error::Tree`]: a file that is there cannot be read, or is no list of figures.
    pub fn set(&self, experiment: &'static str) -> Result<Option<Set>, Error> {
        let name = format!("{experiment}.json");
        let (here, stored) = (self.measured.join(&name), self.stored.join(&name));
        let (path, place) = if here.exists() {
            (&here, Place::Measured(written(&here)?))
        } else if stored.exists() {
            (&stored, Place::Stored)
        } else {
            return Ok(None);
        };
        let (mut commits, mut rows) = (Vec::new(), Vec::<Figure>::new());
        for object in read::<Vec<Value>>(path)? {
            match commits::named(&object) {
                Some(named) => commits = commits::union(&commits, &named),
                None => rows.push(parsed(path, serde_json::from_value(object))?),
            }
        }
        rows.retain(|row| !is_error(row));
        let origin = Origin { place, commits };
        Ok((!rows.is_empty()).then_some(Set { experiment, rows, origin }))
    }

    /// What `make compare-linux` has left beside the figures, and when; `None` where it has not.
    ///
    /// # Errors
    /// As for [`Store::set`].
    pub fn compared<T: DeserializeOwned>(&self, name: &str) -> Result<Option<(T, Place)>, Error> {
        let path = self.measured.join(format!("{name}.json"));
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some((read(&path)?, Place::Compared(written(&path)?))))
    }
}

impl Set {
    /// The figure of a row.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<i64> {
        self.rows.iter().find(|row| row.name == name).map(|row| row.value)
    }

    /// The parts of each name of exactly `N` parts, and its figure. A name is parted at its last points.
    pub fn parts<const N: usize>(&self) -> impl Iterator<Item = ([&str; N], i64)> {
        self.rows.iter().filter_map(|row| {
            let parts: Vec<_> = row.name.split('.').collect();
            Some((<[&str; N]>::try_from(parts).ok()?, row.value))
        })
    }
}

/// What `items` has, each once, in the order of appearance.
pub fn once<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for item in items {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(qemu::Error::file(path))?;
    parsed(path, serde_json::from_str(&text))
}

/// What was made of a file, or an error that names it.
fn parsed<T>(path: &Path, made: serde_json::Result<T>) -> Result<T, Error> {
    Ok(made.map_err(std::io::Error::other).map_err(qemu::Error::file(path))?)
}

/// When a file was written.
fn written(path: &Path) -> Result<String, Error> {
    let time = std::fs::metadata(path).and_then(|data| data.modified()).map_err(qemu::Error::file(path))?;
    let time = Timestamp::try_from(time).map_err(std::io::Error::other).map_err(qemu::Error::file(path))?;
    Ok(time.strftime(DAY).to_string())
}
