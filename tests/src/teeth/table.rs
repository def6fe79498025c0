//! The table of mutations in `tests/teeth/README.md`.

use std::fs;
use std::path::Path;

use super::list::Mutation;

const BEGIN: &str = "<!-- table of mutations: `make teeth TABLE=1` writes it -->\n";
const END: &str = "<!-- end of the table -->\n";

fn file(root: &Path) -> std::path::PathBuf {
    root.join("tests/teeth/README.md")
}

/// Writes the table: each mutation, and the test that caught it.
///
/// # Errors
/// A sentence: the file cannot be read or written, or has no place for the table.
pub fn write<'a>(root: &Path, rows: impl Iterator<Item = (&'a Mutation, &'a str)>) -> Result<(), String> {
    let text = fs::read_to_string(file(root)).map_err(|error| error.to_string())?;
    let (before, rest) = text.split_once(BEGIN).ok_or("tests/teeth/README.md has no place for the table")?;
    let (_, after) = rest.split_once(END).ok_or("tests/teeth/README.md: the table has no end")?;
    let mut table = String::from("\n| mutation | what is broken | caught by |\n|---|---|---|\n");
    for (Mutation { name, broken, .. }, test) in rows {
        table += &format!("| `{name}` | {broken} | `{test}` |\n");
    }
    fs::write(file(root), format!("{before}{BEGIN}{table}\n{END}{after}")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teeth::list;

    /// The committed table has the mutations of the list, each with its sentence and a test that caught it.
    #[test]
    fn the_table_is_that_of_the_list() {
        let root = qemu::root();
        let text = fs::read_to_string(file(root)).unwrap();
        let table = text.split_once(BEGIN).unwrap().1.split_once(END).unwrap().0;
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
        let list = list::read(root).unwrap();
        let beginnings: Vec<String> =
            list.iter().map(|m| format!("| `{}` | {} | `", m.name, m.broken)).collect();
        for (row, beginning) in rows.iter().zip(&beginnings) {
            assert!(row.starts_with(beginning), "{row}\nis not the row of\n{beginning}");
            assert!(row.len() > beginning.len() + "` |".len(), "{row}: caught by whom?");
        }
        assert_eq!(rows.len(), list.len(), "`make teeth TABLE=1` writes the table");
    }
}
