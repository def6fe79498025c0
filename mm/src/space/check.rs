//! Every count that mappings have, against a full scan of the tables.
//!
//! Frames are never shared between spaces yet, nor mapped twice in one, so a frame's truth stands in one
//! place: the leaf, or the run of 512 leaves, at the address that its struct page names.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::layout::USER_END;
use arch::{Order, VirtAddr};

use super::range::{self, Visit};
use super::{AddressSpace, Usage, Vma};
use crate::Mm;
use crate::check::{Inconsistency, agree};
use crate::mapcount::{self, Answer};
use crate::page::{PageRef, page_of};
use crate::pgtable::WalkStep;
use crate::stats::Counter;

impl Mm {
    /// Checks every leaf of `spaces`, which are all the address spaces that there are, and the counters that
    /// add them up. Nothing else runs meanwhile.
    ///
    /// # Errors
    /// The first [`Inconsistency`].
    pub fn check_spaces(&self, spaces: &[&AddressSpace]) -> Result<(), Inconsistency> {
        let (mut anon, mut blocks) = (0, 0);
        for space in spaces {
            let Usage { anon: pages, anon_huge, .. } = self.usage(space);
            anon += pages;
            blocks += anon_huge / Order::PMD.pages();
            self.check_leaves(space)?;
            self.check_reservations_of(space)?;
        }
        agree("anonymous pages mapped", None, anon, self.stats.get(Counter::NrAnon))?;
        agree("anonymous blocks mapped", None, blocks, self.stats.get(Counter::NrAnonThp))
    }

    fn check_leaves(&self, space: &AddressSpace) -> Result<(), Inconsistency> {
        let mut outcome = Ok(());
        let mut in_vmas = 0;
        space.for_each_vma(|vma| {
            range::scan(space, vma.start, vma.end, |visit| {
                if let (Ok(()), Some(leaf)) = (outcome, visit.leaf()) {
                    in_vmas += 1;
                    outcome = self.check_leaf(space, vma, &visit, leaf);
                }
            });
        });
        outcome?;
        let all = range::count_leaves(space, VirtAddr::new(0), USER_END);
        agree("every leaf lies in a VMA", None, all, in_vmas)
    }

    fn check_leaf(
        &self,
        space: &AddressSpace,
        vma: &Vma,
        visit: &Visit<'_>,
        leaf: WalkStep,
    ) -> Result<(), Inconsistency> {
        let output = leaf.desc.output(leaf.level);
        let good = range::leaf_for(self, output, leaf.level, vma.prot);
        agree("a leaf has the rights of its VMA", Some(output.pfn()), good.raw(), leaf.desc.raw())?;
        if self.zero_page.is_at(output) {
            return Ok(());
        }
        let page = page_of(output.pfn());
        let head = page.head(self.config.tails);
        self.check_folio(visit, head)?;
        let first = visit.va.raw() / PAGE_SIZE - page.pfn().offset_from(head.pfn());
        agree("the folio's space", Some(head.pfn()), space.id, head.mapping())?;
        agree("the folio's index", Some(head.pfn()), first, head.index())
    }

    /// The folio's counts against the leaves that map it, all of which lie in the folio's own range.
    fn check_folio(&self, visit: &Visit<'_>, head: PageRef) -> Result<(), Inconsistency> {
        let folio = head.pfn();
        let start = visit.va.align_down(head.order().bytes());
        let mut entries = 0;
        let mut va = start;
        while va < start.add(head.order().bytes()) {
            let leaf = visit.tree.walk(va).last();
            let output = leaf.desc.output(leaf.level);
            let maps = leaf.desc.is_leaf(leaf.level)
                && output.pfn() >= folio
                && output.pfn() < folio.add(head.order().pages());
            entries += u64::from(maps);
            va = va.align_down(leaf.level.entry_bytes()).add(leaf.level.entry_bytes());
        }
        let counted = match mapcount::scheme(self).entries(head) {
            Answer::Exact(entries) => u64::from(entries),
            Answer::AtMost(most) => entries.min(u64::from(most)),
            Answer::Unknown => entries,
        };
        agree("leaf entries of the folio", Some(folio), entries, counted)?;
        let references = u64::from(head.refcount());
        agree("a reference for each entry", Some(folio), entries, entries.min(references))
    }
}
