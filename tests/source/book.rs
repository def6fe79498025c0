//! The book of `docs/`: every page is a chapter, and no link of any page of the tree leads nowhere.

use std::path::{Path, PathBuf};

use crate::tree::files;

/// The targets of Markdown links in the text, but for those that leave the tree, and what stands in fences.
fn links(text: &str) -> Vec<String> {
    let text: String = text.split("```").step_by(2).collect();
    let ends = text.match_indices("](").map(|(at, _)| &text[at + 2..]);
    let targets = ends.filter_map(|rest| rest.split_once(')').map(|(target, _)| target.to_owned()));
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).collect()
}

/// What a heading is called in a link: lower case, spaces as hyphens, no signs.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Every page of `docs/` stands in `SUMMARY.md`, and nothing else does.
#[test]
fn every_page_is_a_chapter() {
    let pages = files().into_iter().filter_map(|file| file.path.strip_prefix("docs/").map(str::to_owned));
    let mut pages: Vec<_> = pages.filter(|page| page.ends_with(".md") && page != "SUMMARY.md").collect();
    let summary = std::fs::read_to_string(qemu::root().join("docs/SUMMARY.md")).unwrap();
    let mut chapters = links(&summary);
    pages.sort();
    chapters.sort();
    assert_eq!(chapters, pages);
}

/// A link leads to a file of the tree, and behind `#` to a heading of it.
#[test]
fn links_lead_somewhere() {
    let all = files();
    let mut seen = 0;
    for file in all.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
        for link in links(&file.text) {
            let (path, heading) =
                link.split_once('#').map_or((link.as_str(), None), |(path, to)| (path, Some(to)));
            let target = if path.is_empty() { PathBuf::from(&file.path) } else { folder.join(path) };
            let text = std::fs::read_to_string(qemu::root().join(&target));
            let is_there = text.is_ok() || qemu::root().join(&target).exists();
            assert!(is_there, "{}: `{link}` leads to no file", file.path);
            if let (Some(heading), Ok(text)) = (heading, text) {
                let found = text.lines().filter(|line| line.starts_with('#'));
                let found =
                    found.map(|line| anchor(line.trim_start_matches('#'))).any(|name| name == heading);
                assert!(found, "{}: `{link}` leads to no heading", file.path);
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} links");
}

/// Folders at the top of the tree. A path of the text that begins with one is meant as one of the tree's.
const TOP: [&str; 8] = ["arch/", "docs/", "experiments/", "kernel/", "mm/", "qemu/", "report/", "tests/"];

/// The paths that stand between backquotes, but for patterns and what stands in fences.
fn paths(text: &str) -> Vec<String> {
    let text: String = text.split("```").step_by(2).collect();
    let words = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let is_path = |word: &String| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        plain && TOP.iter().any(|top| word.starts_with(top))
    };
    words.filter(is_path).collect()
}

/// A file or folder that a page names is there.
#[test]
fn named_files_are_there() {
    let mut seen = 0;
    for file in files().iter().filter(|file| file.path.ends_with(".md")) {
        for path in paths(&file.text) {
            // The README of a folder speaks of what is in it.
            let folder = Path::new(&file.path).parent().unwrap_or(Path::new("")).join(&path);
            let is_there = [qemu::root().join(&path), qemu::root().join(folder)].iter().any(|at| at.exists());
            assert!(is_there, "{}: there is no `{path}`", file.path);
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} paths");
}
