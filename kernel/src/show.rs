//! How tables and struct pages are printed, the same on the console and in the tour. Each value formats without
//! taking a lock, as printing asks.
#![forbid(unsafe_code)]

use core::fmt;

use arch::Level;
use arch::pte::{Kind, PteFlags, Rights};
use mm::hvo::VmemmapEntry;
use mm::hvo::describe::PAGES;
use mm::page::{Flags, PageRef};
use mm::pgtable::{Walk, WalkStep};

use crate::println;

/// Prints a walk, a level a line:
///
/// ```text
///   level   entry at         descriptor
///   L2 PMD  0x41f05008  0x00600000_42000f41  block -> 0x42000000  rw user normal nG AF
/// ```
pub fn walk(walk: &Walk) {
    println!("    level   entry at      descriptor");
    walk.steps().iter().for_each(|step| println!("    {}", Step(step)));
}

/// One descriptor of a walk, in a line.
pub struct Step<'a>(pub &'a WalkStep);

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WalkStep { level, slot, desc } = *self.0;
        write!(f, "L{level} {}  {:#012x}  {desc}  ", level.name(), slot.raw())?;
        let output = desc.output(level).raw();
        match desc.kind(level) {
            Kind::Invalid => f.write_str("invalid"),
            Kind::Table => write!(f, "table -> {output:#x}"),
            Kind::Block => write!(f, "block -> {output:#x}  {}", Rights(desc.flags(level))),
            Kind::Page => write!(f, "page  -> {output:#x}  {}", Rights(desc.flags(level))),
        }
    }
}

/// Prints the eight vmemmap pages of a 2 MiB range, one a line.
pub fn vmemmap(entries: &[VmemmapEntry; PAGES]) {
    println!("    page  vmemmap address     level  descriptor          output address");
    for (n, entry) in entries.iter().enumerate() {
        println!("    {n}     {}  {}", entry.va, Mapped(entry));
    }
}

/// How a page of vmemmap is mapped, in a line.
pub struct Mapped<'a>(pub &'a VmemmapEntry);

impl fmt::Display for Mapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let VmemmapEntry { level, desc, .. } = *self.0;
        let size = if level == Level::L3 { "page " } else { "block" };
        match self.0.output() {
            Some(output) => write!(f, "{size}  {desc}  {:#x}  {}", output.raw(), Rights(self.0.flags())),
            None => write!(f, "-      {desc}  no translation"),
        }
    }
}

/// The frame behind a page of vmemmap, and whether it can be written: 16 characters.
pub struct Frame<'a>(pub &'a VmemmapEntry);

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_read_only = self.0.flags().contains(PteFlags::READ_ONLY);
        match self.0.output() {
            Some(output) => write!(f, "{:#012x}  {}", output.raw(), if is_read_only { "r-" } else { "rw" }),
            None => write!(f, "{:<16}", "no translation"),
        }
    }
}

/// Prints a struct page, in two lines. `head` is the head of its folio; itself for a single page.
pub fn struct_page(page: PageRef, head: PageRef) {
    let (pfn, memory) = (page.pfn().raw(), page.pfn().phys().raw());
    println!("    pfn {pfn:#x} (memory at {memory:#x}), struct page at {}", page.address());
    println!("        {}", Fields { page, head });
}

/// The fields of a struct page, in a line.
struct Fields {
    page: PageRef,
    head: PageRef,
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { page, head } = *self;
        let flags = page.flags();
        let flag = |bit, word| if flags.contains(bit) { word } else { "" };
        write!(f, "{}, order {}", page.kind().name(), page.order())?;
        write!(f, "{}{}", flag(Flags::HEAD, ", head"), flag(Flags::HVO, ", optimised"))?;
        if head != page {
            write!(f, ", tail of pfn {:#x}", head.pfn().raw())?;
        }
        write!(f, "; references {}, mapcount {}", page.refcount(), page.raw_mapcount())?;
        write!(f, ", pins {}; mapping {}, index {:#x}", page.pincount(), page.mapping(), page.index())
    }
}
