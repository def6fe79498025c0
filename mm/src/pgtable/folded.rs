//! What [`Entry`] does where the entry is one of a folded group: see [`super::fold`].
#![forbid(unsafe_code)]

use arch::Desc;
use arch::contiguous::CONT_ENTRIES;
use arch::pte::PteFlags;

use super::entry::Entry;
use super::fold::is_folded;
use super::gather::Gather;
use crate::stats::Counter;

/// What may change in one member after the other while others are held, until the flush: a TLB gives what one of them
/// says (R_NGLXZ). Linux does it for write permission too: `contpte_wrprotect_ptes`.
const STEP_BY_STEP: u64 = PteFlags::READ_ONLY.bits() | PteFlags::ACCESSED.bits();

impl Entry<'_> {
    /// As [`Entry::relax`], of one of a folded group. An access flag is set in all 16, so that the next page of the group
    /// does not fault for it.
    pub(super) fn relax_folded(self, new: Desc) {
        let changed = self.desc().alone().raw() ^ new.alone().raw();
        if changed & !PteFlags::ACCESSED.bits() != 0 {
            self.unfold();
            return self.relax(new.alone());
        }
        let group = self.group();
        let mut stores = 0;
        for (n, old) in group.descs().into_iter().enumerate() {
            let young = Desc::from_raw(old.raw() | changed);
            if young != old {
                group.member(n).put(young);
                stores += 1;
            }
        }
        self.flusher().stats().add(Counter::PteStore, stores);
        self.flusher().flush(group.range());
    }

    /// As [`Entry::tighten_run`], of this member and those of its group that follow it, at most `count`; returns how many.
    /// They stay folded where all 16 get the same rights.
    pub(super) fn tighten_folded(
        self,
        count: usize,
        gather: &mut Gather<'_>,
        mut new: impl FnMut(usize, Desc) -> Option<Desc>,
    ) -> usize {
        let (group, place) = (self.group(), self.place());
        let count = count.min(CONT_ENTRIES - place);
        let old = group.descs();
        let mut now = old;
        for n in 0..count {
            if let Some(desc) = new(n, old[place + n]) {
                now[place + n] = desc.in_group();
            }
        }
        let changed = old.iter().zip(&now).fold(0, |bits, (old, now)| bits | old.raw() ^ now.raw());
        if changed == 0 {
            return count;
        }
        if changed & !STEP_BY_STEP != 0 || !is_folded(&now) {
            group.remake(&now);
            return count;
        }
        now.iter().enumerate().for_each(|(n, &desc)| group.member(n).put(desc));
        self.flusher().stats().add(Counter::PteStore, CONT_ENTRIES as u64);
        gather.owe(*self.flusher(), group.range());
        count
    }

    /// As [`Entry::clear_accessed`], of one of a folded group: whether any of the 16 was accessed. None is, afterwards.
    pub(super) fn clear_accessed_folded(self, gather: &mut Gather<'_>) -> bool {
        let group = self.group();
        let accessed = (0..CONT_ENTRIES).filter(|&n| group.member(n).swap_accessed()).count();
        if accessed != 0 {
            gather.owe(*self.flusher(), group.range());
        }
        accessed != 0
    }
}
