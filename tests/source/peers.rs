//! `tests/peers/README.md` says of each row that is dearer than its goal where the instructions go, and of no other.

use qemu::bench::figures;
use qemu::bench::peers::Peers;
use qemu::root;

/// Names in backquotes in the first column; a star stands for anything.
fn explained() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("tests/peers/README.md")).unwrap();
    let table = text.split("| row | where the instructions go |").nth(1).expect("the table is there");
    let lines = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names = lines.filter_map(|line| line.split('|').nth(1));
    names
        .flat_map(|names| names.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((begin, end)) => {
            name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
        }
        None => pattern == name,
    }
}

/// By the figures of the tree.
#[test]
fn rows_that_miss_their_goals_are_explained() {
    let (peers, figures) = (Peers::load().unwrap(), figures::baseline("mmbench").unwrap().unwrap());
    let goal = |name: &str| peers.goal("mmbench", name, |_| None);
    let misses = |(name, cost): &(&String, &i64)| goal(name).is_some_and(|most| **cost > most);
    let missed: Vec<_> = figures.iter().filter(misses).map(|(name, _)| name.as_str()).collect();
    let explained = explained();
    assert!(!missed.is_empty() && !explained.is_empty(), "{missed:?} {explained:?}");
    for name in &missed {
        assert!(
            explained.iter().any(|pattern| fits(pattern, name)),
            "{name} is dearer than its goal, and why?"
        );
    }
    for pattern in &explained {
        assert!(
            missed.iter().any(|name| fits(pattern, name)),
            "`{pattern}` is explained, and meets its goal"
        );
    }
}
