//! `/proc/<pid>/pagemap`: a 64-bit word for each page of the user half, present or not.
//!
//! ```text
//!   63       62       61                     60..57  56                   55           54..0
//!  | present | moving | not anonymous memory | 0    | exclusively mapped | soft-dirty | pfn |
//! ```
//! Soft-dirty is never set: no write is tracked. The page of zeros is present, and neither of the two.
//!
//! A page that is moving to another frame is not present, and not known to be exclusive. To Linux it is swapped: bit
//! 62, bits 4..0 for where to, and from bit 5 on what is found there. Here that is [`MOVING_TO`] and the frame that it
//! leaves, also for a page of hugetlb, of which Linux says nothing meanwhile.
//!
//! A hugetlb page that has failed is not present, and its words are 0; to Linux a private one is swapped, too.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;

use super::leaves::{Leaf, Reading, Visitor, for_each_leaf};
use super::share::{self, Extent, Owner};
use crate::Mm;
use crate::page::{PageKind, PageRef};
use crate::pgtable::{moving_kind, normal_page};
use crate::space::AddressSpace;

/// The page is mapped.
pub const PRESENT: u64 = 1 << 63;
/// The page is moving to another frame.
pub const MOVING: u64 = 1 << 62;
/// The number of the swap file of all that moves, which no swap file has (Linux: `SWP_MIGRATION_READ`, where memory of
/// devices is not configured).
pub const MOVING_TO: u64 = 28;
/// Where the number of the frame begins that a moving page leaves (Linux: `MAX_SWAPFILES_SHIFT`).
pub const MOVING_SHIFT: u32 = 5;
/// The page is not anonymous memory: of a file, of shared memory, or of a device that has put it in.
pub const FILE: u64 = 1 << 61;
/// Nobody else maps the page, as far as the scheme can tell for sure.
pub const EXCLUSIVE: u64 = 1 << 56;
/// The frame's number.
pub const PFN: u64 = (1 << 55) - 1;
/// Words of a whole pagemap.
pub const WORDS: u64 = USER_END.raw() / PAGE_SIZE;

impl Mm {
    /// Writes the words of the pages from number `first` on (virtual address / 4096) to `words`, and returns how many
    /// there are: fewer than asked for only at the end of the user half, none of a space that has ended. Takes M for
    /// reading, so it may sleep.
    pub fn read_pagemap(&self, space: &AddressSpace, first: u64, words: &mut [u64]) -> usize {
        let left = WORDS.saturating_sub(first).min(words.len() as u64) as usize;
        let words = &mut words[..left];
        words.fill(0);
        if words.is_empty() || !space.has_tables() {
            return 0;
        }
        let start = VirtAddr::new(first * PAGE_SIZE);
        let end = start.add(left as u64 * PAGE_SIZE);
        let _mmap = space.mmap_lock.read(self.env);
        for_each_leaf(self, space, start, end, Reading::Locked, &mut Words { mm: self, start, end, words });
        left
    }
}

/// The words of `[start, end)`, one a page.
struct Words<'a> {
    mm: &'a Mm,
    start: VirtAddr,
    end: VirtAddr,
    words: &'a mut [u64],
}

impl Visitor for Words<'_> {
    fn page(&mut self, leaf: Leaf) {
        self.block(leaf);
    }

    fn block(&mut self, leaf: Leaf) {
        let mm = self.mm;
        let (skipped, words) = self.words_of(&leaf);
        fill(mm, leaf, skipped, words);
    }

    fn moving(&mut self, leaf: Leaf) {
        let output = leaf.desc.output(leaf.level);
        let file = if moving_kind(self.mm, output) == PageKind::Shmem { FILE } else { 0 };
        let (skipped, words) = self.words_of(&leaf);
        for (n, word) in (skipped..).zip(words) {
            *word = MOVING | file | MOVING_TO | output.pfn().add(n).raw() << MOVING_SHIFT;
        }
    }
}

impl Words<'_> {
    /// The words of the pages of a leaf that lie in the range, and how many of its pages lie before.
    fn words_of(&mut self, leaf: &Leaf) -> (u64, &mut [u64]) {
        let va = leaf.va();
        let (from, to) = (va.max(self.start), va.add(leaf.level.entry_bytes()).min(self.end));
        let pages = |bytes: u64| (bytes / PAGE_SIZE) as usize;
        let (at, n) = (pages(from.offset_from(self.start)), pages(to.offset_from(from)));
        (from.offset_from(va) / PAGE_SIZE, &mut self.words[at..at + n])
    }
}

/// The words of the pages of one leaf, from its page `skipped` on.
fn fill(mm: &Mm, leaf: Leaf, skipped: u64, words: &mut [u64]) {
    let first = leaf.desc.output(leaf.level).pfn().add(skipped).raw();
    let normal = normal_page(leaf.desc, leaf.level);
    let is_anon =
        |page: PageRef| matches!(page.head(mm.config.tails).kind(), PageKind::Anon | PageKind::Hugetlb);
    let file = if normal.is_none_or(is_anon) { 0 } else { FILE };
    let mut whole = None;
    for (n, word) in (0..).zip(words) {
        *word = PRESENT | file | (first + n) & PFN;
        let Some(page) = normal.map(|page| page.nth(skipped + n)) else { continue };
        let share = whole.unwrap_or_else(|| {
            let head = page.head(mm.config.tails);
            match share::of_page(mm, head, page) {
                Extent::Page(share) => share,
                Extent::Folio(share) => *whole.insert(share),
            }
        });
        if share.owner == Owner::Private {
            *word |= EXCLUSIVE;
        }
    }
}
