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

use arch::addr::PAGE_SIZE;
use arch::{Desc, VirtAddr};

use super::hgm::{MapSize, Piece};
use super::hstate::HugeSize;
use super::poison;
use super::pool::Claim;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::fault::{FaultDone, FaultReason};
use crate::mapcount::{self, Run};
use crate::page::{FolioRef, PageKind, PageRef};
use crate::pgtable::{Entry, Missing, PtRoot, TableStock, normal_folio};
use crate::shmem::ObjectId;
use crate::space::range::{clear_empty_tables, leaf_for, run_of, top_above};
use crate::space::{AddressSpace, Grain, Vma, VmaKind, exclusive};

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
    /// A part of what was to be mapped has failed.
    Failed,
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
        self.make(entry, folio, MapSize::Huge(size), Grant::All);
        Ok(Mapped::Yes)
    }

    /// Puts markers in all entries of the slot, which are empty.
    ///
    /// # Errors
    /// As [`Self::map`].
    pub(crate) fn mark_failed(&self, stock: &mut TableStock<'_>) -> Result<(), Missing> {
        let Slot { mm, space, size, va, .. } = *self;
        let mut tree = space.ptl.lock();
        for n in 0..size.entries() as u64 {
            let at = va.add(n * size.level().entry_bytes());
            tree.entry_or_table(space.flusher(mm), at, size.level(), stock)?.make(Desc::POISONED);
        }
        Ok(())
    }

    /// Whether a page of this piece of the folio has failed. Under T the answer holds for an entry that is made of it.
    pub(super) fn has_failed(&self, head: PageRef, piece: Piece) -> bool {
        let first = piece.va.offset_from(self.va) / PAGE_SIZE;
        poison::first_in(self.mm, head, first..first + piece.size.bytes() / PAGE_SIZE).is_some()
    }

    /// What a fault at `va`, an address of the slot, is that would map what has failed of the folio.
    pub(crate) fn failure_at(&self, head: PageRef, va: VirtAddr) -> Option<FaultReason> {
        let (piece, failure) = match self.vma.grain {
            Grain::Whole => (self.piece(), self.size.failure()),
            Grain::Any | Grain::Page => {
                let page = Piece { va: va.align_down(PAGE_SIZE), size: MapSize::Page };
                (page, FaultReason::PAGE_FAILURE)
            }
        };
        self.has_failed(head, piece).then_some(failure)
    }

    /// The largest size up to `most` that begins at `va`, covers `bytes` at most, and nothing of the folio that has
    /// failed; a single page even so.
    pub(super) fn largest(&self, head: PageRef, (va, bytes): (VirtAddr, u64), mut most: MapSize) -> MapSize {
        loop {
            let size = MapSize::largest(va, bytes, most, self.size, self.mm.config.contpte);
            if size == MapSize::Page || !self.has_failed(head, Piece { va, size }) {
                return size;
            }
            most = size.smaller();
        }
    }

    /// All of it.
    pub(crate) fn piece(&self) -> Piece {
        Piece { va: self.va, size: MapSize::Huge(self.size) }
    }

    /// Maps a piece of a page that others have, too: that of an object, or of the parent, with these rights and
    /// references of its own. O is held, so that the page stays the object's, or the lineage, so that it stays the
    /// parent's. No table that holds nothing stands in the way: [`Self::clear_tables`].
    ///
    /// # Errors
    /// [`Missing::Stock`]: `stock` has too few tables. Nothing was mapped.
    pub(crate) fn share(
        &self,
        head: PageRef,
        (piece, grant): (Piece, Grant),
        stock: &mut TableStock<'_>,
    ) -> Result<Share, Missing> {
        let Slot { mm, space, vma, .. } = *self;
        let mut tree = space.ptl.lock();
        let page = head.nth(piece.va.offset_from(self.va) / PAGE_SIZE);
        let level = piece.size.level();
        if self.has_failed(head, piece) {
            return Ok(Share::Failed);
        }
        match tree.entry_or_table(space.flusher(mm), piece.va, level, stock).map(drop) {
            Err(Missing::Stock) => return Err(Missing::Stock),
            Ok(()) | Err(Missing::Leaf(..) | Missing::Table(_)) => {}
        }
        let top = top_above(&tree, head, level, piece.va);
        let entry = tree.entry(space.flusher(mm), piece.va, level).ok();
        let Some(entry) = entry.filter(|entry| entry.desc().is_empty()) else {
            return Ok(Share::Slot(Mapped::Taken));
        };
        let run = run_of(space, vma, &entry, page);
        let run = Run { head, entries: piece.size.entries() as u32, top: top.unwrap_or(run.top), ..run };
        if mapcount::may_add(mm, &run).is_err() || !head.try_get_many(run.entries) {
            return Ok(Share::Full);
        }
        mapcount::add(mm, &run);
        self.make(entry, page, piece.size, grant);
        Ok(Share::Slot(Mapped::Yes))
    }

    /// Makes all entries of a piece of the slot, which are empty, beginning with this one, which is to map `page`.
    fn make(&self, first: Entry<'_>, page: PageRef, size: MapSize, grant: Grant) {
        let Slot { mm, vma, .. } = *self;
        let leaf = leaf_for(mm, page.pfn().phys(), size.level(), vma.prot);
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

    /// Gives what maps `at`, a part of an object's page, all rights of the VMA, if `seen` still stands there.
    pub(crate) fn raise(&self, at: VirtAddr, seen: Desc) -> FaultDone {
        let mut tree = self.space.ptl.lock();
        let last = tree.last(at);
        if last.desc != seen {
            return FaultDone::Spurious;
        }
        if self.vma.grain == Grain::Whole || seen.is_contiguous() {
            self.grant(&mut tree, at, seen);
        } else if let Ok(entry) = tree.entry(self.space.flusher(self.mm), at, last.level) {
            entry.relax(seen, exclusive::with_all_rights(seen, last.level, self.vma.prot));
        }
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

    /// Gives all entries of the slot, or of the folded group of which `leaf` is one, all rights of the VMA. `leaf`
    /// stands in the entry that `at` is translated by.
    pub(super) fn grant(&self, tree: &mut PtRoot, at: VirtAddr, leaf: Desc) {
        let Slot { mm, space, vma, size, .. } = *self;
        let level = tree.last(at).level;
        let all = |leaf| exclusive::with_all_rights(leaf, level, vma.prot);
        let group = size.entries() != 1 || leaf.is_contiguous();
        match (group, tree.entry(space.flusher(mm), at, level)) {
            (_, Err(_)) => {}
            (false, Ok(entry)) => entry.relax(leaf, all(leaf)),
            (true, Ok(entry)) => entry.regrant_group(mm.config.contpte, all),
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
        self.unclaim(claim);
    }

    /// Nothing came of [`Self::claim_copy`]: the promise that it has used stands again.
    pub(crate) fn unclaim(&self, claim: Claim) {
        if matches!(self.vma.kind, VmaKind::HugePrivate(..)) {
            self.space.objects.owed.unclaim(self.mm, self.size, self.va, claim);
        }
    }
}
