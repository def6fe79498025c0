//! Every experiment is in the README, by its question, and is done by the kernel.

use qemu::bench::experiment;

/// The README has a row for each file of `experiments/`, with its question, and none beside.
#[test]
fn the_readme_lists_them() {
    let readme = std::fs::read_to_string(qemu::root().join("README.md")).unwrap();
    let table =
        readme.split("| experiment | what it asks |\n|---|---|\n").nth(1).expect("the table is there");
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).map(str::to_owned).collect();
    let expected: Vec<_> =
        experiment::all().unwrap().iter().map(|one| format!("| `{}` | {} |", one.name, one.asks)).collect();
    assert_eq!(rows, expected);
}

/// What can be had in one boot stands in the kernel's list, which has no other.
#[test]
fn the_kernel_does_them() {
    let path = qemu::root().join("kernel/src/experiment/mod.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let list = text
        .split("const ALL: &[(&str, Does)] = &[")
        .nth(1)
        .and_then(|rest| rest.split("];").next())
        .unwrap();
    let done: Vec<_> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let all = experiment::all().unwrap();
    let expected: Vec<_> =
        all.iter().filter(|one| one.is_of_one_boot()).map(|one| one.name.clone()).collect();
    assert_eq!(done, expected);
}
