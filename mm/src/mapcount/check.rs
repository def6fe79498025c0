//! A scheme's answers against the truth of a full scan.
#![forbid(unsafe_code)]

use crate::Mm;
use crate::check::{Inconsistency, agree};
use crate::page::PageRef;

use super::{Answer, scheme};

/// What a scan of all tables found of one folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Truth {
    /// Leaf entries that map any part.
    pub(crate) entries: u64,
}

/// Whether what the scheme says of the folio is true: exact answers to the number, bounds as bounds.
///
/// # Errors
/// The first [`Inconsistency`].
pub(crate) fn agrees(mm: &Mm, head: PageRef, truth: Truth) -> Result<(), Inconsistency> {
    let (scheme, pfn) = (scheme(mm), Some(head.pfn()));
    let counted = match scheme.entries(head) {
        Answer::Exact(entries) => u64::from(entries),
        Answer::AtMost(most) => truth.entries.min(most.into()),
        Answer::Unknown => truth.entries,
    };
    agree("leaf entries that map a page", pfn, truth.entries, counted)
}
