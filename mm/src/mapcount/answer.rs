//! What a question about mappings is answered with, and how far the answer can be trusted.
#![forbid(unsafe_code)]

use core::fmt;

/// How far an answer can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer<T> {
    /// This is so, as long as nobody changes the tables.
    Exact(T),
    /// No more than this.
    AtMost(T),
    /// The scheme cannot tell.
    Unknown,
}

impl<T: Copy> Answer<T> {
    /// The value, exact or bound.
    pub fn value(self) -> Option<T> {
        match self {
            Answer::Exact(value) | Answer::AtMost(value) => Some(value),
            Answer::Unknown => None,
        }
    }
    /// The value, where it is exact.
    pub fn exact(self) -> Option<T> {
        match self {
            Answer::Exact(value) => Some(value),
            Answer::AtMost(_) | Answer::Unknown => None,
        }
    }
}

/// Who maps a folio. `AtMost(Shared)` is "maybe shared": one space or several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sharing {
    /// One address space, or none.
    Exclusive,
    /// More than one.
    Shared,
}

/// What became of a folio when entries were removed, as far as the scheme can see: whether it is worth splitting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remains {
    /// Nothing maps it any more.
    Nothing,
    /// Some page of it is mapped and some page is not.
    Part,
    /// Every page is mapped, or the scheme cannot tell.
    Whole,
}

/// The counts of a folio are so high that a further mapping is refused: -ENOMEM for fork, SIGBUS for a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountFull;

impl fmt::Display for CountFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the folio is mapped so often that its count would overflow")
    }
}

/// A question that is asked about mappings, in the order of the table in [`super`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Question {
    /// Whether any entry maps any part of the folio.
    Mapped,
    /// How many leaf entries map any part (Linux: `folio_mapcount`).
    Entries,
    /// How many leaf entries map one page of the folio.
    PageEntries,
    /// How many pages of the folio are mapped at all.
    PagesMapped,
    /// Whether several address spaces map the folio.
    Sharing,
    /// By how many a page's size is divided for the proportional set size.
    Average,
}

impl Question {
    /// All questions.
    pub const ALL: [Question; 6] = [
        Question::Mapped,
        Question::Entries,
        Question::PageEntries,
        Question::PagesMapped,
        Question::Sharing,
        Question::Average,
    ];
    /// A short name, for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Question::Mapped => "mapped",
            Question::Entries => "entries",
            Question::PageEntries => "page_entries",
            Question::PagesMapped => "pages_mapped",
            Question::Sharing => "shared",
            Question::Average => "average",
        }
    }
}

/// How a scheme answers a question for folios of several pages. For a single page every scheme counts entries, and is
/// exact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Always right.
    Exact,
    /// Exact, or never less than the truth; each answer says which.
    Bound,
    /// May be wrong either way.
    Estimate,
}

impl Claim {
    /// The word in the table.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Claim::Exact => "exact",
            Claim::Bound => "bound",
            Claim::Estimate => "estimate",
        }
    }
}

/// What a scheme claims, one claim a question in the order of [`Question::ALL`].
pub type Contract = [Claim; Question::ALL.len()];
