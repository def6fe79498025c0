//! The fence around `unsafe`: which files may have it, that the others forbid it, and that each use is explained.

use crate::rust::code_only;
use crate::tree::{File, rust_files};
use std::collections::BTreeSet;

/// `path — reason`, one a line.
const PERMITTED: &str = include_str!("unsafe.txt");

fn permitted() -> Vec<(&'static str, &'static str)> {
    let lines = PERMITTED.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(" — ").unwrap_or((line, "")))
        .map(|(path, why)| (path.trim(), why.trim()))
        .collect()
}

/// The numbers (from 0) of the lines on which code says `unsafe`, and what follows it.
fn uses(file: &File) -> Vec<(usize, String)> {
    let code = code_only(&file.text);
    let mut uses = Vec::new();
    for (at, _) in code.match_indices("unsafe") {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let after = &code[at + "unsafe".len()..];
        if !code[..at].ends_with(is_word) && !after.starts_with(is_word) {
            uses.push((code[..at].matches('\n').count(), after.trim_start().to_owned()));
        }
    }
    uses
}

/// `unsafe` stands only in files that the list names with a reason, and each file on the list has it.
#[test]
fn only_in_the_listed_files() {
    let found: BTreeSet<_> =
        rust_files().into_iter().filter(|file| !uses(file).is_empty()).map(|file| file.path).collect();
    let permitted = permitted();
    let listed: BTreeSet<_> = permitted.iter().map(|(path, _)| (*path).to_owned()).collect();
    let unlisted: Vec<_> = found.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&found).collect();
    let no_reason: Vec<_> = permitted.iter().filter(|(_, why)| why.is_empty()).collect();
    assert!(unlisted.is_empty(), "unsafe code, but not in tests/source/unsafe.txt: {unlisted:#?}");
    assert!(stale.is_empty(), "in tests/source/unsafe.txt, but without unsafe code: {stale:#?}");
    assert!(no_reason.is_empty(), "in tests/source/unsafe.txt without a reason: {no_reason:#?}");
}

/// Every file of `mm` without `unsafe` forbids it, itself or through the `mod.rs` of its folder; but for the tables
/// of contents above a file that has it.
#[test]
fn mm_forbids_it_everywhere_else() {
    let permitted = permitted();
    let above_unsafe = |path: &str| {
        let folder = path.trim_end_matches("mod.rs").trim_end_matches("lib.rs");
        folder.ends_with('/') && permitted.iter().any(|(listed, _)| listed.starts_with(folder))
    };
    let files = rust_files();
    let forbids = |file: &File| file.text.contains("#![forbid(unsafe_code)]");
    let forbidding: BTreeSet<_> =
        files.iter().filter(|file| forbids(file)).map(|file| file.path.as_str()).collect();
    let through_folder = |path: &str| {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        folders.into_iter().any(|folder| forbidding.contains(format!("{folder}/mod.rs").as_str()))
    };
    let bare: Vec<_> = files
        .iter()
        .filter(|file| file.path.starts_with("mm/src/") && uses(file).is_empty() && !above_unsafe(&file.path))
        .map(|file| file.path.as_str())
        .filter(|path| !forbidding.contains(path) && !through_folder(path))
        .collect();
    assert!(bare.is_empty(), "without #![forbid(unsafe_code)]: {bare:#?}");
}

/// Where the toolchain lets nightly features through, every crate still refuses them.
#[test]
fn crate_roots_forbid_unstable_features() {
    let roots = [
        "arch/src/lib.rs",
        "mm/src/lib.rs",
        "kernel/src/main.rs",
        "rows/src/lib.rs",
        "qemu/src/lib.rs",
        "qemu/src/main.rs",
        "report/src/lib.rs",
        "report/src/main.rs",
    ];
    let files = rust_files();
    for root in roots {
        let file = files.iter().find(|file| file.path == root);
        let text = &file.unwrap_or_else(|| panic!("{root} is missing")).text;
        assert!(
            text.lines().any(|line| line.starts_with("#![forbid(") && line.contains("unstable_features")),
            "{root} does not forbid unstable_features"
        );
    }
}

/// Is the use at `line` explained: a comment SAFETY or a heading `# Safety` on its line or above it, no further up
/// than its statement and the comments and attributes before that?
fn is_explained(lines: &[&str], line: usize) -> bool {
    let says = |text: &&str| text.contains("SAFETY:") || text.contains("# Safety");
    let above = lines[..line].iter().rev().take_while(|text| !ends_statement(text));
    says(&lines[line]) || above.into_iter().any(says)
}

/// Does a statement, or a run of comments, end with this line?
fn ends_statement(text: &str) -> bool {
    let text = text.trim();
    let comment_or_attribute = text.starts_with("//") || text.starts_with("#[");
    !comment_or_attribute && (text.is_empty() || text.ends_with([';', '{', '}', ',']))
}

/// Is the function at `line` a method of `impl Trait for Type`? What it asks of its caller, the trait says.
fn answers_a_trait(lines: &[&str], line: usize) -> bool {
    let indent = |text: &str| text.len() - text.trim_start().len();
    let outer = |number: &usize| {
        let text = lines[*number];
        let begins = text.trim_start().trim_start_matches("unsafe ").starts_with("impl");
        begins && indent(text) < indent(lines[line])
    };
    let Some(header) = (0..line).rev().find(outer) else { return false };
    let header = lines[header..line].iter().scan(false, |ended, text| {
        let before = *ended;
        *ended |= text.contains('{');
        (!before).then_some(*text)
    });
    header.into_iter().any(|text| text.contains(" for "))
}

/// Each `unsafe` block, impl, trait and function says why it is sound, or what it asks of its caller.
#[test]
fn every_use_is_explained() {
    let mut bare = Vec::new();
    for file in rust_files() {
        let lines: Vec<_> = file.text.lines().collect();
        for (line, after) in uses(&file) {
            let begins = ["{", "impl", "fn", "trait", "extern"].iter().any(|word| after.starts_with(word));
            let passed_over =
                is_function_pointer(&after) || after.starts_with("fn") && answers_a_trait(&lines, line);
            if begins && !passed_over && !is_explained(&lines, line) {
                bare.push(format!("{}:{}: {}", file.path, line + 1, lines[line].trim()));
            }
        }
    }
    assert!(bare.is_empty(), "unsafe without a SAFETY comment:\n{}", bare.join("\n"));
}

/// A type like `unsafe fn(usize)` or `unsafe extern "C" fn()`: nothing to explain.
fn is_function_pointer(after: &str) -> bool {
    let after = after.trim_start_matches("extern").trim_start();
    after.starts_with("fn(") || after.starts_with("fn (")
}

/// The search sees what it must and passes over what it may.
#[test]
fn the_search_has_teeth() {
    let file = |text: &str| File { path: "x.rs".to_owned(), text: text.to_owned() };
    let text = "#![forbid(unsafe_code)]\n// unsafe\nlet s = \"unsafe\";\nlet x = unsafe { f() };\n";
    assert_eq!(uses(&file(text)), [(3, "{ f() };\n".to_owned())]);
    let explained = |text: &str| {
        let lines: Vec<_> = text.lines().collect();
        is_explained(&lines, uses(&file(text))[0].0)
    };
    assert!(explained("// SAFETY: it is.\nlet x = unsafe { f() };"));
    assert!(explained("// SAFETY: it is,\n// as said above.\n#[inline]\nlet x =\n    unsafe { f() };"));
    assert!(explained("/// Does.\n///\n/// # Safety\n/// 1. Asked.\n#[inline]\npub unsafe fn f() {}"));
    assert!(!explained("let y = 1;\nlet x = unsafe { f() };"));
    assert!(!explained("// SAFETY: of another.\nlet y = 1;\nlet x = unsafe { f() };"));
    assert!(!explained("// SAFETY: of another.\n\nunsafe impl Sync for X {}"));
    let answers = |text: &str| {
        let lines: Vec<_> = text.lines().collect();
        answers_a_trait(&lines, uses(&file(text)).last().map_or(0, |(line, _)| *line))
    };
    assert!(answers("unsafe impl<T> Alloc\n    for X<T>\n{\n    unsafe fn a() {}\n}"));
    assert!(!answers("impl X {\n    fn for_each() {}\n    unsafe fn a() {}\n}"));
    assert!(!answers("impl Y for X {\n}\nunsafe fn a() {}"));
}
