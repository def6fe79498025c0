//! The documents show the table.

use super::super::table::{Count, EntryKind, Fork, Munmap, Pin, PrivateWrite, Row, Smaps};
use super::super::{Entries, TABLE};

fn line(row: &Row) -> String {
    let entry = match row.entry {
        EntryKind::OutsideFrame => "frame outside of RAM",
        EntryKind::RamFrame => "frame of RAM",
        EntryKind::KernelPage => "page of the kernel",
        EntryKind::VmallocPage => "page of vmalloc memory",
        EntryKind::PrivateCopy => "private copy",
    };
    let vma = match row.vma {
        Entries::PfnMap => "PFNMAP",
        Entries::MixedMap => "MIXEDMAP",
    };
    let Some(holds) = row.semantics else {
        return format!("| {entry} | {vma} | EINVAL | - | - | - | - | - | - |");
    };
    let inserted = if row.entry == EntryKind::PrivateCopy { "by a write" } else { "yes" };
    let count = match holds.count {
        Count::Nobody => "nobody's",
        Count::Entry => "the entry's",
    };
    let pin = match holds.pin {
        Pin::Refused => "EFAULT",
        Pin::CopyIfPrivate => "EFAULT; private: a copy",
        Pin::PageOrCopy => "the page; private: a copy",
        Pin::Page => "the page",
    };
    let write = match holds.private_write {
        PrivateWrite::Bus => "SIGBUS",
        PrivateWrite::Copy => "a copy",
        PrivateWrite::Anonymous => "in place",
    };
    let fork = match holds.fork {
        Fork::Entry => "the same entry",
        Fork::Counted => "the same entry, counted",
        Fork::Anonymous => "shared until written",
    };
    let smaps = match holds.smaps {
        Smaps::Size => "Size only",
        Smaps::File => "Rss",
        Smaps::Anonymous => "Rss, Anonymous",
    };
    let munmap = match holds.munmap {
        Munmap::Nothing => "nothing",
        Munmap::Reference => "its reference",
    };
    format!("| {entry} | {vma} | {inserted} | {count} | {pin} | {write} | {fork} | {smaps} | {munmap} |")
}

/// The room's documentation and the README show these rows, in this order, and no others.
#[test]
fn the_documents_show_the_table() {
    let rows: Vec<String> = TABLE.iter().map(line).collect();
    for (path, text) in [
        ("mm/src/device/mod.rs", include_str!("../mod.rs")),
        ("mm/README.md", include_str!("../../../README.md")),
    ] {
        let lines = text.lines().map(|line| line.trim_start_matches("//! "));
        let of_table = lines.skip_while(|line| !line.starts_with("| entry | VMA |")).skip(2);
        let shown: Vec<&str> = of_table.take_while(|line| line.starts_with('|')).collect();
        assert_eq!(shown, rows, "{path} should have:\n{}", rows.join("\n"));
    }
}

/// Each kind of entry has one row for each kind of VMA.
#[test]
fn the_table_is_whole() {
    for (n, row) in TABLE.iter().enumerate() {
        assert!(TABLE[..n].iter().all(|other| (other.entry, other.vma) != (row.entry, row.vma)));
    }
    assert_eq!(TABLE.len(), 5 * 2);
}
