//! A scheme's answers against the truth of a full scan of live trees.
//!
//! [`Scan`] is what a check of all leaves finds of one folio of up to 2 MiB, entry by entry, without memory but its own:
//!
//! ```text
//!   space by space      see, see, ... next_space
//!   counts              leaf entries of each page
//!   here, any, several  a bit for each page: mapped by this space, by any so far, by two or more
//! ```
//! Then every question is asked of the folio; and of its pages, where what the tables say changes from one page to the
//! next, or of all of them where the scheme claims to count each page.
#![forbid(unsafe_code)]

use arch::Order;

use crate::Mm;
use crate::check::{Inconsistency, agree};
use crate::config::Mapcount;
use crate::page::PageRef;

use super::verdict::{PageTruth, Truth, Violation, weigh_folio, weigh_page};
use super::{Claim, Question, scheme};

/// Pages of the largest folio that live trees map.
const PAGES: usize = 1 << Order::PMD.raw();

/// A bit for each page.
type Bits = [u64; PAGES.div_ceil(64)];

fn has(bits: &Bits, n: usize) -> u64 {
    bits[n / 64] >> (n % 64) & 1
}

/// What a scan of all tables has found of one folio, or single page.
pub(crate) struct Scan {
    entries: u64,
    spaces: u64,
    counts: [u32; PAGES],
    here: Bits,
    any: Bits,
    several: Bits,
}

impl Scan {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        const NONE: Bits = [0; PAGES.div_ceil(64)];
        Scan { entries: 0, spaces: 0, counts: [0; PAGES], here: NONE, any: NONE, several: NONE }
    }

    /// An entry of this space maps so many pages of the folio, from page `first` on.
    pub(crate) fn see(&mut self, first: u64, pages: u64) {
        self.entries += 1;
        let end = (first + pages).min(PAGES as u64);
        for n in first as usize..end as usize {
            self.counts[n] += 1;
            self.here[n / 64] |= 1 << (n % 64);
        }
    }

    /// All entries of this space were seen. What comes is another's.
    pub(crate) fn next_space(&mut self) {
        self.spaces += u64::from(self.here.iter().any(|&word| word != 0));
        for n in 0..self.here.len() {
            self.several[n] |= self.any[n] & self.here[n];
            self.any[n] |= self.here[n];
            self.here[n] = 0;
        }
    }

    fn of_folio(&self) -> Truth {
        let pages = self.any.iter().map(|word| u64::from(word.count_ones())).sum();
        Truth { entries: self.entries, pages, spaces: self.spaces }
    }

    fn of_page(&self, n: usize) -> PageTruth {
        let spaces = has(&self.any, n) + has(&self.several, n);
        PageTruth { entries: self.counts[n].into(), spaces }
    }
}

/// Whether what the scheme says of the folio, or single page, is true: exact answers to the number, bounds as bounds;
/// and whether it keeps nothing of one that is not mapped.
///
/// # Errors
/// The first [`Inconsistency`].
pub(crate) fn agrees(mm: &Mm, head: PageRef, scan: &Scan) -> Result<(), Inconsistency> {
    let scheme = scheme(mm);
    ask_all(scheme, head, scan).map_err(|wrong| differ(head, wrong))?;
    if scan.entries == 0 { is_unused(head) } else { Ok(()) }
}

fn ask_all(scheme: Mapcount, head: PageRef, scan: &Scan) -> Result<(), Violation> {
    weigh_folio(scheme, head, scan.of_folio(), |_, _, _| ())?;
    let each = head.is_folio() && scheme.contract()[Question::PageEntries as usize] == Claim::Exact;
    let mut last = None;
    for n in 0..(head.order().pages() as usize).min(PAGES) {
        let truth = scan.of_page(n);
        if each || last != Some(truth) {
            weigh_page(scheme, head, n as u64, truth, |_, _, _| ())?;
        }
        last = Some(truth);
    }
    Ok(())
}

/// What an answer says that the contract does not allow.
fn differ(head: PageRef, wrong: Violation) -> Inconsistency {
    let what = match wrong.question {
        Question::Mapped => "whether a folio is mapped",
        Question::Entries => "leaf entries that map a page",
        Question::PageEntries | Question::Average => "leaf entries that map one page of a folio",
        Question::PagesMapped => "pages of a folio that are mapped",
        Question::Sharing => "whether several spaces map a page",
    };
    let found = wrong.said.value().unwrap_or(u64::MAX);
    // The two may be equal: where the contract wants the number, and a bound was given.
    Inconsistency { what, pfn: Some(head.pfn()), expected: wrong.truth, found }
}

/// Whether the first tail of a folio that nothing maps is as pristine as it was before anything did.
///
/// # Errors
/// An [`Inconsistency`] that says which bits of its fields are set.
pub(crate) fn is_unused(head: PageRef) -> Result<(), Inconsistency> {
    let kept = if head.is_folio() { head.first_tail().kept() } else { 0 };
    agree("counts that the first tail of an unmapped folio keeps", Some(head.pfn()), 0, kept)
}
