//! Each answer against the truth of a full scan, and against what the scheme claims of it.
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::{Dice, Lab, LabFolio};
use crate::mapcount::{Answer, Claim, Question, Sharing};
use crate::page::page_of;
use crate::pgtable::visit::visit_leaves;

/// Pages of a folio that are asked about one by one.
const SAMPLES: u64 = 4;

/// How one answer compares with the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Verdict {
    /// It is the truth.
    Right,
    /// It is more.
    Over,
    /// It is less.
    Under,
}

/// How many answers to each question were right, over, and under.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scores(pub [[u64; 3]; Question::ALL.len()]);

impl Scores {
    fn note(&mut self, question: Question, said: u64, truth: u64) {
        let verdict = match said.cmp(&truth) {
            core::cmp::Ordering::Equal => Verdict::Right,
            core::cmp::Ordering::Greater => Verdict::Over,
            core::cmp::Ordering::Less => Verdict::Under,
        };
        self.0[question as usize][verdict as usize] += 1;
    }
    /// Of all answers to a question, how many came out so, in basis points (hundredths of a per cent).
    #[must_use]
    pub fn share(&self, question: Question, verdict: Verdict) -> u64 {
        let row = self.0[question as usize];
        row[verdict as usize] * 10_000 / row.iter().sum::<u64>().max(1)
    }
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

impl Lab<'_> {
    /// Finds the truth: scans all trees.
    pub fn scan(&mut self) {
        self.folios.iter_mut().flatten().for_each(|folio| folio.truth.clear());
        for (s, space) in self.spaces.iter().enumerate() {
            let Some(space) = space else { continue };
            visit_leaves(space.tree.root(), VirtAddr::new(0), |leaf| {
                let page = page_of(leaf.desc.output(leaf.level).pfn());
                let holds = |f: &&mut LabFolio| page >= f.head && page < f.head.nth(f.pages());
                if let Some(folio) = self.folios.iter_mut().flatten().find(holds) {
                    let first = page.pfn().offset_from(folio.head.pfn());
                    folio.truth.see(s, first, leaf.level.entry_bytes() / PAGE_SIZE);
                }
            });
        }
    }

    /// Scans, asks everything of every folio, and notes how the answers compare.
    ///
    /// # Errors
    /// The first [`Violation`].
    pub fn judge(&mut self, dice: &mut Dice, scores: &mut Scores) -> Result<(), Violation> {
        self.scan();
        self.folios.iter().flatten().try_for_each(|folio| self.judge_folio(folio, dice, scores))
    }

    fn judge_folio(&self, folio: &LabFolio, dice: &mut Dice, scores: &mut Scores) -> Result<(), Violation> {
        let (scheme, head, truth) = (self.scheme, folio.head, &folio.truth);
        let single = !head.is_folio();
        let mut weigh = |question: Question, said: Answer<u64>, truth: u64| {
            // Of a single page everything is known, but whether two mappings of an object are one space's.
            let claim = match (single, question) {
                (true, Question::Sharing) if !folio.is_private() => Claim::Bound,
                (true, _) => Claim::Exact,
                (false, _) => scheme.contract()[question as usize],
            };
            if !single {
                scores.note(question, said.value().unwrap_or(u64::MAX), truth);
            }
            let holds = match (claim, said) {
                (Claim::Estimate, _) => true,
                (_, Answer::Exact(value)) => value == truth,
                (Claim::Exact, _) => false,
                (Claim::Bound, Answer::AtMost(most)) => most >= truth,
                (Claim::Bound, Answer::Unknown) => true,
            };
            let order = head.order().raw();
            if holds { Ok(()) } else { Err(Violation { question, claim, said, truth, order }) }
        };
        let mapped = scheme.is_mapped(head);
        // `false` is always exact; `true` is where the contract says so.
        let exact = !mapped || single || scheme.contract()[Question::Mapped as usize] == Claim::Exact;
        let said = if exact { Answer::Exact(mapped.into()) } else { Answer::AtMost(mapped.into()) };
        weigh(Question::Mapped, said, (truth.entries != 0).into())?;
        weigh(Question::Entries, number(scheme.entries(head), u64::from), truth.entries)?;
        weigh(Question::PagesMapped, number(scheme.pages_mapped(head), u64::from), truth.pages_mapped())?;
        let shared = |sharing: Sharing| u64::from(sharing == Sharing::Shared);
        let sharers = u64::from(truth.sharers() > 1);
        weigh(Question::Sharing, number(scheme.sharing(head), shared), sharers)?;
        for _ in 0..SAMPLES.min(folio.pages()) {
            let n = dice.below(folio.pages());
            let (page, entries) = (head.nth(n), u64::from(truth.pages[n as usize]));
            let said = scheme.page_entries(head, page);
            weigh(Question::PageEntries, number(said, u64::from), entries)?;
            self.judge_page_sharing(folio, n)?;
            if entries != 0 {
                let divisor = said.exact().unwrap_or_else(|| scheme.average(head));
                weigh(Question::Average, Answer::Exact(divisor.into()), entries)?;
            }
        }
        Ok(())
    }

    /// A page that is said to be one space's is, whatever the contract; one that is said to be several spaces', too.
    fn judge_page_sharing(&self, folio: &LabFolio, n: u64) -> Result<(), Violation> {
        let truth = u64::from(folio.truth.spaces[n as usize].count_ones() > 1);
        let said = self.scheme.page_sharing(folio.head, folio.head.nth(n));
        let said = number(said, |sharing| u64::from(sharing == Sharing::Shared));
        let holds = match said {
            Answer::Exact(value) => value == truth,
            Answer::AtMost(most) => most >= truth,
            Answer::Unknown => true,
        };
        let order = folio.head.order().raw();
        let wrong = Violation { question: Question::Sharing, claim: Claim::Bound, said, truth, order };
        if holds { Ok(()) } else { Err(wrong) }
    }
}
