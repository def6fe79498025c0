//! A scheme's answers against the truth of a full scan of live trees.
//!
//! [`Scan`] is what a check of all leaves finds of one *window* of a folio, 512 of its pages, entry by entry, without
//! memory but its own:
//!
//! ```text
//!   space by space      see, see, ... next_space
//!   counts              leaf entries of each page
//!   here, any, several  a bit for each page: mapped by this space, by any so far, by two or more
//! ```
//! Then every question is asked of the window's pages, where what the tables say changes from one page to the next, or of
//! all of them where the scheme claims to count each page; and, when all windows were seen, of the folio.
#![forbid(unsafe_code)]

use core::ops::Range;

use arch::Order;

use crate::Mm;
use crate::check::{Inconsistency, agree};
use crate::config::Mapcount;
use crate::page::PageRef;

use super::verdict::{PageTruth, Truth, Violation, weigh_folio, weigh_page};
use super::{Claim, Question, scheme};

/// Pages of a window.
const PAGES: usize = 1 << Order::PMD.raw();

/// A bit for each page.
type Bits = [u64; PAGES.div_ceil(64)];

fn has(bits: &Bits, n: usize) -> u64 {
    bits[n / 64] >> (n % 64) & 1
}

/// What a scan of all tables has found of one window of a folio, or of a single page.
pub(crate) struct Scan {
    /// The window's first page.
    from: u64,
    entries: u64,
    spaces: u64,
    counts: [u32; PAGES],
    here: Bits,
    any: Bits,
    several: Bits,
}

impl Scan {
    /// Nothing yet of the window that begins with this page of its folio.
    const fn new(from: u64) -> Self {
        const NONE: Bits = [0; PAGES.div_ceil(64)];
        Scan { from, entries: 0, spaces: 0, counts: [0; PAGES], here: NONE, any: NONE, several: NONE }
    }

    /// All windows of a folio.
    pub(crate) fn windows(head: PageRef) -> impl Iterator<Item = Scan> {
        (0..head.order().pages()).step_by(PAGES).map(Scan::new)
    }
    /// The window's pages, as numbers in their folio.
    pub(crate) fn window(&self, head: PageRef) -> Range<u64> {
        self.from..(self.from + PAGES as u64).min(head.order().pages())
    }

    /// An entry of this space maps so many pages of the folio, from page `first` on. Returns whether it is counted here:
    /// not in a window before this one.
    pub(crate) fn see(&mut self, first: u64, pages: u64) -> Seen {
        let end = (first + pages).min(self.from + PAGES as u64).saturating_sub(self.from);
        for n in first.saturating_sub(self.from) as usize..end as usize {
            self.counts[n] += 1;
            self.here[n / 64] |= 1 << (n % 64);
        }
        if first < self.from {
            return Seen::Before;
        }
        self.entries += 1;
        Seen::Here
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

    /// What is true of the folio, with what the window adds. In how many spaces it is mapped, one window cannot tell of
    /// others.
    fn adds_to(&self, truth: Truth) -> Truth {
        let pages: u64 = self.any.iter().map(|word| u64::from(word.count_ones())).sum();
        Truth { entries: truth.entries + self.entries, pages: truth.pages + pages, spaces: self.spaces }
    }
    /// Whether any space maps a part of the window.
    pub(crate) fn is_mapped(&self) -> bool {
        self.spaces != 0
    }

    fn page(&self, n: usize) -> PageTruth {
        let spaces = has(&self.any, n) + has(&self.several, n);
        PageTruth { entries: self.counts[n].into(), spaces }
    }
}

/// Whose an entry is that reaches into a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// It begins in this window.
    Here,
    /// It begins in a window before.
    Before,
}

/// Whether what the scheme says of the folio, or single page, is true: exact answers to the number, bounds as bounds;
/// and whether it keeps nothing of one that is not mapped. `see` shows all leaves that map it to a scan, space by space;
/// `spaces` says how many spaces have any, where no one window can tell; and `judge` is asked first.
///
/// # Errors
/// The first [`Inconsistency`], `judge`'s too.
pub(crate) fn agrees(
    mm: &Mm,
    head: PageRef,
    mut see: impl FnMut(&mut Scan),
    spaces: impl FnOnce() -> u64,
    judge: impl FnOnce(Truth) -> Result<(), Inconsistency>,
) -> Result<(), Inconsistency> {
    let ask_pages = |scan: &Scan| ask_pages(scheme(mm), head, scan).map_err(|wrong| differ(head, wrong));
    let (mut truth, mut only) = (Truth::default(), None);
    let large = head.order() > Order::PMD;
    for mut scan in Scan::windows(head) {
        see(&mut scan);
        truth = scan.adds_to(truth);
        if large {
            ask_pages(&scan)?;
        } else {
            only = Some(scan);
        }
    }
    if large {
        truth.spaces = spaces();
    }
    judge(truth)?;
    weigh_folio(scheme(mm), head, truth, |_, _, _| ()).map_err(|wrong| differ(head, wrong))?;
    only.as_ref().map_or(Ok(()), ask_pages)?;
    if truth.entries == 0 { is_unused(head) } else { Ok(()) }
}

fn ask_pages(scheme: Mapcount, head: PageRef, scan: &Scan) -> Result<(), Violation> {
    let each = head.is_folio() && scheme.contract()[Question::PageEntries as usize] == Claim::Exact;
    let mut last = None;
    for n in scan.window(head) {
        let truth = scan.page((n - scan.from) as usize);
        if each || last != Some(truth) {
            weigh_page(scheme, head, n, truth, |_, _, _| ())?;
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
