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
use super::pool::Claim;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::fault::FaultDone;
use crate::mapcount::{self, Run};
use crate::page::{FolioRef, PageKind, PageRef};
use crate::pgtable::{Entry, Missing, PtRoot, TableStock, normal_folio};
use crate::shmem::ObjectId;
use crate::space::range::{clear_empty_tables, leaf_for, run_of};
use crate::space::{AddressSpace, Vma, VmaKind, exclusive};

/// Whether a hugetlb folio that is mapped is a space's own: it names the space in which it was born. One of an object
/// names that; and one that was just taken out of its object, and whose entries go in a moment, names nobody.
pub(crate) fn is_own(head: PageRef) -> bool {
    // Read once: an object may lose it between two looks.
    let mapping = head.mapping();
    head.is_kind(PageKind::Hugetlb) && mapping != 0 && ObjectId::of_mapping(mapping).is_none()
}

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

/// Which rights entries get that map a page of others, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grant {
    /// All rights of the VMA.
    All,
    /// All but writing.
    NoWrite,
}

/// What came of the wish to map a page that others have, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Share {
    /// The slot was looked at.
    Slot(Mapped),
    /// There can be no more mappings of it, or references to it.
    Full,
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
        self.clear_tables();
        self.map_clear(folio, stock)
    }

    /// As [`Self::map`], where [`Self::clear_tables`] was called before: for who holds O.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub(crate) fn map_clear(&self, folio: PageRef, stock: &mut TableStock<'_>) -> Result<Mapped, Missing> {
        let Slot { mm, space, vma, size, va } = *self;
        folio.set_mapping(space.id, vma.index_of(va));
        let mut tree = space.ptl.lock();
        let entry = tree.entry_or_table(space.flusher(mm), va, size.level(), stock)?;
        if !entry.desc().is_empty() {
            return Ok(Mapped::Taken);
        }
        folio.set_refcount(size.entries() as u32);
        mapcount::add(mm, &self.run(&entry, folio));
        self.make(entry, folio, Grant::All);
        Ok(Mapped::Yes)
    }

    /// Maps a page that others have, too: that of an object, or of the parent, with these rights and references of its
    /// own. O is held, so that the page stays the object's, or the lineage, so that it stays the parent's;
    /// [`Self::clear_tables`] was called before.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub(crate) fn share(
        &self,
        head: PageRef,
        grant: Grant,
        stock: &mut TableStock<'_>,
    ) -> Result<Share, Missing> {
        let Slot { mm, space, size, va, .. } = *self;
        let mut tree = space.ptl.lock();
        let entry = tree.entry_or_table(space.flusher(mm), va, size.level(), stock)?;
        if !entry.desc().is_empty() {
            return Ok(Share::Slot(Mapped::Taken));
        }
        let run = self.run(&entry, head);
        if mapcount::may_add(mm, &run).is_err() || !head.try_get_many(run.entries) {
            return Ok(Share::Full);
        }
        mapcount::add(mm, &run);
        self.make(entry, head, grant);
        Ok(Share::Slot(Mapped::Yes))
    }

    /// Makes all entries of the slot, which are empty, beginning with this one.
    fn make(&self, first: Entry<'_>, folio: PageRef, grant: Grant) {
        let Slot { mm, vma, size, .. } = *self;
        let leaf = leaf_for(mm, folio.pfn().phys(), size.level(), vma.prot);
        let leaf = match grant {
            Grant::All => leaf,
            Grant::NoWrite => exclusive::read_only(leaf, size.level()),
        };
        match size.entries() {
            1 => first.make(leaf),
            _ => first.make_group(leaf, mm.config.contpte),
        }
    }

    /// Takes away tables that hold nothing where the slot's entries are to stand.
    pub(crate) fn clear_tables(&self) {
        let Slot { mm, space, size, va, .. } = *self;
        clear_empty_tables(mm, space, size.level(), (va, va.add(size.bytes())));
    }

    /// Gives the slot of an object's page all rights of the VMA, if `seen` still stands in the entry for `at`.
    pub(crate) fn raise(&self, at: VirtAddr, seen: Desc) -> FaultDone {
        let mut tree = self.space.ptl.lock();
        let last = tree.last(at);
        if last.level != self.size.level() || last.desc != seen {
            return FaultDone::Spurious;
        }
        self.grant(&mut tree, at, seen);
        FaultDone::Made
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

    /// All entries of the slot, the first of which is `entry`, for a folio.
    fn run(&self, entry: &Entry<'_>, folio: PageRef) -> Run {
        Run { entries: self.size.entries() as u32, ..run_of(self.space, self.vma, entry, folio) }
    }

    /// By what right the slot gets a folio of its own in place of what it maps, or where an object has no page.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn claim_copy(&self) -> Result<Claim, OutOfMemory> {
        match self.vma.kind {
            VmaKind::HugePrivate(..) => self.space.objects.owed.claim(self.size, self.va),
            _ => Ok(Claim::Unreserved),
        }
    }

    /// Gives a folio that was to be mapped, count 0, back to where it came from.
    pub(crate) fn untake(&self, folio: FolioRef, claim: Claim) {
        folio.set_mapping(0, 0);
        self.mm.hugetlb.untake(folio, claim);
        if matches!(self.vma.kind, VmaKind::HugePrivate(..)) {
            self.space.objects.owed.unclaim(self.mm, self.size, self.va, claim);
        }
    }
}
