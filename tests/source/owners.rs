//! Who may make the owner of a reference: outside `mm` nobody, as the compiler sees to; inside only what has
//! remembered the reference.

use crate::rust::code_only;
use crate::tree::rust_files;

/// `file — what has remembered the reference`.
const MAKERS: &[(&str, &str)] = &[
    ("mm/src/page/owned.rs", "a list's links; a run of single pages; nobody: a folio was divided"),
    ("mm/src/boot/folios.rs", "nobody: the folio was made before there was an allocator"),
    ("mm/src/page/count.rs", "nobody: the count was just raised for it"),
    ("mm/src/buddy/batch.rs", "a leaf entry that was cleared, and has been flushed"),
    (
        "mm/src/buddy/pages.rs",
        "nobody: the block was just given out, or split, or its last reference dropped; entries that were flushed",
    ),
    ("mm/src/pgtable/gather.rs", "a leaf entry that was cleared, and has been flushed"),
    ("mm/src/pgtable/table.rs", "an entry that led to a table, and has been flushed"),
    ("mm/src/rmap/split.rs", "nobody: a folio of which the reference was the last one became single pages"),
    ("mm/src/thp/pieces.rs", "a reservation's pages and pieces"),
    ("mm/src/thp/promote.rs", "a promotion's claim"),
    ("mm/src/thp/strays.rs", "an entry of a table that was unlinked, and flushed"),
    ("mm/src/kalloc/source.rs", "the address of a block of the heap"),
];

/// `FolioRef::from_raw` and its like stand only in the files that are listed, and in tests that provoke.
#[test]
fn owners_are_made_where_references_were_remembered() {
    let makes = |text: &str| {
        let code = code_only(text);
        ["FolioRef::from_raw", "SinglePages::from_raw"].iter().any(|call| code.contains(call))
    };
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let found: Vec<_> = rust_files()
        .into_iter()
        .filter(|file| file.path.starts_with("mm/") && !is_test(&file.path) && makes(&file.text))
        .map(|file| file.path)
        .collect();
    let mut listed: Vec<_> = MAKERS.iter().map(|&(path, _)| path.to_owned()).collect();
    listed.sort();
    assert_eq!(found, listed, "the files that make an owner, and tests/source/owners.rs");
}
