//! Faults on anonymous memory.
//!
//! | entry | read, fetch | write |
//! |---|---|---|
//! | absent | the page of zeros, or a block of them | a page: small, of the reservation, or a block |
//! | page of zeros | spurious | the same; the entry is broken before it is made anew |
//! | block of zeros | spurious | a block, likewise; or it becomes a table of pages of zeros first |
//! | too few rights | raised | raised, or copied: [`super::cow`] |
//! | good | spurious | spurious |
//! | migration entry | waits until the frame has moved | the same |
//!
//! The page of zeros is replaced by break-before-make, as the output address changes while the new entry
//! grants write (Arm ARM D8.16, R_WHZWS).
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Access, Desc, Level, Pfn, VirtAddr};

use super::cow::{self, Verdict};
use super::{FaultDone, FaultInfo, FaultReason, grants};
use crate::Mm;
use crate::kalloc::KArc;
use crate::mapcount;
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::{TableStock, WalkStep};
use crate::rmap;
use crate::space::{AddressSpace, Vma, range};
use crate::thp::{self, Backing, HugeFault, Take, policy, reservation};

/// What the tables say of an address, for one kind of access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// No leaf; this many tables are missing.
    Absent(usize),
    /// The page of zeros, and the access is a write.
    Zero,
    /// The block of zeros, and the access is a write.
    ZeroBlock,
    /// A leaf that does not grant the access.
    TooFew,
    /// A leaf that grants the access.
    Good,
    /// A migration entry: the frame is moving.
    Moving,
}

impl Seen {
    /// How many tables are missing for an entry of level 2.
    fn missing_above_block(self) -> usize {
        match self {
            Seen::Absent(missing) => missing.saturating_sub(1),
            _ => 0,
        }
    }
}

/// What the last step of a walk says.
#[inline]
pub(super) fn see(mm: &Mm, last: WalkStep, access: Access) -> Seen {
    if let Some(leaf) = last.leaf() {
        see_leaf(mm, leaf, access)
    } else if last.desc.is_migration() {
        Seen::Moving
    } else {
        Seen::Absent(last.missing())
    }
}

#[inline]
fn see_leaf(mm: &Mm, leaf: WalkStep, access: Access) -> Seen {
    if grants(leaf.desc.flags(leaf.level), access) {
        return Seen::Good;
    }
    if !leaf.desc.is_special() || access != Access::Write {
        return Seen::TooFew;
    }
    match leaf.level {
        Level::L3 if mm.zero_page.is_at(leaf.desc.output(Level::L3)) => Seen::Zero,
        Level::L2 if mm.huge_zero.is_at(leaf.desc.output(Level::L2)) => Seen::ZeroBlock,
        _ => Seen::TooFew,
    }
}

/// Resolves a fault in an anonymous VMA whose rights allow the access. M is held for reading.
///
/// What needs no memory is done at the first look: the page of zeros where a table is, and a page that is written
/// again.
// Walk A.3: what is there now, and how it is to be backed.
#[inline(always)]
pub(super) fn fault(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let site = Site { mm, space, vma, va: info.va.align_down(PAGE_SIZE), access: info.access };
    let mut tree = space.ptl.lock();
    let (step, entry) = tree.last_entry(space.flusher(mm), site.va);
    match (see(mm, step, site.access), site.access) {
        (Seen::Good, _) => Ok(FaultDone::Spurious),
        (Seen::TooFew, _) => match cow::judge(&site, step, entry) {
            Verdict::Done(done) => Ok(done),
            verdict => {
                drop(tree);
                cow::follow(&site, verdict)
            }
        },
        (Seen::Absent(0), Access::Read | Access::Execute) => {
            entry.make(site.leaf(mm.zero_page.pfn()));
            Ok(FaultDone::Made)
        }
        (seen, _) => {
            drop(tree);
            site.provide(seen)
        }
    }
}

/// One fault: where, and on whose behalf.
#[derive(Clone, Copy)]
pub(super) struct Site<'f> {
    pub(super) mm: &'f Mm,
    pub(super) space: &'f KArc<AddressSpace>,
    pub(super) vma: &'f Vma,
    /// The page's first address.
    pub(super) va: VirtAddr,
    pub(super) access: Access,
}

impl Site<'_> {
    /// What is seen needs memory, or patience.
    fn provide(&self, seen: Seen) -> Result<FaultDone, FaultReason> {
        match (seen, self.access) {
            (Seen::Absent(_), Access::Write) | (Seen::Zero | Seen::ZeroBlock, _) => self.back(seen),
            (Seen::Absent(_), _) => self.zeros(seen),
            (Seen::Good | Seen::TooFew, _) => Ok(FaultDone::Spurious),
            (Seen::Moving, _) => {
                rmap::wait(self.mm, self.space, self.va);
                Ok(FaultDone::Spurious)
            }
        }
    }

    /// The entry for a frame of 4 KiB.
    #[inline]
    fn leaf(&self, frame: Pfn) -> Desc {
        range::leaf_for(self.mm, frame.phys(), Level::L3, self.vma.prot)
    }

    /// The first read where there is no table: a block of zeros, or of its own, or the page of zeros.
    #[cold]
    fn zeros(&self, seen: Seen) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, vma, va, access } = *self;
        let block = match policy::backing(mm, space, vma, va, access) {
            Backing::HugeZero => thp::zero_fault,
            Backing::Huge => thp::huge_fault,
            Backing::Small | Backing::Reserve => return self.map(page_of(mm.zero_page.pfn())),
        };
        match block(mm, space, vma, va, seen.missing_above_block()) {
            Ok(HugeFault::Made) => Ok(FaultDone::Made),
            Ok(HugeFault::Spurious) => Ok(FaultDone::Spurious),
            Err(_) => self.map(page_of(mm.zero_page.pfn())),
        }
    }

    /// The first write: a page of the space's own.
    fn back(&self, seen: Seen) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, vma, va, access } = *self;
        match policy::backing(mm, space, vma, va, access) {
            // Where there is a table already, no block can be.
            Backing::Huge if !matches!(seen, Seen::Absent(0) | Seen::Zero) => {
                match thp::huge_fault(mm, space, vma, va, seen.missing_above_block()) {
                    Ok(HugeFault::Made) => Ok(FaultDone::Made),
                    Ok(HugeFault::Spurious) => Ok(FaultDone::Spurious),
                    Err(_) => self.back_by_pages(Backing::Small, seen),
                }
            }
            other => self.back_by_pages(other, seen),
        }
    }

    fn back_by_pages(&self, backing: Backing, seen: Seen) -> Result<FaultDone, FaultReason> {
        if seen == Seen::ZeroBlock {
            cow::split_block(self)?;
        }
        let Site { mm, space, vma, va, .. } = *self;
        let take = match backing {
            Backing::Reserve => reservation::take(mm, space, va),
            _ if space.reservations.may_be() && vma.fits_block(va) => reservation::take_kept(mm, space, va),
            Backing::Small | Backing::Huge | Backing::HugeZero => return self.small(),
        };
        match take {
            Take::Page(taken) => self.reserved(taken),
            Take::Raced => Ok(FaultDone::Spurious),
            Take::Small => self.small(),
        }
    }

    /// A single page.
    fn small(&self) -> Result<FaultDone, FaultReason> {
        let page = self.mm.alloc_zeroed_page(PageKind::Anon)?;
        page.set_mapping(self.space.id, self.vma.index_of(self.va));
        let done = self.map(page.page());
        match done {
            // The reference is the entry's.
            Ok(FaultDone::Made) => page.leave(),
            Ok(FaultDone::Spurious) | Err(_) => self.mm.put_folio(page),
        }
        done
    }

    /// A page of the range's reservation.
    fn reserved(&self, taken: reservation::Taken) -> Result<FaultDone, FaultReason> {
        taken.page.set_mapping(self.space.id, self.vma.index_of(self.va));
        let done = self.map(taken.page.page());
        if done != Ok(FaultDone::Made) {
            reservation::untake(self.mm, self.space, taken, self.va);
        } else {
            reservation::made(self.mm, self.space, self.vma, taken, self.va);
        }
        done
    }

    /// Makes the entry for `page`, a single page that nobody maps yet or the page of zeros, unless another thread has
    /// made one that is as good. The entry has the caller's reference where the answer is [`FaultDone::Made`].
    #[inline]
    fn map(&self, page: PageRef) -> Result<FaultDone, FaultReason> {
        loop {
            match self.try_map(page) {
                Ok(done) => return Ok(done),
                Err(Missing(tables)) => self.link_tables(tables)?,
            }
        }
    }

    #[inline]
    fn try_map(&self, page: PageRef) -> Result<FaultDone, Missing> {
        let Site { mm, space, va, access, .. } = *self;
        let new = self.leaf(page.pfn());
        let mut tree = space.ptl.lock();
        let (step, entry) = tree.last_entry(space.flusher(mm), va);
        // Walk A.6: the entry, and its mapping in the page's count.
        match see(mm, step, access) {
            Seen::Absent(0) => entry.make(new),
            Seen::Absent(tables) => return Err(Missing(tables)),
            // Nobody counts the entries that map the page of zeros.
            Seen::Zero => entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ()).keep(),
            Seen::Good | Seen::TooFew | Seen::Moving | Seen::ZeroBlock => return Ok(FaultDone::Spurious),
        }
        if !new.is_special() {
            mapcount::add_first(page);
            space.add_anon(mm, 1);
        }
        Ok(FaultDone::Made)
    }

    /// Sees to it that a table of pages is there, unless another thread makes a block meanwhile. The tables are empty,
    /// so they may leave again.
    #[cold]
    fn link_tables(&self, missing: usize) -> Result<(), FaultReason> {
        let Site { mm, space, va, .. } = *self;
        let mut stock = TableStock::new(mm, missing)?;
        let mut tree = space.ptl.lock();
        // Where it stops half-way, the next look says what there is.
        let _seen = tree.entry_or_table(space.flusher(mm), va, Level::L3, &mut stock).is_ok();
        Ok(())
    }
}

/// So many tables are missing.
struct Missing(usize);
