//! The room's part of the full check: at rest nothing moves, and the lists of partly mapped and of possibly underused
//! folios are what the marks of all folios say.
#![forbid(unsafe_code)]

use super::deferred::{Lists, with_lists};
use crate::Mm;
use crate::check::{Inconsistency, Report, agree, for_each_block};
use crate::page::{Flags, PageKind};

impl Mm {
    /// The lists against the marks of all folios.
    pub(crate) fn check_deferred(&self, _: &mut Report) -> Result<(), Inconsistency> {
        with_lists(self, |lists| self.check_lists(lists))
    }

    fn check_lists(&self, lists: &Lists) -> Result<(), Inconsistency> {
        let broken = lists.partial.broken_link().map(|page| page.pfn());
        agree("a link back on the list of partly mapped folios", broken, 0, broken.is_some().into())?;
        let broken = lists.candidates.broken_link().map(|page| page.pfn());
        agree(
            "a link back on the list of huge pages that may be underused",
            broken,
            0,
            broken.is_some().into(),
        )?;
        let (mut partial, mut candidates) = (0, 0);
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
                candidates += u64::from(candidate);
                let good = !candidate || folio && !in_part;
                agree("what may be underused is a huge page that is mapped whole", pfn, 1, good.into())
            })?;
        }
        agree("folios on the list of partly mapped ones", None, partial, lists.partial.len())?;
        agree(
            "huge pages on the list of those that may be underused",
            None,
            candidates,
            lists.candidates.len(),
        )
    }
}
