//! A scheme's answers about one folio against what the tables say, and against what the scheme claims of each answer.
//!
//! ```text
//!   Truth, PageTruth     who has scanned the tables: a lab, or the check of live trees
//!        `---- weigh_folio, weigh_page ----> note(question, said, truth)    or a Violation
//! ```
//! `Exact` answers are right to the number, whatever the contract; what the contract calls exact is never answered with
//! a bound; a bound is never less than the truth. An estimate is noted, and no more.
#![forbid(unsafe_code)]

use core::fmt;

use super::{Answer, Claim, Question, Sharing};
use crate::config::Mapcount;
use crate::page::{PageKind, PageRef};

/// What the tables say of a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Truth {
    /// Leaf entries that map any part.
    pub entries: u64,
    /// Pages of it that are mapped (4 KiB units).
    pub pages: u64,
    /// Address spaces that map any part.
    pub spaces: u64,
}

/// What the tables say of one page of a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageTruth {
    /// Leaf entries that map it.
    pub entries: u64,
    /// Address spaces that map it; who knows no more of several than that they are several says 2.
    pub spaces: u64,
}

/// An answer that the scheme's contract does not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What was asked.
    pub question: Question,
    /// What the contract claims.
    pub claim: Claim,
    /// What was answered.
    pub said: Answer<u64>,
    /// What a scan of the tables says.
    pub truth: u64,
    /// The order of the folio.
    pub order: u8,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { question, claim, said, truth, order } = self;
        write!(f, "{} of a folio of order {order}: ", question.name())?;
        write!(f, "said {said:?} where the tables say {truth}, and the claim is {}", claim.word())
    }
}

/// The answer as numbers.
fn number<T: Copy>(answer: Answer<T>, value: impl Fn(T) -> u64) -> Answer<u64> {
    match answer {
        Answer::Exact(said) => Answer::Exact(value(said)),
        Answer::AtMost(said) => Answer::AtMost(value(said)),
        Answer::Unknown => Answer::Unknown,
    }
}

/// [`Sharing`] as numbers.
fn several(answer: Answer<Sharing>) -> Answer<u64> {
    number(answer, |sharing| u64::from(sharing == Sharing::Shared))
}

/// What the scheme claims of its answer about this folio.
fn claim(scheme: Mapcount, head: PageRef, question: Question) -> Claim {
    // Of a single page everything is known, but whether two mappings of an object are one space's.
    match (head.is_folio(), question) {
        (true, _) => scheme.contract()[question as usize],
        (false, Question::Sharing) if head.kind() != PageKind::Anon => Claim::Bound,
        (false, _) => Claim::Exact,
    }
}

/// Holds one answer against the truth.
fn weigh(
    head: PageRef,
    (question, claim): (Question, Claim),
    said: Answer<u64>,
    truth: u64,
) -> Result<(), Violation> {
    let holds = match (claim, said) {
        (Claim::Estimate, _) => true,
        (_, Answer::Exact(value)) => value == truth,
        (Claim::Exact, _) => false,
        (Claim::Bound, Answer::AtMost(most)) => most >= truth,
        (Claim::Bound, Answer::Unknown) => true,
    };
    let order = head.order().raw();
    if holds { Ok(()) } else { Err(Violation { question, claim, said, truth, order }) }
}

/// Asks all that can be asked of the folio, or single page, as a whole.
///
/// # Errors
/// The first [`Violation`].
pub fn weigh_folio(
    scheme: Mapcount,
    head: PageRef,
    truth: Truth,
    mut note: impl FnMut(Question, Answer<u64>, u64),
) -> Result<(), Violation> {
    let mut ask = |question: Question, said: Answer<u64>, truth: u64| {
        note(question, said, truth);
        weigh(head, (question, claim(scheme, head, question)), said, truth)
    };
    ask(Question::Entries, number(scheme.entries(head), u64::from), truth.entries)?;
    let mapped = scheme.is_mapped(head);
    // `false` is always exact; `true` is where the contract says so.
    let exact = !mapped || claim(scheme, head, Question::Mapped) == Claim::Exact;
    let said = if exact { Answer::Exact(mapped.into()) } else { Answer::AtMost(mapped.into()) };
    ask(Question::Mapped, said, (truth.entries != 0).into())?;
    ask(Question::PagesMapped, number(scheme.pages_mapped(head), u64::from), truth.pages)?;
    ask(Question::Sharing, several(scheme.sharing(head)), (truth.spaces > 1).into())
}

/// Asks all that can be asked of page `n` of the folio, or of a single page, where `n` is 0.
///
/// # Errors
/// The first [`Violation`].
pub fn weigh_page(
    scheme: Mapcount,
    head: PageRef,
    n: u64,
    truth: PageTruth,
    mut note: impl FnMut(Question, Answer<u64>, u64),
) -> Result<(), Violation> {
    let page = head.nth(n);
    // A page that is said to be one space's is, whatever the contract; one that is said to be several spaces', too.
    let shared = several(scheme.page_sharing(head, page));
    weigh(head, (Question::Sharing, Claim::Bound), shared, (truth.spaces > 1).into())?;
    let said = scheme.page_entries(head, page);
    let mut ask = |question: Question, said: Answer<u64>| {
        note(question, said, truth.entries);
        weigh(head, (question, claim(scheme, head, question)), said, truth.entries)
    };
    ask(Question::PageEntries, number(said, u64::from))?;
    if truth.entries == 0 {
        return Ok(());
    }
    let divisor = said.exact().unwrap_or_else(|| scheme.average(head));
    ask(Question::Average, Answer::Exact(divisor.into()))
}
