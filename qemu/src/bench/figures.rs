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

mod hgm;
mod hvo;
mod mapcount;
mod reservations;

use super::commits;
use super::experiment::Chosen;
use super::moved::{self, Values};
use super::peers::Peers;
use crate::artefacts::root;
use crate::error::Error;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The experiments of whose figures tables are made.
const EXPERIMENTS: [&str; 8] = ["thp", "thpfork", "mapcount", "curves", "hgm", "collapse", "hvo", "hvopools"];
/// The pages, from the top of the tree.
pub const PAGES: [&str; 4] = ["docs/reservations.md", "docs/hgm.md", "docs/hvo.md", "docs/mapcount.md"];
const END: &str = "<!-- end of figures -->";
/// Where there is no figure.
const NOTHING: &str = "–";

/// How a figure is written.
#[derive(Clone, Copy)]
enum Form {
    /// With commas.
    Number,
    /// Bytes, as MiB.
    Mib,
    /// Of all 262,144 entries of 4 KiB that a page of 1 GiB has: how much for each.
    OfEntries,
    /// Of so many: how much for each, rounded.
    Of(i64),
    /// Of 1000: by how many per cent it is more.
    More,
    /// Of 10,000: per cent.
    PerCent,
    /// With commas; below zero it is the number of an error: the operation was refused.
    Cost,
}

/// A column: its head, the figures whose sum it has, with `@` for the line's name and before a colon their experiment, where
/// it is not the table's, and how it is written.
struct Column(&'static str, &'static [&'static str], Form);

/// A table of the page.
struct Table {
    name: &'static str,
    /// The head of the first column.
    corner: &'static str,
    experiment: &'static str,
    /// The name in the figures, and what the page calls it.
    lines: &'static [(&'static str, &'static str)],
    columns: &'static [Column],
}

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

/// The figures of an experiment that tables quote; `None`: all are kept. Of so many boots most are in no table.
fn quoted(experiment: &str) -> Option<BTreeSet<String>> {
    let tables = hvo::TABLES.iter().filter(|table| table.experiment == experiment);
    let of_table = |table: &Table| {
        let keys = table.columns.iter().flat_map(|column| column.1);
        let names = keys.flat_map(|key| table.lines.iter().map(|(name, _)| key.replace('@', name)));
        names.collect::<Vec<_>>()
    };
    let quoted: BTreeSet<_> = tables.flat_map(of_table).collect();
    (!quoted.is_empty()).then_some(quoted)
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
    let figure = |experiment: &str, name: &str| match name.strip_prefix("linux ") {
        Some(name) => peers.linux(experiment, name).map(|linux| linux.linux_7_2),
        None => {
            let (_, rows) = figures.iter().find(|(name, _)| *name == experiment)?;
            rows.iter().find(|row| row.0 == name).map(|row| row.1)
        }
    };
    let made = fill(&text, &figure).map_err(std::io::Error::other).map_err(Error::file(&path))?;
    Ok((made, text))
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
            let mut tables =
                reservations::TABLES.iter().chain(hgm::TABLES).chain(hvo::TABLES).chain(mapcount::TABLES);
            let table = tables.find(|table| table.name == name);
            table.ok_or(format!("there is no table {name}"))?.write(&mut made, figure);
            within = true;
        }
    }
    if within { Err(format!("a table has no `{END}`")) } else { Ok(made) }
}

impl Table {
    fn write(&self, to: &mut String, figure: &dyn Fn(&str, &str) -> Option<i64>) {
        let heads: Vec<_> = self.columns.iter().map(|column| column.0).collect();
        let rights: Vec<_> = self.columns.iter().map(|_| "--:").collect();
        // Writing to a string cannot fail.
        let _ = writeln!(to, "| {} | {} |\n|---|{}|", self.corner, heads.join(" | "), rights.join("|"));
        for (name, called) in self.lines {
            let cell = |column: &Column| {
                let one = |key: &&str| {
                    let (experiment, key) = key.split_once(':').unwrap_or((self.experiment, key));
                    figure(experiment, &key.replace('@', name))
                };
                let sum: Option<i64> = column.1.iter().map(one).sum();
                sum.map_or(NOTHING.to_owned(), |sum| column.2.write(sum))
            };
            let cells: Vec<_> = self.columns.iter().map(cell).collect();
            let _ = writeln!(to, "| {called} | {} |", cells.join(" | "));
        }
    }
}

impl Form {
    fn write(self, figure: i64) -> String {
        match self {
            Form::Mib if figure != 0 => format!("{} MiB", figure as f64 / f64::from(1 << 20)),
            Form::Of(all) => with_commas((figure + all / 2) / all),
            Form::More => format!("{:+.1} %", (figure - 1000) as f64 / 10.0),
            Form::PerCent if figure % 100 == 0 => (figure / 100).to_string(),
            Form::PerCent => format!("{:.1}", figure as f64 / 100.0),
            Form::Cost if figure < 0 => "refused".to_owned(),
            Form::OfEntries => format!("{:.2}", figure as f64 / f64::from(1 << 18)),
            Form::Number | Form::Mib | Form::Cost => with_commas(figure),
        }
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn with_commas(figure: i64) -> String {
    let digits = figure.unsigned_abs().to_string();
    let mut text = String::from(if figure < 0 { "-" } else { "" });
    for (n, digit) in digits.chars().enumerate() {
        if n != 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures as they are written.
    #[test]
    fn forms() {
        let written = [0, 999, 1000, 22_932, -1_234_567].map(|figure| Form::Number.write(figure));
        assert_eq!(written, ["0", "999", "1,000", "22,932", "-1,234,567"]);
        assert_eq!([0, 1_614_187].map(|figure| Form::OfEntries.write(figure)), ["0.00", "6.16"]);
        assert_eq!([9, 511_999].map(|figure| Form::Of(512).write(figure)), ["0", "1,000"]);
        let written = [0, 10_000, 2611, 9999].map(|figure| Form::PerCent.write(figure));
        assert_eq!(written, ["0", "100", "26.1", "100.0"]);
        assert_eq!([-11, 124_026].map(|figure| Form::Cost.write(figure)), ["refused", "124,026"]);
        let written = [1000, 1030, 562, 4757].map(|figure| Form::More.write(figure));
        assert_eq!(written, ["+0.0 %", "+3.0 %", "-43.8 %", "+375.7 %"]);
        let written = [0, 1 << 20, 1_835_008, 2 << 20].map(|figure| Form::Mib.write(figure));
        assert_eq!(written, ["0", "1 MiB", "1.75 MiB", "2 MiB"]);
    }

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
