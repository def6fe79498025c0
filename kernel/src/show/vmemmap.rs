//! How pages of vmemmap are mapped, and how HVO changes it on this boot.
#![forbid(unsafe_code)]

use core::fmt;

use arch::Level;
use arch::pte::{PteFlags, Rights};
use mm::Mm;
use mm::config::{HvoSplit, HvoStrategy};
use mm::hvo::VmemmapEntry;
use mm::hvo::describe::PAGES;

use crate::println;

/// Prints the eight vmemmap pages of a 2 MiB range, one a line.
pub fn vmemmap(entries: &[VmemmapEntry; PAGES]) {
    println!("    page  vmemmap address     level  descriptor          output address");
    for (n, entry) in entries.iter().enumerate() {
        println!("    {n}     {}  {}", entry.va, Mapped(entry));
    }
}

/// How a page of vmemmap is mapped, in a line.
struct Mapped<'a>(pub &'a VmemmapEntry);

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

/// The strategy of HVO and the way of splitting blocks of vmemmap, in words.
pub struct Hvo<'a>(pub &'a Mm);

impl fmt::Display for Hvo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategy = self.0.hvo.strategy();
        match (strategy, self.0.hvo.split()) {
            (HvoStrategy::Off, _) => f.write_str("off"),
            (_, HvoSplit::Refuse) => write!(f, "{strategy}; no block of vmemmap is split"),
            (_, split) => write!(f, "{strategy}; a block of vmemmap is split by {split}"),
        }
    }
}
