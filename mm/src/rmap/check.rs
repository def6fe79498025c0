//! The room's part of the full check: at rest nothing moves, and the list of partly mapped folios is what the marks of
//! all folios say.
#![forbid(unsafe_code)]

use super::deferred::with_list;
use crate::Mm;
use crate::check::{Inconsistency, Report, agree, for_each_block};
use crate::page::{Flags, PageKind, PageList};

impl Mm {
    /// The list against the marks of all folios.
    pub(crate) fn check_deferred(&self, _: &mut Report) -> Result<(), Inconsistency> {
        with_list(self, |folios| self.check_list(folios))
    }

    fn check_list(&self, folios: &PageList) -> Result<(), Inconsistency> {
        let broken = folios.broken_link().map(|page| page.pfn());
        agree("a link back on the list of partly mapped folios", broken, 0, broken.is_some().into())?;
        let mut marked = 0;
        for &bank in self.ram() {
            for_each_block(bank, |page, kind, _| {
                let (flags, pfn) = (page.flags(), Some(page.pfn()));
                let moving = flags.contains(Flags::MOVING);
                agree("a folio is moving though nobody moves it", pfn, 0, moving.into())?;
                let partial = flags.contains(Flags::PARTIAL);
                marked += u64::from(partial);
                let good = !partial || kind == PageKind::Anon && page.is_folio();
                agree("what is mapped in part is a folio of anonymous memory", pfn, 1, good.into())
            })?;
        }
        agree("folios on the list of partly mapped ones", None, marked, folios.len())
    }
}
