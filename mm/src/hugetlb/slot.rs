//! A slot: the place of one hugetlb page in a VMA, and the entries that map it.
//!
//! ```text
//!   64 KiB   level 3   [ C C C C C C C C C C C C C C C C ]   16 entries, folded where `contpte=on`
//!    2 MiB   level 2   [ block ]
//!   32 MiB   level 2   [ C C C C C C C C C C C C C C C C ]
//!    1 GiB   level 1   [ block ]
//! ```
//! All entries of a slot come, change and go together, under one hold of T: a fault makes all of them, copy-on-write
//! breaks all. So each of them says of the others what they are.
#![forbid(unsafe_code)]

use arch::{Desc, VirtAddr};

use super::hstate::HugeSize;
use crate::Mm;
use crate::mapcount::{self, Run};
use crate::page::{FolioRef, PageRef};
use crate::pgtable::{Entry, Missing, PtRoot, TableStock, normal_folio};
use crate::space::empty::clear_empty_tables;
use crate::space::range::{leaf_for, run_of};
use crate::space::{AddressSpace, Vma, exclusive};

/// One slot.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'s> {
    pub(crate) mm: &'s Mm,
    pub(crate) space: &'s AddressSpace,
    pub(crate) vma: &'s Vma,
    pub(crate) size: HugeSize,
    /// Its first address.
    pub(crate) va: VirtAddr,
}

/// What came of the wish to map a folio.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mapped {
    /// The entries map it: its references are theirs.
    Yes,
    /// Something is mapped there.
    Taken,
}

impl<'s> Slot<'s> {
    /// The slot of `va`, an address of a hugetlb VMA whose pages are of this size.
    pub(crate) fn of(
        mm: &'s Mm,
        space: &'s AddressSpace,
        vma: &'s Vma,
        size: HugeSize,
        va: VirtAddr,
    ) -> Self {
        Slot { mm, space, vma, size, va: va.align_down(size.bytes()) }
    }

    /// Maps a folio, count 0, whose contents are ready, with all rights of the VMA. The tables that are missing come
    /// from `stock`.
    ///
    /// # Errors
    /// [`Missing`]: `stock` has too few tables. Nothing was mapped.
    pub(crate) fn map(&self, folio: PageRef, stock: &mut TableStock<'_>) -> Result<Mapped, Missing> {
        let Slot { mm, space, vma, size, va } = *self;
        let (level, flusher) = (size.level(), space.flusher(mm));
        folio.set_mapping(space.id, vma.index_of(va));
        let leaf = leaf_for(mm, folio.pfn().phys(), level, vma.prot);
        clear_empty_tables(mm, space, level, (va, va.add(size.bytes())));
        let mut tree = space.ptl.lock();
        let entry = tree.entry_or_table(flusher, va, level, stock)?;
        if !entry.desc().is_empty() {
            return Ok(Mapped::Taken);
        }
        folio.set_refcount(size.entries() as u32);
        mapcount::add(mm, &self.run(&entry, folio));
        match size.entries() {
            1 => entry.make(leaf),
            _ => entry.make_group(leaf, mm.config.contpte),
        }
        Ok(Mapped::Yes)
    }

    /// Maps another folio, count 0, whose contents are ready, in place of the one that the slot maps by `leaf` in its
    /// first entry: by break-before-make, as the address changes. `None`: something else is mapped there by now.
    pub(super) fn exchange(&self, leaf: Desc, copy: PageRef) -> Option<()> {
        let Slot { mm, space, vma, size, va } = *self;
        let level = size.level();
        let new = leaf_for(mm, copy.pfn().phys(), level, vma.prot);
        let mut tree = space.ptl.lock();
        let entry = tree.entry(space.flusher(mm), va, level).ok().filter(|entry| entry.desc() == leaf)?;
        let old = normal_folio(mm, leaf, level)?;
        let run = self.run(&entry, copy);
        copy.set_mapping(space.id, vma.index_of(va));
        copy.set_refcount(size.entries() as u32);
        mapcount::add(mm, &run);
        mapcount::remove(mm, &Run { head: old, first: old, ..run });
        match size.entries() {
            1 => mm.give_up(entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ())),
            _ => mm.give_up(entry.exchange_group(new, mm.config.contpte)),
        }
        Some(())
    }

    /// Gives all entries of the slot all rights of the VMA. `leaf` stands in the one that `at` is translated by.
    pub(super) fn grant(&self, tree: &mut PtRoot, at: VirtAddr, leaf: Desc) {
        let Slot { mm, space, vma, size, .. } = *self;
        let level = size.level();
        let all = |leaf| exclusive::with_all_rights(leaf, level, vma.prot);
        match (size.entries(), tree.entry(space.flusher(mm), at, level)) {
            (_, Err(_)) => {}
            (1, Ok(entry)) => entry.relax(leaf, all(leaf)),
            (_, Ok(entry)) => entry.regrant_group(mm.config.contpte, all),
        }
    }

    /// Whether the folio is this space's alone, which maps all of it by the slot. The caller holds M and T.
    pub(super) fn is_exclusive(&self, head: PageRef) -> bool {
        // Each entry has one reference, so where there are no more than those of the slot's, no other space has any.
        head.refcount() == self.size.entries() as u32 || exclusive::is_exclusive(self.mm, head)
    }

    /// All entries of the slot, the first of which is `entry`, for a folio.
    fn run(&self, entry: &Entry<'_>, folio: PageRef) -> Run {
        Run { entries: self.size.entries() as u32, ..run_of(self.space, self.vma, entry, folio) }
    }

    /// Gives a folio that was to be mapped, count 0, back to where it came from.
    pub(super) fn untake(&self, folio: FolioRef, claim: super::Claim) {
        folio.set_mapping(0, 0);
        self.mm.hugetlb.untake(folio, claim);
    }
}
