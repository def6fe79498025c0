//! By how much figures have moved since they were measured before.
//!
//! The same tree gives the same figures at each run, so what moves has a reason. A row is listed that has moved by more
//! than [`PER_CENT`], that is new, or that is gone; of those that have moved by less, the one that did most is named.

use crate::error::Error;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// By how much a row may move and not be listed, in per cent of what it was.
pub const PER_CENT: i64 = 1;

/// So many rows that are new, or gone, are named; the others are counted.
const NAMED: usize = 8;

/// Figures by name.
pub type Values = BTreeMap<String, i64>;

/// Reads a file of figures, a JSON list of objects; `None` where there is no such file. Objects without a value are left
/// out.
///
/// # Errors
/// [`Error::File`]: it cannot be read, or is no such list.
pub fn read(path: &Path) -> Result<Option<Values>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::File(path.to_path_buf(), error)),
    };
    let list: Vec<serde_json::Value> =
        serde_json::from_str(&text).map_err(std::io::Error::other).map_err(Error::file(path))?;
    let value =
        |object: &serde_json::Value| Some((object["name"].as_str()?.to_owned(), object["value"].as_i64()?));
    Ok(Some(list.iter().filter_map(value).collect()))
}

/// What has moved.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    since: String,
    /// Name, figure before, figure now.
    rows: Vec<(String, i64, i64)>,
    /// The same, of those that moved by less.
    less: Vec<(String, i64, i64)>,
    new: Vec<String>,
    gone: Vec<String>,
    held: usize,
    /// Of those that were held against each other: exactly as before.
    equal: usize,
}

/// How much of an experiment was run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All: a row that is missing is gone.
    Whole,
    /// A part: rows of the rest are not expected.
    Part,
}

impl Moved {
    /// Holds figures against those of before, of `since`.
    #[must_use]
    pub fn new<'f>(
        since: &str,
        before: &Values,
        now: impl Iterator<Item = (&'f str, i64)>,
        extent: Extent,
    ) -> Moved {
        let mut moved = Moved {
            since: since.to_owned(),
            rows: Vec::new(),
            less: Vec::new(),
            new: Vec::new(),
            gone: Vec::new(),
            held: 0,
            equal: 0,
        };
        let mut gone = before.clone();
        for (name, value) in now {
            let Some(old) = gone.remove(name) else {
                moved.new.push(name.to_owned());
                continue;
            };
            moved.held += 1;
            moved.equal += usize::from(old == value);
            if value.abs_diff(old) * 100 > old.unsigned_abs() * PER_CENT.unsigned_abs() {
                moved.rows.push((name.to_owned(), old, value));
            } else if value != old {
                moved.less.push((name.to_owned(), old, value));
            }
        }
        if extent == Extent::Whole {
            moved.gone = gone.into_keys().collect();
        }
        moved
    }

    /// Rows that have moved by more than they may, are new or gone.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.len() + self.new.len() + self.gone.len()
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Moved { since, rows, less, new, gone, held, equal } = self;
        write!(
            f,
            "since {since}: {equal} of {held} rows the same, {} moved by more than {PER_CENT} %",
            rows.len()
        )?;
        if !new.is_empty() || !gone.is_empty() {
            write!(f, ", {} new, {} gone", new.len(), gone.len())?;
        }
        writeln!(f)?;
        for (name, before, now) in rows {
            write!(f, "  {name:<48} {before:>12} -> {now:>12}")?;
            match before {
                0 => writeln!(f)?,
                _ => {
                    writeln!(f, " {:>+8.1} %", (now - before) as f64 * 100.0 / before.unsigned_abs() as f64)?
                }
            }
        }
        let share = |before: i64, now: i64| now.abs_diff(before) as f64 / before.unsigned_abs() as f64;
        let most = less.iter().max_by(|a, b| share(a.1, a.2).total_cmp(&share(b.1, b.2)));
        if let Some((name, before, now)) = most {
            writeln!(f, "{} moved by less, most of all {name}: {before} to {now}", less.len())?;
        }
        for (names, word) in [(new, "new"), (gone, "gone")] {
            if !names.is_empty() {
                let more = names.len().saturating_sub(NAMED);
                let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
                writeln!(f, "  {word}: {}{rest}", names[..names.len() - more].join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rows: &[(&str, i64)]) -> Values {
        rows.iter().map(|&(name, value)| (name.to_owned(), value)).collect()
    }

    /// More than one per cent either way is listed, to the row; what came from nothing is, too.
    #[test]
    fn one_per_cent() {
        let before = values(&[("a", 1000), ("b", 0), ("c", -100)]);
        for (now, count) in [(990, 0), (1010, 0), (1011, 1), (989, 1), (1000, 0)] {
            let moved =
                Moved::new("x", &before, [("a", now), ("b", 0), ("c", -100)].into_iter(), Extent::Whole);
            assert_eq!(moved.count(), count, "{now}");
        }
        let moved = Moved::new(
            "the last run",
            &before,
            [("a", 1050), ("b", 1), ("c", -102)].into_iter(),
            Extent::Whole,
        );
        let text = moved.to_string();
        assert!(
            text.starts_with("since the last run: 0 of 3 rows the same, 3 moved by more than 1 %\n"),
            "{text}"
        );
        assert!(
            text.contains("1000 ->         1050     +5.0 %")
                && text.contains("-100 ->         -102     -2.0 %"),
            "{text}"
        );
    }

    /// Of what moved by less the number is said, and the row that moved most by its share; they count as not moved.
    #[test]
    fn less_than_one_per_cent() {
        let before = values(&[("a", 1000), ("b", 100_000), ("c", 7)]);
        let moved =
            Moved::new("x", &before, [("a", 1003), ("b", 99_900), ("c", 7)].into_iter(), Extent::Whole);
        assert_eq!(moved.count(), 0);
        let text = moved.to_string();
        assert!(text.ends_with("1 %\n2 moved by less, most of all a: 1000 to 1003\n"), "{text}");
    }

    /// Rows that come and go are named; of a part nothing is gone.
    #[test]
    fn new_and_gone() {
        let before = values(&[("a", 1), ("b", 2)]);
        let moved = Moved::new("x", &before, [("a", 1), ("c", 3)].into_iter(), Extent::Whole);
        assert_eq!(
            (moved.count(), &*moved.new, &*moved.gone),
            (2, &["c".to_owned()][..], &["b".to_owned()][..])
        );
        assert!(moved.to_string().ends_with("1 new, 1 gone\n  new: c\n  gone: b\n"), "{moved}");
        assert_eq!(Moved::new("x", &before, [("a", 1)].into_iter(), Extent::Part).count(), 0);
        let many: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        let moved =
            Moved::new("x", &Values::new(), many.iter().map(|name| (name.as_str(), 0)), Extent::Whole);
        assert!(moved.to_string().ends_with("  new: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more\n"), "{moved}");
    }

    /// A file that is not there is no file; one that is no list of figures is an error; an object without a value is none.
    #[test]
    fn files() {
        let path = std::env::temp_dir().join(format!("quire-moved-{}.json", std::process::id()));
        assert_eq!(read(&path).unwrap(), None);
        std::fs::write(&path, "[\n{\"name\":\"a\",\"value\":1},\n{\"name\":\"b\"}\n]\n").unwrap();
        assert_eq!(read(&path).unwrap(), Some(values(&[("a", 1)])));
        std::fs::write(&path, "{").unwrap();
        assert!(read(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
