//! Folded groups: 16 entries that carry the contiguous bit, so that one TLB entry may serve 64 KiB, or 32 MiB of
//! blocks.
//!
//! ```text
//!    level-3 table   | 0 .. 15 | 16 .. 31 | 32 .. 47 | ...        a group: 16 aligned entries
//!
//!    folded          [ C base | C base+4K | ... | C base+60K ]    base a multiple of 64 KiB, equal rights
//!        |
//!        | unfold:   clear 16 -> flush 64 KiB -> make 16 without the bit
//!        v
//!    plain           [ base | base+4K | ... | base+60K ]          now any of them may change by itself
//! ```
//! **What holds.** In a live user tree either all 16 entries of a group are leaves that have the bit, map consecutive
//! pages of one folio, or single pages of anonymous memory, from an address that is a multiple of 64 KiB, and have the
//! same rights; or none has the bit ([`crate::Mm::check_all`] looks). The access flag is each entry's own, and means
//! the group: hardware may set it in any one, so who asks for it asks all 16, and who clears it clears all 16. Groups
//! of level-2 blocks are alike, with 32 MiB for 64 KiB; only hugetlb folios are so large. Level 1 is never folded, nor
//! is the kernel's tree. `contpte=off` folds nothing.
//!
//! **Whoever changes a part unfolds first.** All stores to live entries go through [`Entry`], [`Stretch`] and
//! `PtRoot::relocate`, and these do it by themselves, so nobody above has to know of groups:
//!
//! | change | of a part of a group | of all 16 |
//! |---|---|---|
//! | clear, migration entry, move to another place | unfolds | clears or moves 16 entries; a move keeps the bit where the new place is aligned alike |
//! | write permission alone | unfolds | stores 16 entries, which keep the bit; the flush is owed |
//! | other rights | unfolds | broken and made as a whole, which keeps the bit |
//! | break of one entry (copy-on-write) | unfolds | |
//! | access flag set or cleared | all 16 at once | all 16 at once |
//!
//! **Unfolding is break-before-make** (Arm ARM D8.16, R_WHZWS, third bullet), with one flush of the whole group: a TLB
//! may have made its one entry from any member. Level 1 and 2 of FEAT_BBM allow to change the bit in place, but an
//! access may then take a TLB conflict abort (R_FCPSG); at level 3 it cannot, and the 16 are stored in place and
//! flushed. Folding live entries is likewise, where no flush of theirs is owed. The access flags are OR-ed into each
//! entry. Dirty state is nobody's here: no entry has DBM.
//!
//! **Meanwhile** T is held. A user's access to the group faults; its handler waits for T, finds a good entry and calls
//! the fault spurious. Readers without a lock are not told of the 16 pages for as long as they are broken
//! ([`crate::report`]).
//!
//! **Where groups are folded**: where it is to be had for no flush and no store more, in tables that no walker can reach
//! yet. A block that is split gets a table of folded groups, but for the one that the cut is for, and fork copies the
//! bit into the child's new table with the entries; a group that a VMA has only in part is unfolded first
//! ([`super::Tightening`]). A call that gives other rights to whole groups folds those that are alike again
//! ([`Stretch::fold`]): that costs a break of 16 and a flush once, and the group stays folded. And the fault that
//! populates the last of 16 pages of a reservation folds them ([`crate::thp`], `group`), single pages as they are; no
//! other fault of anonymous memory folds. Hugetlb pages of 64 KiB and 32 MiB, and parts of larger ones, are made as
//! groups ([`crate::hugetlb`]), and MADV_COLLAPSE folds what has become one.
//!
//! Linux: `contpte_convert`, `contpte_try_unfold`, `contpte_ptep_get`.
//!
//! [`Stretch`]: super::Stretch
//! [`Stretch::fold`]: super::Stretch::fold
#![forbid(unsafe_code)]

use arch::addr::ENTRIES_PER_TABLE;
use arch::contiguous::{CONT_ENTRIES, check_group, group_bytes, group_of};
use arch::contract::Depth;
use arch::features::BbmLevel;
use arch::pte::PteFlags;
use arch::{Desc, DescTable, Level, Machine, Mmu, PhysAddr, PhysMem};

use super::entry::Entry;
use super::flush::FlushRange;
use super::normal::normal_page;
use super::stretch::Stretch;
use crate::Mm;
use crate::config::Contpte;
use crate::page::{PageKind, PageRef};

/// What stands in a group.
pub(crate) type Descs = [Desc; CONT_ENTRIES];

/// What the 16 entries hold that begin at `slot`, a multiple of their bytes.
#[must_use]
#[inline(always)]
pub(super) fn read(slot: PhysAddr) -> Descs {
    debug_assert!(slot.is_aligned(8 * CONT_ENTRIES as u64));
    core::array::from_fn(|n| Machine::read_desc(PhysAddr::new(slot.raw() | (8 * n as u64))))
}

/// What the group holds that the entry at `slot` is one of.
#[must_use]
pub(crate) fn group_at(slot: PhysAddr) -> Descs {
    read(slot.align_down(8 * CONT_ENTRIES as u64))
}

/// Whether these are the entries of a group of `level` that is folded as it must be. Of which folio the pages are is
/// not asked.
#[must_use]
#[inline]
pub fn is_folded(descs: &[Desc; CONT_ENTRIES], level: Level) -> bool {
    is_one_row(descs, level)
        || (descs.iter().all(|desc| desc.is_contiguous()) && check_group(descs, level).is_ok())
}

/// Whether the entries of a folded group are alike in all but their addresses, as they mostly are.
#[inline]
fn is_one_row(descs: &Descs, level: Level) -> bool {
    let first = descs[0];
    let begins =
        first.is_contiguous() && first.is_leaf(level) && first.output(level).is_aligned(group_bytes(level));
    // Below an address that is so aligned nothing is carried into the attributes.
    begins
        && (1..CONT_ENTRIES)
            .all(|n| descs[n].raw() == first.raw().wrapping_add(n as u64 * level.entry_bytes()))
}

/// The first entry of the group that these 16, alike in all but their addresses and access flags, would be.
#[inline(always)]
fn group_of_row(descs: &Descs, level: Level) -> Option<Desc> {
    let first = descs[0];
    let begins = first.is_leaf(level) && first.output(level).is_aligned(group_bytes(level));
    let nth = |n: usize| first.raw().wrapping_add(n as u64 * level.entry_bytes());
    let differ = (1..CONT_ENTRIES).fold(0, |bits, n| bits | (descs[n].raw() ^ nth(n)));
    let young = Desc::from_raw(first.in_group().raw() | accessed(descs));
    (begins && differ & !PteFlags::ACCESSED.bits() == 0).then_some(young)
}

/// Whether `leaf`, an entry of `level` for a part of the folio `head`, may be the first of a folded group. That the 15
/// after it go on as they must is asked elsewhere.
#[must_use]
pub(crate) fn may_begin_group(mm: &Mm, head: PageRef, leaf: Desc, level: Level) -> bool {
    let bytes = group_bytes(level);
    mm.config.contpte == Contpte::On
        && level != Level::L1
        && head.order().bytes() >= bytes
        && leaf.output(level).is_aligned(bytes)
}

/// The access flag, if any of the group has it.
fn accessed(descs: &Descs) -> u64 {
    descs.iter().fold(0, |bits, desc| bits | desc.raw()) & PteFlags::ACCESSED.bits()
}

impl<'l> Entry<'l> {
    /// Makes the entry, and the 15 others of its group, plain ones, if the group is folded.
    #[inline]
    pub(super) fn unfold(&self) {
        if self.desc().is_contiguous() {
            self.group().unfold();
        }
    }

    /// The group of an entry of level 2 or 3.
    pub(super) fn group(&self) -> Group<'l> {
        debug_assert!(self.level() >= Level::L2, "level 1 is never folded");
        Group { first: self.back(self.place()) }
    }

    /// Which one of its group it is, 0..16.
    pub(super) fn place(&self) -> usize {
        let index = self.va().index(self.level());
        index - group_of(index).start
    }
}

/// What came of a wish for a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Fold {
    /// It is one now.
    Folded,
    /// It was one before, or cannot be one.
    AsBefore,
}

impl Entry<'_> {
    /// Folds the group of this page entry, which maps a page of a block that came apart into single pages, if the 16
    /// map pages of it that go on from each other, from an address that is a multiple of 64 KiB, with equal rights. No
    /// flush of theirs is owed.
    pub fn fold_singles(&self, mm: &Mm) -> Fold {
        let leaf = self.desc();
        if mm.config.contpte == Contpte::Off || self.level() != Level::L3 || leaf.is_contiguous() {
            return Fold::AsBefore;
        }
        let single = normal_page(leaf, Level::L3).is_some_and(|page| page.is_single(PageKind::Anon));
        let group = self.group();
        let old = group.descs();
        match group_of_row(&old, Level::L3).filter(|_| single && Machine::features().bbm != BbmLevel::Level3)
        {
            Some(new) => group.replace_row(old, new),
            None => {
                let Some(new) = group.as_group(&old).filter(|_| single) else { return Fold::AsBefore };
                group.change_bit(&old, &new);
            }
        }
        self.flusher().note_folds(1, self.va());
        Fold::Folded
    }
}

impl Stretch<'_> {
    /// Folds each group that lies wholly in the stretch, is plain, and could be folded: by break-before-make.
    pub fn fold(&mut self, mm: &Mm) {
        let level = self.level();
        if level < Level::L2 || mm.config.contpte == Contpte::Off {
            return;
        }
        let (table, first) = self.place();
        let (table, end) = (Machine::table(table), ENTRIES_PER_TABLE.min(first + self.len()));
        let mut n = first.next_multiple_of(CONT_ENTRIES);
        while n + CONT_ENTRIES <= end {
            let leaf = table.read(n);
            // Of single pages nothing is asked but their first entry.
            if leaf.is_leaf(level) && !leaf.is_contiguous() && may_begin(mm, leaf, level) {
                let group = self.entry(n - first).group();
                if let Some(new) = group.as_group(&group.descs()) {
                    // The flush of what they were before may be owed yet, so nothing of them changes in place.
                    group.first.flusher().note_folds(1, group.first.va());
                    group.replace(&new);
                }
            }
            n += CONT_ENTRIES;
        }
    }
}

/// As [`may_begin_group`], of a leaf of which the folio is not known.
#[inline(always)]
fn may_begin(mm: &Mm, leaf: Desc, level: Level) -> bool {
    leaf.output(level).is_aligned(group_bytes(level))
        && normal_page(leaf, level).is_some_and(|page| {
            !page.is_single(PageKind::Anon) && may_begin_group(mm, page.head(mm.config.tails), leaf, level)
        })
}

/// The 16 entries of a group.
pub(super) struct Group<'l> {
    first: Entry<'l>,
}

impl<'l> Group<'l> {
    /// The level of its table.
    fn level(&self) -> Level {
        self.first.level()
    }
    /// What stands there.
    pub(super) fn descs(&self) -> Descs {
        read(self.first.slot())
    }
    /// Member `n`, 0..16.
    pub(super) fn member(&self, n: usize) -> Entry<'l> {
        self.first.nth(n)
    }
    /// What a TLB may hold of it.
    pub(super) fn range(&self) -> FlushRange {
        let (start, level) = (self.first.va(), self.level());
        let end = start.add(group_bytes(level));
        FlushRange { start, end, level: Some(level), depth: Depth::LeafOnly }
    }

    fn unfold(self) {
        let (old, flusher, va) = (self.descs(), *self.first.flusher(), self.first.va());
        let young = accessed(&old);
        let new = old.map(|desc| Desc::from_raw(desc.alone().raw() | young));
        self.change_bit(&old, &new);
        flusher.note_unfold(va);
    }

    /// What the 16 would be as a group, if they can be one.
    #[inline(always)]
    fn as_group(&self, old: &Descs) -> Option<Descs> {
        let young = accessed(old);
        let new = old.map(|desc| Desc::from_raw(desc.in_group().raw() | young));
        is_folded(&new, self.level()).then_some(new)
    }

    /// Makes the 16 these, which map what the old ones did: in place where only the contiguous bit changes, and no
    /// access can take a conflict abort for that.
    fn change_bit(self, old: &Descs, new: &Descs) {
        // FEAT_BBM relaxes a change of the bit and of nothing else (R_PVTFW).
        let alone = || new.iter().zip(old).all(|(new, old)| new.alone() == old.alone());
        if Machine::features().bbm == BbmLevel::Level3 && alone() {
            new.iter().enumerate().for_each(|(n, &desc)| self.member(n).put(desc));
            self.first.flusher().note_stores(CONT_ENTRIES as u64, (self.first.va(), self.level()));
            self.first.flusher().flush(self.range());
        } else {
            self.replace(new);
        }
    }

    /// Breaks the 16, flushes, and makes these, which map what the old ones did.
    pub(super) fn replace(self, new: &Descs) {
        self.first.break_run::<CONT_ENTRIES>(|_, _| ()).flush().make(|n| new[n], |_, _| ()).keep();
    }

    /// As [`Self::replace`], by a group that begins with `first`, of entries that are `old`.
    #[inline(always)]
    fn replace_row(self, old: Descs, first: Desc) {
        let bytes = self.level().entry_bytes();
        let nth = |n: usize| Desc::from_raw(first.raw().wrapping_add(n as u64 * bytes));
        self.first.break_these(old, |_, _| ()).flush().make(nth, |_, _| ()).keep();
    }

    /// Broken and made as these, with the access flag of all in each: folded, if `new` is a group, else plain.
    pub(super) fn remake(self, new: &Descs) {
        let young = accessed(&self.descs());
        let folded = is_folded(new, self.level());
        let bit = |desc: Desc| if folded { desc } else { desc.alone() };
        let new = new.map(|desc| Desc::from_raw(bit(desc).raw() | young));
        if !folded {
            self.first.flusher().note_unfold(self.first.va());
        }
        self.replace(&new);
    }
}

#[cfg(test)]
mod tests;
