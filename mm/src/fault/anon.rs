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
use arch::{Access, Level, VirtAddr};

use super::{FaultDone, FaultInfo, FaultReason, cow, grants};
use crate::Mm;
use crate::kalloc::KArc;
use crate::mapcount;
use crate::page::{PageKind, PageRef, page_of};
use crate::pgtable::{TableStock, WalkStep, normal_page};
use crate::rmap;
use crate::space::{AddressSpace, Vma, range};
use crate::stats::Counter;
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

/// What the last step of a walk says.
#[inline]
pub(super) fn see(mm: &Mm, last: WalkStep, access: Access) -> Seen {
    if last.migration().is_some() {
        return Seen::Moving;
    }
    let Some(leaf) = last.leaf() else { return Seen::Absent(last.missing()) };
    if grants(leaf.desc.flags(leaf.level), access) {
        Seen::Good
    } else if access == Access::Write && mm.zero_page.is_at(leaf.desc.output(leaf.level)) {
        Seen::Zero
    } else if access == Access::Write && mm.huge_zero.is_at(leaf.desc.output(leaf.level)) {
        Seen::ZeroBlock
    } else {
        Seen::TooFew
    }
}

/// Resolves a fault in an anonymous VMA whose rights allow the access. M is held for reading.
// Walk A.3: what is there now, and how it is to be backed.
pub(super) fn fault(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let site = Site { mm, space, vma, va: info.va.align_down(PAGE_SIZE), access: info.access };
    let seen = site.see();
    match (seen, info.access) {
        (Seen::Good, _) => Ok(FaultDone::Spurious),
        (Seen::Moving, _) => {
            rmap::wait(mm, space, site.va);
            Ok(FaultDone::Spurious)
        }
        (Seen::TooFew, _) => cow::fault(&site),
        (Seen::Absent(_), Access::Read | Access::Execute) => site.zeros(seen),
        (Seen::Absent(_), Access::Write) | (Seen::Zero | Seen::ZeroBlock, _) => site.back(seen),
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
    fn see(&self) -> Seen {
        see(self.mm, self.space.ptl.lock().last(self.va), self.access)
    }

    /// The first read: a block of zeros, or the page of zeros.
    fn zeros(&self, seen: Seen) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, vma, va, access } = *self;
        // Where there is a table already, no block can be.
        if seen != Seen::Absent(0) && policy::backing(mm, space, vma, va, access) == Backing::HugeZero {
            match thp::zero_fault(mm, space, vma, va) {
                Ok(HugeFault::Made) => return Ok(FaultDone::Made),
                Ok(HugeFault::Spurious) => return Ok(FaultDone::Spurious),
                Err(_) => {}
            }
        }
        self.map(seen, page_of(mm.zero_page.pfn()))
    }

    /// The first write: a page of the space's own.
    fn back(&self, seen: Seen) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, vma, va, access } = *self;
        match policy::backing(mm, space, vma, va, access) {
            // Where there is a table already, no block can be.
            Backing::Huge if !matches!(seen, Seen::Absent(0) | Seen::Zero) => {
                match thp::huge_fault(mm, space, vma, va) {
                    Ok(HugeFault::Made) => Ok(FaultDone::Made),
                    Ok(HugeFault::Spurious) => Ok(FaultDone::Spurious),
                    Err(_) => self.small(self.without_block(seen)?),
                }
            }
            other => self.back_by_pages(other, self.without_block(seen)?),
        }
    }

    /// Makes a table of a block of zeros; what is seen then.
    fn without_block(&self, seen: Seen) -> Result<Seen, FaultReason> {
        if seen != Seen::ZeroBlock {
            return Ok(seen);
        }
        cow::split_block(self)?;
        Ok(Seen::Zero)
    }

    fn back_by_pages(&self, backing: Backing, seen: Seen) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, va, .. } = *self;
        match backing {
            Backing::Small | Backing::Huge | Backing::HugeZero => self.small(seen),
            Backing::Reserve => match reservation::take(mm, space, va) {
                Take::Page(taken) => self.reserved(seen, taken),
                Take::Raced => Ok(FaultDone::Spurious),
                Take::Small => self.small(seen),
            },
        }
    }

    /// A single page.
    fn small(&self, seen: Seen) -> Result<FaultDone, FaultReason> {
        let page = self.mm.alloc_zeroed_page(PageKind::Anon)?;
        page.set_mapping(self.space.id, self.vma.index_of(self.va));
        let done = self.map(seen, page.page());
        match done {
            // The reference is the entry's.
            Ok(FaultDone::Made) => page.leave(),
            Ok(FaultDone::Spurious) | Err(_) => self.mm.put_folio(page),
        }
        done
    }

    /// A page of the range's reservation.
    fn reserved(&self, seen: Seen, taken: reservation::Taken) -> Result<FaultDone, FaultReason> {
        taken.page.set_mapping(self.space.id, self.vma.index_of(self.va));
        let done = self.map(seen, taken.page.page());
        if done != Ok(FaultDone::Made) {
            reservation::untake(self.mm, self.space, taken, self.va);
        } else {
            reservation::made(self.mm, self.space, taken, self.va);
        }
        done
    }

    /// Makes the entry for `page`, unless another thread has made one that is as good. The entry has the caller's
    /// reference where the answer is [`FaultDone::Made`]. `seen` is what was there when the page was prepared: the tables
    /// that were missing then are allocated at once, and looked for again only if more are missing now.
    fn map(&self, seen: Seen, page: PageRef) -> Result<FaultDone, FaultReason> {
        let Site { mm, space, vma, va, access } = *self;
        let new = range::leaf_for(mm, page.pfn().phys(), Level::L3, vma.prot);
        let mut seen = seen;
        loop {
            let mut stock = match seen {
                Seen::Absent(missing) if missing > 0 => Some(TableStock::new(mm, missing)?),
                _ => None,
            };
            let mut tree = space.ptl.lock();
            let flusher = space.flusher(mm);
            let (step, last) = tree.last_entry(flusher, va);
            seen = see(mm, step, access);
            let entry = match (seen, &mut stock) {
                (Seen::Good | Seen::TooFew | Seen::Moving | Seen::ZeroBlock, _) => {
                    return Ok(FaultDone::Spurious);
                }
                (Seen::Zero | Seen::Absent(0), _) if last.level() == Level::L3 => last,
                (Seen::Absent(_), Some(stock)) => match tree.entry_or_table(flusher, va, Level::L3, stock) {
                    Ok(entry) => entry,
                    Err(_) => continue,
                },
                // Tables that were there when the stock was made may have left since: once more.
                _ => continue,
            };
            let run = range::run_of(space, vma, &entry, page);
            // Walk A.6: the entry, and its mapping in the page's count.
            match seen {
                // Nobody counts the entries that map the page of zeros.
                Seen::Zero => entry.break_live::<1>(|_, _| ()).flush().make(|_| new, |_, _| ()).keep(),
                _ => entry.make(new),
            }
            if normal_page(new, Level::L3).is_some() {
                mapcount::add(mm, &run);
                mm.stats.inc(Counter::NrAnon);
            }
            return Ok(FaultDone::Made);
        }
    }
}
