//! The worked example of `docs/policy.md`: what the page shows is made in a copy of the tree, built and tried.
#![forbid(unsafe_code, unstable_features)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::copies::mirror;

/// The texts of the blocks of the page that are patches.
fn patches(page: &str) -> Vec<String> {
    let blocks = page.split("```diff\n").skip(1);
    blocks.filter_map(|rest| rest.split_once("\n```").map(|(patch, _)| format!("{patch}\n"))).collect()
}

/// Makes the patch in the tree: of one file, named `b/...` in its head.
fn apply(tree: &Path, patch: &str) -> PathBuf {
    let parsed = diffy::Patch::from_str(patch).unwrap_or_else(|error| panic!("{error}:\n{patch}"));
    let name = parsed.modified().and_then(|name| name.strip_prefix("b/")).expect("a patch names its file");
    let path = tree.join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let made = diffy::apply(&text, &parsed).unwrap_or_else(|error| panic!("{name}: {error}"));
    std::fs::write(&path, made).unwrap();
    path
}

/// Runs a command of the copy, which must end well; returns what it said.
fn run(tree: &Path, words: &[&str], append: &str, typed: &str) -> String {
    let input = tree.join("target/typed");
    std::fs::create_dir_all(tree.join("target")).unwrap();
    std::fs::write(&input, typed).unwrap();
    let mut command = Command::new(words[0]);
    // What make and cargo say of the tree around is not for the copy.
    for name in
        ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CARGO_TARGET_DIR", "CPU", "SMP", "MEM", "EL2", "TIMEOUT"]
    {
        command.env_remove(name);
    }
    let command = command.args(&words[1..]).env("APPEND", append).current_dir(tree);
    let output = command.stdin(std::fs::File::open(&input).unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{words:?}: {}\n{said}", output.status);
    said
}

/// Every patch of the page can be made; the tests that the page names pass with it, the one that it adds among them, and
/// every other one can be built; the kernel boots with the new word, and the workloads get as many huge pages as it says.
#[test]
fn the_page_holds() {
    let root = qemu::root();
    let tree = root.join("target/example");
    mirror(root, &tree).unwrap();
    let page = std::fs::read_to_string(root.join("docs/policy.md")).unwrap();
    let patches = patches(&page);
    assert!(patches.len() >= 5, "{} patches on the page", patches.len());
    let made: Vec<_> = patches.iter().map(|patch| apply(&tree, patch)).collect();
    assert!(made.iter().any(|path| path.ends_with("mm/src/thp/policy.rs")));

    let cargo = ["qemu/toolchain.sh", "host", "cargo", "test", "-q"];
    let said = run(&tree, &[&cargo[..], &["-p", "mm", "--lib", "thp::policy"]].concat(), "", "");
    assert!(said.contains("test result: ok. 3 passed"), "{said}");
    for tests in [
        &["--lib", "thp::settings"][..],
        &["--test", "matrix", "bbm_level_0"],
        &["--test", "space_memory", "random_calls"],
    ] {
        let said = run(&tree, &[&cargo[..], &["-p", "mm"], tests].concat(), "", "");
        assert!(said.contains("test result: ok."), "{said}");
    }
    let check = ["qemu/toolchain.sh", "host", "cargo", "check", "-q", "-p", "mm", "--tests"];
    run(&tree, &check, "", "");
    let said = run(&tree, &[&cargo[..], &["-p", "tests", "--test", "source", "settings"]].concat(), "", "");
    assert!(said.contains("test result: ok."), "{said}");

    let typed =
        "cat /sys/kernel/mm/transparent_hugepage/enabled\nrun workload sequential\nrun workload sparse\n";
    let said = run(&tree, &["make", "run"], "thp=first tour=off", typed);
    for line in [
        "never always madvise reserve defer [first]",
        "workload.sequential.huge 16 count",
        "workload.sparse.huge 0 count",
    ] {
        assert!(said.contains(line), "`{line}` is not said:\n{said}");
    }
}

/// Without the page's answer the claim fails: patches are found and made, not taken for granted.
#[test]
fn patches_are_made() {
    let page = "text\n```diff\n--- a/f\n+++ b/f\n@@ -1,2 +1,3 @@\n a\n+b\n c\n```\n```rust\nnot this\n```\n";
    let found = patches(page);
    assert_eq!(found.len(), 1);
    let tree = std::env::temp_dir().join(format!("quire-example-{}", std::process::id()));
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("f"), "0\na\nc\n").unwrap();
    assert_eq!(std::fs::read_to_string(apply(&tree, &found[0])).unwrap(), "0\na\nb\nc\n");
    std::fs::write(tree.join("f"), "something else\n").unwrap();
    assert!(std::panic::catch_unwind(|| apply(&tree, &found[0])).is_err(), "a stale patch is an error");
    std::fs::remove_dir_all(&tree).unwrap();
}
