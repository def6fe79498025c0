//! The figures of the pages in `docs`: what was measured last, as it is committed, and the tables made from it.
//!
//! ```text
//!   target/bench/<experiment>.json ── FIGURES=1 ──► tests/figures/<experiment>.json ──► tables between marks of the pages
//! ```
//! A mark is `<!-- figures: NAME -->`, where a table has that name; its end is `<!-- end of figures -->`. Where a part
//! of `thpfork` was measured the other rows keep their figures. All other experiments count as a whole only: what a part
//! of one costs depends a little on what ran before in the same boot. A test holds the pages against what is made here.
//!
//! | file | the tables of |
//! |---|---|
//! | `reservations` | `docs/reservations.md` |
//! | `hgm` | `docs/hgm.md` |
//! | `hvo` | `docs/hvo.md` |
//! | `mapcount` | `docs/mapcount.md` |
//! | `memory` | `docs/memory.md` |
//! | `pagetables` | `docs/pagetables.md` |
//! | `contpte` | `docs/contpte.md` |
//! | `reclaim` | `docs/reclaim.md` |

mod contpte;
mod hgm;
mod hvo;
mod mapcount;
mod memory;
mod pagetables;
mod reclaim;
mod reservations;
mod table;

use super::commits;
use super::experiment::Chosen;
use super::moved::{self, Values};
use super::peers::Peers;
use crate::artefacts::root;
use crate::error::Error;
use std::collections::BTreeSet;
use std::path::PathBuf;

pub use table::with_commas;
use table::{Column, Form, Table};

/// The experiments of whose figures tables are made.
const EXPERIMENTS: [&str; 12] = [
    "thp",
    "thpfork",
    "threshold",
    "mapcount",
    "curves",
    "hgm",
    "collapse",
    "hvo",
    "hvopools",
    "kernel",
    "mmbench",
    "faultparts",
];
/// Those of whose figures only what stands in tables is kept: of so many boots most are in none.
const IN_TABLES_ONLY: [&str; 2] = ["hvo", "hvopools"];
/// The pages, from the top of the tree.
pub const PAGES: [&str; 8] = [
    "docs/memory.md",
    "docs/pagetables.md",
    "docs/mapcount.md",
    "docs/reservations.md",
    "docs/hgm.md",
    "docs/hvo.md",
    "docs/contpte.md",
    "docs/reclaim.md",
];
const END: &str = "<!-- end of figures -->";

/// Figures by name, in the order in which they came: name, figure, and the object as it stands in its file.
type Figures = Vec<(String, i64, String)>;

/// Reads a JSON list with an object a line: the commits that it names, and the figures.
fn parse(text: &str) -> Result<(Vec<String>, Figures), String> {
    let lines = text.lines().map(|line| line.trim_end_matches(',')).filter(|line| line.starts_with('{'));
    let (mut of, mut figures) = (Vec::new(), Figures::new());
    for line in lines {
        let object: serde_json::Value =
            serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        match (commits::named(&object), object["name"].as_str(), object["value"].as_i64()) {
            (Some(commits), ..) => of = commits::union(&of, &commits),
            (_, Some(name), Some(value)) => figures.push((name.to_owned(), value, line.to_owned())),
            _ => return Err(format!("{line}: no name and value")),
        }
    }
    Ok((of, figures))
}

fn file(experiment: &str) -> PathBuf {
    root().join("tests/figures").join(format!("{experiment}.json"))
}

fn read(path: &PathBuf) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(Error::file(path))
}

fn committed(experiment: &str) -> Result<(Vec<String>, Figures), Error> {
    let path = file(experiment);
    parse(&read(&path)?).map_err(std::io::Error::other).map_err(Error::file(&path))
}

/// Every table of every page.
fn tables() -> impl Iterator<Item = &'static Table> {
    let pages = [
        memory::TABLES,
        pagetables::TABLES,
        mapcount::TABLES,
        reservations::TABLES,
        hgm::TABLES,
        hvo::TABLES,
        contpte::TABLES,
        reclaim::TABLES,
    ];
    pages.into_iter().flatten()
}

/// The figures of an experiment that tables quote; `None`: all are kept.
fn quoted(experiment: &str) -> Option<BTreeSet<String>> {
    IN_TABLES_ONLY.contains(&experiment).then(|| {
        let of = tables().flat_map(Table::figures).filter(|(of, _)| of == experiment);
        of.map(|(_, name)| name).collect()
    })
}

/// Whether figures of this are taken: those of all of an experiment, or of a part of `thpfork`.
#[must_use]
pub fn takes(chosen: &Chosen) -> bool {
    chosen.is_whole() || chosen.name() == "thpfork"
}

/// The committed figures that a run is held against, by name; `None` where there are none of the experiment.
///
/// # Errors
/// [`Error::File`].
pub fn baseline(experiment: &str) -> Result<Option<Values>, Error> {
    moved::read(&file(experiment))
}

/// Those of these figures that are committed.
pub fn of_baseline<'f>(
    experiment: &str,
    figures: impl Iterator<Item = (&'f str, i64)>,
) -> impl Iterator<Item = (&'f str, i64)> {
    let quoted = quoted(experiment);
    figures.filter(move |(name, _)| quoted.as_ref().is_none_or(|quoted| quoted.contains(*name)))
}

/// Takes the figures of what [`takes`] allows, in the form of their JSON, into those that are committed. Of a part the
/// others stay, and so do their commits.
///
/// # Errors
/// [`Error::File`].
pub fn take(chosen: &Chosen, json: &str) -> Result<(), Error> {
    let (name, path) = (chosen.name(), file(chosen.name()));
    let (before, mut all) = if chosen.is_whole() { Default::default() } else { committed(name)? };
    let (of, figures) = parse(json).map_err(std::io::Error::other).map_err(Error::file(&path))?;
    for figure in figures {
        match all.iter_mut().find(|known| known.0 == figure.0) {
            Some(known) => *known = figure,
            None => all.push(figure),
        }
    }
    if let Some(quoted) = quoted(name) {
        all.retain(|(name, ..)| quoted.contains(name));
    }
    let list = commits::list(&commits::union(&of, &before), all.iter().map(|(_, _, object)| object));
    std::fs::write(&path, list).map_err(Error::file(&path))
}

/// A page with its tables made anew, and the page as it is.
///
/// # Errors
/// [`Error::File`]: a file cannot be read, or a mark of the page names no table.
pub fn page(page: &str) -> Result<(String, String), Error> {
    let path = root().join(page);
    let text = read(&path)?;
    let peers = Peers::load()?;
    let figures: Vec<_> =
        EXPERIMENTS.iter().map(|&name| Ok((name, committed(name)?.1))).collect::<Result<_, Error>>()?;
    let row = |experiment: &str, name: &str| {
        let (_, rows) = figures.iter().find(|(name, _)| *name == experiment)?;
        rows.iter().find(|row| row.0 == name)
    };
    let figure = |experiment: &str, name: &str| match name.split_once(' ') {
        Some(("linux", name)) => peers.linux(experiment, name).map(|linux| linux.linux_7_2),
        Some(("against", name)) => against(&row(experiment, name)?.2),
        _ => row(experiment, name).map(|row| row.1),
    };
    let made = fill(&text, &figure).map_err(std::io::Error::other).map_err(Error::file(&path))?;
    Ok((made, text))
}

/// What the figure of this object is held against.
fn against(object: &str) -> Option<i64> {
    serde_json::from_str::<serde_json::Value>(object).ok()?["against"].as_i64()
}

/// Writes the tables of all pages anew.
///
/// # Errors
/// As for [`page`].
pub fn write_pages() -> Result<(), Error> {
    PAGES.into_iter().try_for_each(|name| {
        let path = root().join(name);
        std::fs::write(&path, page(name)?.0).map_err(Error::file(&path))
    })
}

/// The text with a table at each mark.
fn fill(text: &str, figure: &dyn Fn(&str, &str) -> Option<i64>) -> Result<String, String> {
    let (mut made, mut within) = (String::new(), false);
    for line in text.lines() {
        within &= line != END;
        if !within {
            made += line;
            made += "\n";
        }
        if let Some(name) = line.strip_prefix("<!-- figures: ").and_then(|rest| rest.strip_suffix(" -->")) {
            let table = tables().find(|table| table.name == name);
            table.ok_or(format!("there is no table {name}"))?.write(&mut made, figure);
            within = true;
        }
    }
    if within { Err(format!("a table has no `{END}`")) } else { Ok(made) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table stands at its mark, in place of what stood there; sums are made, and where a figure is not there is a
    /// dash. The rest of the page stays.
    #[test]
    fn tables_stand_at_their_marks() {
        let figure = |experiment: &str, name: &str| match (experiment, name) {
            ("thp", "promote_512") => Some(22_932),
            ("thp", "promote_512.tlbi_va") => Some(1),
            ("thp", "promote_512.tlbi_asid") => Some(2),
            ("thp", "promote_512.zeroed") => Some(1 << 20),
            _ => None,
        };
        let page = |inside: &str| format!("a\n\n<!-- figures: roads -->\n{inside}{END}\n\nb\n");
        let made = fill(&page("| old |\n"), &figure).unwrap();
        assert!(made.starts_with("a\n\n<!-- figures: roads -->\n| road | instructions |"), "{made}");
        assert!(
            made.contains("| promotion in place, 512 of 512 populated | 22,932 | – | 3 | 1 MiB | – |\n"),
            "{made}"
        );
        assert!(made.ends_with("| – |\n<!-- end of figures -->\n\nb\n") && !made.contains("old"), "{made}");
        assert_eq!(fill(&made, &figure).unwrap(), made);
        assert!(fill("<!-- figures: roads -->\n", &figure).is_err());
        assert!(fill(&page("").replace("roads", "streets"), &figure).unwrap_err().contains("streets"));
    }

    /// Of what is kept in tables only, all that they quote is, whatever page they stand on.
    #[test]
    fn what_is_quoted() {
        assert!(quoted("hvo").unwrap().contains("alias-mask-bbm2-pmd-4.optimise_1.stores"));
        assert!(quoted("hvopools").unwrap().contains("alias-mask-bbm2-pmd-2.allocate.off"));
        assert!(quoted("thp").is_none());
        assert_eq!(against(r#"{"name":"a","value":1,"against":2}"#), Some(2));
    }

    /// No two tables have one name.
    #[test]
    fn names_of_tables() {
        let names: Vec<_> = tables().map(|table| table.name).collect();
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    /// Parts are taken of `thpfork` only.
    #[test]
    fn what_is_taken() {
        let all = crate::bench::experiment::all().unwrap();
        let takes = |words: &str| takes(&crate::bench::experiment::choose(words, &all).unwrap()[0]);
        assert!(takes("thp") && takes("thpfork") && takes("thpfork:pages=-512") && takes("mmbench"));
        assert!(!takes("thp:way=dense") && !takes("collapse:part=overflow"));
    }

    /// What is no list of figures is refused.
    #[test]
    fn lists_are_read() {
        let text = "[\n{\"commits\":[\"c\"]},\n{\"name\":\"a\",\"value\":1},\n\
                    {\"name\":\"b\",\"unit\":\"ns\",\"value\":-2}\n]\n";
        let (of, list) = parse(text).unwrap();
        assert_eq!(of, ["c"]);
        let names: Vec<_> = list.iter().map(|(name, value, _)| (name.as_str(), *value)).collect();
        assert_eq!(names, [("a", 1), ("b", -2)]);
        assert!(parse("[\n{\"name\":\"a\"}\n]\n").is_err() && parse("{nothing}\n").is_err());
    }
}
