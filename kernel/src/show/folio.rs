//! All vmemmap of a hugetlb folio: where HVO does nothing, and where it has done its work. One of the two is read from
//! the live tables, the other is what [`Layout`] says.
//!
//! ```text
//!   folio of pfn 0x40000, 1048576 KiB: 262144 struct pages x 64 bytes = 16777216 bytes
//!   4096 pages of vmemmap from 0xffff800001000000
//!   before: struct pages of its own
//!     +0K..+16380K            4096 entries -> frames of its own, rw
//!   now, as the tables say: optimised
//!     +0K                        1 entry   -> 0x0041000000  rw
//!     +4K..+16380K            4095 entries -> 0x0040053000  r-  the page of tails that all folios of its size share
//!   4096 pages - 1 that stays = 4095 pages x 4096 = 16773120 bytes are free
//! ```
#![forbid(unsafe_code)]

use core::fmt;

use arch::addr::PAGE_SIZE;
use arch::layout::{self, STRUCT_PAGE_BYTES};
use arch::pte::PteFlags;
use arch::{Level, PhysAddr};
use mm::Mm;
use mm::config::TailEncoding;
use mm::hvo::describe::{self, VmemmapEntry};
use mm::hvo::layout::Layout;
use mm::page::{Flags, PageRef};

use crate::println;

/// Prints the vmemmap of the hugetlb folio at `head`, before and after. The tables are read without a lock.
pub fn folio(mm: &Mm, head: PageRef) {
    let (pfn, order) = (head.pfn().raw(), head.order());
    let (structs, kib) = (order.pages(), order.bytes() >> 10);
    let bytes = structs * STRUCT_PAGE_BYTES;
    println!(
        "    folio of pfn {pfn:#x}, {kib} KiB: {structs} struct pages x {STRUCT_PAGE_BYTES} bytes = {bytes} bytes"
    );
    match Layout::of(order) {
        Ok(layout) => before_and_after(mm, head, layout),
        Err(refused) => {
            println!("    now, as the tables say");
            pieces(mm, head, 1, None);
            println!("    {refused}");
        }
    }
}

fn before_and_after(mm: &Mm, head: PageRef, layout: Layout) {
    let (pages, kept, freed, bytes) = (layout.pages(), layout.kept(), layout.freed(), layout.bytes_freed());
    println!("    {pages} pages of vmemmap from {}", layout.page(head.pfn(), 0));
    let whose = match mm.config.tails {
        TailEncoding::Mask => "the page of tails that all folios of its size share",
        TailEncoding::Pointer => "the page of its own head",
    };
    let (all, stays, goes) = (Offsets(0, pages), Offsets(0, kept), Offsets(kept, freed));
    let is_optimised = head.flags().contains(Flags::HVO);
    if is_optimised {
        println!("    before: struct pages of its own");
        println!("      {all} entries -> frames of its own, rw");
        println!("    now, as the tables say: optimised");
        let shared = match mm.config.tails {
            TailEncoding::Mask => mm.hvo.shared_tails(layout.order()),
            TailEncoding::Pointer => describe::entry(mm, layout.page(head.pfn(), 0)).output(),
        };
        pieces(mm, head, pages, shared.map(|frame| (frame, whose)));
    } else {
        println!("    now, as the tables say: struct pages of its own");
        pieces(mm, head, pages, None);
        println!("    after, if HVO optimises it");
        println!("      {stays} entry   -> the frame that is there, rw");
        println!("      {goes} entries -> {whose}, r-");
    }
    let verb = if is_optimised { "are" } else { "would be" };
    println!(
        "    {pages} pages - {kept} that stays = {freed} pages x {PAGE_SIZE} = {bytes} bytes {verb} free"
    );
}

/// The offsets of some pages of vmemmap, and how many: 28 characters.
struct Offsets(u64, u64);

impl fmt::Display for Offsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |n: u64| (n * PAGE_SIZE) >> 10;
        let digits = |n: u64| kib(n).checked_ilog10().unwrap_or(0) as usize + 1;
        let Offsets(first, pages) = *self;
        let last = first + pages - 1;
        write!(f, "+{}K", kib(first))?;
        let mut width = digits(first) + 2;
        if pages > 1 {
            write!(f, "..+{}K", kib(last))?;
            width += digits(last) + 4;
        }
        write!(f, "{:1$}{pages:>6}", "", 22_usize.saturating_sub(width))
    }
}

/// Consecutive pages of vmemmap that are mapped alike.
struct Piece {
    first: u64,
    pages: u64,
    entry: VmemmapEntry,
    frames: Frames,
}

/// Which frames they map.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frames {
    /// The same one.
    One,
    /// One after the other.
    InARow,
    /// Several.
    Scattered,
}

impl Piece {
    /// Takes one more page in, if it is mapped as the others are; `last` is the last of them.
    fn take(&mut self, last: &VmemmapEntry, next: &VmemmapEntry) -> bool {
        let frames = match (last.output(), next.output()) {
            (None, None) => Frames::One,
            (Some(last), Some(next)) if next == last => Frames::One,
            (Some(last), Some(next)) if next == last.add(PAGE_SIZE) => Frames::InARow,
            (Some(_), Some(_)) => Frames::Scattered,
            _ => return false,
        };
        let alike = next.level == self.entry.level && next.flags() == self.entry.flags();
        if !alike || self.pages > 1 && (frames == Frames::One) != (self.frames == Frames::One) {
            return false;
        }
        if self.pages == 1 || frames == Frames::Scattered {
            self.frames = frames;
        }
        self.pages += 1;
        true
    }

    fn print(&self, shared: Option<(PhysAddr, &str)>) {
        let offsets = Offsets(self.first, self.pages);
        let what = match (self.entry.level, self.pages) {
            (Level::L3, 1) => "entry  ",
            (Level::L3, _) => "entries",
            _ => "of a block",
        };
        let Some(output) = self.entry.output() else {
            return println!("      {offsets} {what} -> no translation");
        };
        let rights = if self.entry.flags().contains(PteFlags::READ_ONLY) { "r-" } else { "rw" };
        let frame = output.raw();
        match (self.frames, shared.filter(|&(frame, _)| frame == output && self.first != 0)) {
            (Frames::One, Some((_, whose))) => {
                println!("      {offsets} {what} -> {frame:#012x}  {rights}  {whose}");
            }
            (Frames::One, None) => println!("      {offsets} {what} -> {frame:#012x}  {rights}"),
            (Frames::InARow, _) => {
                let last = output.add((self.pages - 1) * PAGE_SIZE).raw();
                println!("      {offsets} {what} -> {frame:#012x} to {last:#012x}  {rights}");
            }
            (Frames::Scattered, _) => {
                println!("      {offsets} {what} -> {frame:#012x} and others of its own  {rights}");
            }
        }
    }
}

/// Prints how the first `pages` pages of a folio's vmemmap are mapped.
fn pieces(mm: &Mm, head: PageRef, pages: u64, shared: Option<(PhysAddr, &str)>) {
    let entry = |n: u64| describe::entry(mm, layout::vmemmap(head.pfn()).add(n * PAGE_SIZE));
    let first = entry(0);
    let mut piece = Piece { first: 0, pages: 1, entry: first, frames: Frames::One };
    let mut last = first;
    for n in 1..pages {
        let next = entry(n);
        if !piece.take(&last, &next) {
            piece.print(shared);
            piece = Piece { first: n, pages: 1, entry: next, frames: Frames::One };
        }
        last = next;
    }
    piece.print(shared);
}
