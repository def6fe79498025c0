//! What [`Entry`] does where the entry is one of a folded group: see [`super::fold`].
#![forbid(unsafe_code)]

use arch::contiguous::CONT_ENTRIES;
use arch::pte::PteFlags;
use arch::{Desc, Level, VirtAddr};

use super::entry::Entry;
use super::gather::Gather;
use super::unlinked::{Displaced, Unmapped};
use crate::config::Contpte;

/// What may change in one member after the other while others are held, until the flush: a TLB gives what one of them
/// says (R_NGLXZ). Linux does it for write permission too: `contpte_wrprotect_ptes`.
pub(super) const STEP_BY_STEP: u64 = PteFlags::READ_ONLY.bits() | PteFlags::ACCESSED.bits();

impl Entry<'_> {
    /// As [`Entry::relax`], of one of a folded group. An access flag is set in all 16, so that the next page of the
    /// group does not fault for it.
    #[cold]
    #[inline(never)]
    pub(super) fn relax_folded(self, new: Desc) {
        let changed = self.desc().alone().raw() ^ new.alone().raw();
        if changed & !PteFlags::ACCESSED.bits() != 0 {
            self.unfold();
            let old = self.desc();
            return self.relax(old, new.alone());
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
        self.flusher().note_stores(stores, (self.va(), self.level()));
        self.flusher().flush(group.range());
    }

    /// As [`Entry::tighten_run`], of this member and those of its group that follow it, at most `count`; returns how
    /// many. They stay folded where all 16 get the same rights.
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
        let change = old[0].raw() ^ now[0].raw();
        let alike = (1..CONT_ENTRIES).all(|n| old[n].raw() ^ now[n].raw() == change);
        if alike && change == 0 {
            return count;
        }
        if !alike || change & !STEP_BY_STEP != 0 {
            group.remake(&now);
            return count;
        }
        now.iter().enumerate().for_each(|(n, &desc)| group.member(n).put(desc));
        self.flusher().note_stores(CONT_ENTRIES as u64, (self.va(), self.level()));
        gather.owe(*self.flusher(), group.range());
        count
    }

    /// Whether it is the first of a folded group that ends at `end` or before: then [`Self::clear_group`] may follow.
    #[must_use]
    pub fn begins_group(&self, end: VirtAddr) -> bool {
        self.desc().is_contiguous() && self.place() == 0 && self.group().range().end <= end
    }

    /// As [`Entry::clear`], of all 16 entries of the folded group that begins here.
    ///
    /// # Panics
    /// No folded group begins here.
    pub fn clear_group<'g>(self, gather: &mut Gather<'g>) -> Unmapped<'g> {
        self.clear_group_to(gather, |_| Desc::INVALID)
    }

    /// As [`Entry::begin_migration`], of all 16 entries of the folded group that begins here.
    ///
    /// # Panics
    /// No folded group begins here.
    pub fn begin_group_migration<'g>(self, gather: &mut Gather<'g>) -> Unmapped<'g> {
        let level = self.level();
        self.clear_group_to(gather, |old| Desc::migration(old.output(level), level, old.alone().flags(level)))
    }

    /// As [`Entry::poison`], of all 16 entries of the folded group that begins here.
    ///
    /// # Panics
    /// No folded group begins here.
    pub fn poison_group<'g>(self, gather: &mut Gather<'g>) -> Unmapped<'g> {
        self.clear_group_to(gather, |_| Desc::POISONED)
    }

    fn clear_group_to<'g>(self, gather: &mut Gather<'g>, to: impl Fn(Desc) -> Desc) -> Unmapped<'g> {
        assert!(self.begins_group(self.group().range().end), "no folded group begins at {}", self.va());
        let group = self.group();
        let old = group.descs();
        old.iter().enumerate().for_each(|(n, &desc)| group.member(n).put(to(desc)));
        self.flusher().note_stores(CONT_ENTRIES as u64, (self.va(), self.level()));
        gather.owe(*self.flusher(), group.range());
        Unmapped::run(old[0], self.level(), CONT_ENTRIES as u32)
    }

    /// As [`Entry::make`], of the 16 entries that begin here: they map what follows `first`, folded if they may be.
    ///
    /// # Panics
    /// They do not begin a group, or one of them holds something.
    pub fn make_group(self, first: Desc, contpte: Contpte) {
        assert!(self.place() == 0, "no group begins at {}", self.va());
        let (group, level) = (self.group(), self.level());
        for n in 0..CONT_ENTRIES {
            let member = group.member(n);
            assert!(member.desc().is_empty(), "make at {}, which holds {}", member.va(), member.desc());
            member.put(nth_of(first, level, n, contpte));
        }
        self.flusher().note_stores(CONT_ENTRIES as u64, (self.va(), level));
        self.flusher().note_folds((contpte == Contpte::On).into(), self.va());
        self.flusher().publish();
    }

    /// The 16 entries that begin here are broken, flushed, and made to map what follows `first`, folded if they may be.
    /// Returns what they held.
    pub fn exchange_group(self, first: Desc, contpte: Contpte) -> Displaced<CONT_ENTRIES> {
        let level = self.level();
        let clean = self.break_run::<CONT_ENTRIES>(|_, _| ()).flush();
        clean.make(|n| nth_of(first, level, n, contpte), |_, _| ())
    }

    /// Gives the 16 entries of this one's group what `all` makes of each: other rights, by break-before-make as the
    /// group may be folded. They map what they did, and are
    /// folded if they may be.
    pub fn regrant_group(self, contpte: Contpte, all: impl Fn(Desc) -> Desc) {
        let group = self.group();
        let new = group.descs().map(|desc| match contpte {
            Contpte::On => all(desc).in_group(),
            Contpte::Off => all(desc),
        });
        group.remake(&new);
    }

    /// As [`Entry::end_migration`], of the 16 migration entries that begin here: they become a folded group that begins
    /// with `first`.
    ///
    /// # Panics
    /// [`Self::awaits_group`] does not hold.
    pub fn end_group_migration(self, first: Desc) {
        let group = self.group();
        for n in 0..CONT_ENTRIES as u64 {
            let member = group.member(n as usize);
            assert!(
                member.migration().is_some(),
                "{} at {} is no migration entry",
                member.desc(),
                member.va()
            );
            member.put(Desc::from_raw(first.in_group().raw() + n * member.level().entry_bytes()));
        }
        self.flusher().note_stores(CONT_ENTRIES as u64, (self.va(), self.level()));
        self.flusher().note_folds(1, self.va());
        self.flusher().publish();
    }

    /// Whether 16 migration entries in a row begin here, an aligned group below `end`, of equal rights.
    #[must_use]
    pub fn awaits_group(&self, end: VirtAddr) -> bool {
        let here = self.level() >= Level::L2 && self.place() == 0 && self.group().range().end <= end;
        here && {
            let descs = self.group().descs();
            let next = |n: usize| descs[0].raw() + n as u64 * self.level().entry_bytes();
            (0..CONT_ENTRIES).all(|n| descs[n].is_migration() && descs[n].raw() == next(n))
        }
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

/// Member `n` of a group that begins with `first`.
fn nth_of(first: Desc, level: Level, n: usize, contpte: Contpte) -> Desc {
    let first = if contpte == Contpte::On { first.in_group() } else { first.alone() };
    Desc::from_raw(first.raw() + n as u64 * level.entry_bytes())
}
