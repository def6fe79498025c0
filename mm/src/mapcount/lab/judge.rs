//! Each answer against the truth of a full scan, and how many are right.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;

use super::{Dice, Lab, LabFolio};
use crate::mapcount::verdict::{Violation, weigh_folio, weigh_page};
use crate::mapcount::{Answer, Question};
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
        let mut note = |question: Question, said: Answer<u64>, truth: u64| {
            if head.is_folio() {
                scores.note(question, said.value().unwrap_or(u64::MAX), truth);
            }
        };
        weigh_folio(scheme, head, truth.of_folio(), &mut note)?;
        for _ in 0..SAMPLES.min(folio.pages()) {
            let n = dice.below(folio.pages());
            weigh_page(scheme, head, n, truth.of_page(n), &mut note)?;
        }
        Ok(())
    }
}
