//! The room's part of the full check: at rest nothing moves, and the lists of partly mapped and of possibly underused
//! folios are what the marks of all folios say.
#![forbid(unsafe_code)]

use super::deferred::{CLASSES, Lists, class_of, filled, with_lists};
use crate::Mm;
use crate::check::{Inconsistency, Report, agree, for_each_block};
use crate::page::{Flags, PageKind, PageQueue};
use crate::thp::popmap::PAGES;

impl Mm {
    /// The lists against the marks of all folios.
    pub(crate) fn check_deferred(&self, _: &mut Report) -> Result<(), Inconsistency> {
        with_lists(self, |lists| self.check_lists(lists))
    }

    fn check_lists(&self, lists: &Lists) -> Result<(), Inconsistency> {
        let broken = lists.partial.broken_link().map(|page| page.pfn());
        agree("a link back on the list of partly mapped folios", broken, 0, broken.is_some().into())?;
        let broken = lists.candidates.iter().find_map(PageQueue::broken_link).map(|page| page.pfn());
        agree(
            "a link back on the list of huge pages that may be underused",
            broken,
            0,
            broken.is_some().into(),
        )?;
        let (mut partial, mut candidates) = (0, [0; CLASSES]);
        for &bank in self.ram() {
            for_each_block(bank, |page, kind, _| {
                let (flags, pfn) = (page.flags(), Some(page.pfn()));
                let moving = flags.contains(Flags::MOVING);
                agree("a folio is moving though nobody moves it", pfn, 0, moving.into())?;
                let folio = kind == PageKind::Anon && page.is_folio();
                let in_part = flags.contains(Flags::PARTIAL);
                partial += u64::from(in_part);
                let good = !in_part || folio;
                agree("what is mapped in part is a folio of anonymous memory", pfn, 1, good.into())?;
                let candidate = flags.contains(Flags::CANDIDATE);
                let good = !candidate || folio && !in_part;
                agree("what may be underused is a huge page that is mapped whole", pfn, 1, good.into())?;
                let filled = if folio { filled(page) } else { 0 };
                let good = filled < PAGES as u64 && (filled == 0 || in_part || candidate);
                agree("filled pages of a huge page are remembered on a list", pfn, 1, good.into())?;
                candidates[class_of(filled).min(CLASSES - 1)] += u64::from(candidate);
                Ok(())
            })?;
        }
        agree("folios on the list of partly mapped ones", None, partial, lists.partial.len())?;
        candidates.iter().zip(&lists.candidates).try_for_each(|(&found, queue)| {
            agree("huge pages on the list of those that may be underused", None, found, queue.len())
        })
    }
}
