//! Which source belongs to which part of a fault.
//!
//! An instruction belongs to the innermost function in whose source it stands, inlined or not, that says what it is
//! for: what Rust's library, a crate of the registry or a helper for numbers does, it does for its caller.

use crate::error::Error;
use crate::symbols::shorten;
use addr2line::Loader;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

/// What an instruction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The vector, registers put aside and back, the return.
    Entry,
    /// Decoding the trap, finding the VMA, locks, and the handler of the fault itself.
    Dispatch,
    /// Buddy allocator, per-CPU lists, kernel heap.
    Allocator,
    /// Zeroing pages, and copying them.
    Zeroing,
    /// Struct pages: folios, reference counts, mapcounts, reverse mappings.
    StructPage,
    /// Page tables: walks, descriptors, flushes.
    Tables,
    /// Policies for huge pages, and reservations.
    Policy,
    /// Counters.
    Statistics,
    /// What belongs to none of these.
    Other,
}

impl Part {
    /// Every part, in the order of the rows.
    pub const ALL: [Part; 9] = [
        Part::Entry,
        Part::Dispatch,
        Part::Allocator,
        Part::Zeroing,
        Part::StructPage,
        Part::Tables,
        Part::Policy,
        Part::Statistics,
        Part::Other,
    ];

    /// The name in a row.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Part::Entry => "entry",
            Part::Dispatch => "dispatch",
            Part::Allocator => "allocator",
            Part::Zeroing => "zeroing",
            Part::StructPage => "struct_page",
            Part::Tables => "tables",
            Part::Policy => "policy",
            Part::Statistics => "statistics",
            Part::Other => "other",
        }
    }
}

/// Begins of paths in this tree; the longest that fits counts.
const SOURCES: [(&str, Part); 52] = [
    ("arch/src/aarch64/vectors.rs", Part::Entry),
    ("arch/src/aarch64/trap.rs", Part::Entry),
    ("arch/src/esr.rs", Part::Dispatch),
    ("arch/src/sync", Part::Dispatch),
    ("arch/src/aarch64/uaccess.rs", Part::Zeroing),
    ("arch/src/aarch64/bulk.rs", Part::Zeroing),
    ("arch/src/aarch64/string.rs", Part::Zeroing),
    ("arch/src/aarch64/phys.rs", Part::Tables),
    ("arch/src/aarch64/mmu.rs", Part::Tables),
    ("arch/src/aarch64/tlb.rs", Part::Tables),
    ("arch/src/bbm", Part::Tables),
    ("arch/src/contiguous", Part::Tables),
    ("arch/src/pte", Part::Tables),
    ("arch/src/tlbi", Part::Tables),
    ("arch/src/ttbr.rs", Part::Tables),
    ("kernel/src/process/", Part::Dispatch),
    ("kernel/src/sched/", Part::Dispatch),
    ("kernel/src/trap.rs", Part::Dispatch),
    ("kernel/src/heap.rs", Part::Allocator),
    ("mm/src/boot/", Part::Other),
    ("mm/src/buddy/", Part::Allocator),
    ("mm/src/check/", Part::Other),
    ("mm/src/config", Part::Policy),
    ("mm/src/device/", Part::Dispatch),
    ("mm/src/env.rs", Part::Other),
    ("mm/src/error.rs", Part::Other),
    ("mm/src/fault/", Part::Dispatch),
    ("mm/src/hugetlb/", Part::Policy),
    ("mm/src/hvo/", Part::Other),
    ("mm/src/kalloc/", Part::Allocator),
    ("mm/src/locks.rs", Part::Dispatch),
    ("mm/src/mapcount/", Part::StructPage),
    ("mm/src/page/", Part::StructPage),
    ("mm/src/pgtable/", Part::Tables),
    ("mm/src/pin/", Part::StructPage),
    ("mm/src/report/", Part::Other),
    ("mm/src/rmap/", Part::StructPage),
    ("mm/src/shmem/", Part::Dispatch),
    ("mm/src/space/", Part::Dispatch),
    ("mm/src/stats.rs", Part::Statistics),
    ("mm/src/steps.rs", Part::Other),
    ("mm/src/testkit/", Part::Other),
    ("mm/src/thp/", Part::Policy),
    ("mm/src/trace/", Part::Statistics),
    ("mm/src/turnstile.rs", Part::Dispatch),
    ("mm/src/userfault/", Part::Dispatch),
    // Assembly has no source here but its label.
    ("quire_zero", Part::Zeroing),
    ("quire_copy", Part::Zeroing),
    // Tails of a folio.
    ("quire_fill_lines", Part::StructPage),
    ("from_user", Part::Entry),
    ("quire_vectors", Part::Entry),
    ("quire_run_user", Part::Entry),
];

/// The part of a path in this tree, or of the label of assembly. `None`: what it does, it does for its caller.
#[must_use]
pub fn part_of(source: &str) -> Option<Part> {
    let fitting = SOURCES.iter().filter(|(begin, _)| source.starts_with(begin));
    fitting.max_by_key(|(begin, _)| begin.len()).map(|(_, part)| *part)
}

/// The path in this tree of a source of the kernel, wherever it was built; `None` for one of a library.
fn in_tree(file: &str) -> Option<&str> {
    let path = shorten(file);
    if path.starts_with("library/") || file.contains("registry/src/") {
        return None;
    }
    let begin = ["arch/src/", "kernel/src/", "mm/src/"].iter().filter_map(|room| path.rfind(room)).max()?;
    Some(&path[begin..])
}

/// The part of a function of a library that was made for a type of ours: dropping it, for one. The symbol names the
/// type.
fn of_type(symbol: &str) -> Option<Part> {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    let mut rooms =
        name.match_indices("mm::").map(|(at, _)| name[at + 4..].split("::").next().unwrap_or_default());
    rooms.find_map(|room| {
        part_of(&format!("mm/src/{room}/")).or_else(|| part_of(&format!("mm/src/{room}.rs")))
    })
}

/// The parts of a kernel's instructions.
pub struct Places {
    loader: Loader,
    known: RefCell<HashMap<u64, Part>>,
}

impl Places {
    /// Those of the kernel `elf`, which has debug information.
    ///
    /// # Errors
    /// [`Error::Kernel`].
    pub fn of(elf: &Path) -> Result<Places, Error> {
        let loader = Loader::new(elf).map_err(|error| Error::Kernel(elf.to_path_buf(), error.to_string()))?;
        Ok(Places { loader, known: RefCell::default() })
    }

    /// The part of the instruction at `pc`.
    pub fn part(&self, pc: u64) -> Part {
        *self.known.borrow_mut().entry(pc).or_insert_with(|| self.look_up(pc))
    }

    fn look_up(&self, pc: u64) -> Part {
        if let Ok(mut frames) = self.loader.find_frames(pc) {
            while let Ok(Some(frame)) = frames.next() {
                let file = frame.location.and_then(|location| location.file);
                if let Some(part) = file.and_then(in_tree).and_then(part_of) {
                    return part;
                }
            }
        }
        self.loader
            .find_symbol(pc)
            .and_then(|symbol| part_of(symbol).or_else(|| of_type(symbol)))
            .unwrap_or(Part::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every room of mm stands in the table, so that none is counted as `other`, or as its caller's, by oversight.
    #[test]
    fn every_room_of_mm_has_a_part() {
        let text = std::fs::read_to_string(crate::root().join("mm/src/lib.rs")).unwrap();
        let modules = text.lines().filter_map(|line| {
            let name = line.trim_start_matches("pub ").strip_prefix("mod ")?;
            name.strip_suffix(';')
        });
        let (mut count, mut missing) = (0, Vec::new());
        for module in modules {
            count += 1;
            let paths = [format!("mm/src/{module}.rs"), format!("mm/src/{module}/mod.rs")];
            if !paths.iter().any(|path| crate::root().join(path).exists() && part_of(path).is_some()) {
                missing.push(module.to_owned());
            }
        }
        assert!(count > 20, "{count} modules were found in mm/src/lib.rs");
        assert!(missing.is_empty(), "no part is named for: {}", missing.join(" "));
    }

    /// Every begin in the table is one of something that exists: what was renamed would else be lost.
    #[test]
    fn what_the_table_names_exists() {
        let bulk = ["bulk", "vectors"].map(|name| {
            std::fs::read_to_string(crate::root().join(format!("arch/src/aarch64/{name}.rs"))).unwrap()
        });
        for (begin, _) in SOURCES {
            let exists = ["", ".rs"].iter().any(|end| crate::root().join(format!("{begin}{end}")).exists());
            let is_family = begin == "arch/src/tlbi" && crate::root().join("arch/src/tlbi_plan.rs").exists();
            let is_label = bulk.iter().any(|text| text.contains(&format!("{begin}:")));
            assert!(exists || is_family || is_label, "{begin}: there is no such source");
        }
    }

    /// A source is known wherever the kernel was built; one of a library is nobody's.
    #[test]
    fn paths() {
        assert_eq!(in_tree("/elsewhere/mm/src/fault/anon.rs"), Some("mm/src/fault/anon.rs"));
        assert_eq!(in_tree("mm/src/stats.rs"), Some("mm/src/stats.rs"));
        assert_eq!(in_tree("/rust/library/core/src/num/mod.rs"), None);
        assert_eq!(in_tree("/x/registry/src/y/spin-0.12.3/src/mutex/spin.rs"), None);
    }

    /// The longest begin counts, and helpers belong to whoever calls them.
    #[test]
    fn the_longest_begin() {
        assert_eq!(part_of("arch/src/aarch64/bulk.rs"), Some(Part::Zeroing));
        assert_eq!(part_of("mm/src/fault/anon.rs"), Some(Part::Dispatch));
        assert_eq!(part_of("arch/src/addr.rs"), None);
        assert_eq!(part_of("library/core/src/num/mod.rs"), None);
        assert_eq!(part_of("quire_copy_from_user"), Some(Part::Zeroing));
        let drop = "core::ptr::drop_in_place::<mm::pgtable::stock::TableStock>";
        assert_eq!((of_type(drop), of_type("core::fmt::write")), (Some(Part::Tables), None));
    }
}
