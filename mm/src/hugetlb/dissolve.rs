//! Dissolving: free folios of the pools that lie in a range go back to the buddy allocator, and the pools are smaller.
//!
//! | the folio | |
//! |---|---|
//! | free, and the pool has more than it has promised | goes; `nr_hugepages` falls by it |
//! | free, and all that the pool has is promised | stays: EBUSY |
//! | in use | stays: EBUSY |
//! | optimised, and there is no memory for its struct pages | stays, in its pool: ENOMEM |
//! | of no pool | nothing is to be done |
//!
//! For who takes memory away for good (Linux: `dissolve_free_hugetlb_folio`, `dissolve_free_hugetlb_folios`). Who wants
//! memory in one piece for a while keeps the pools as large as they are: `replace` exchanges
//! folios that `alloc_contig` meets, promised ones too.
#![forbid(unsafe_code)]

use core::fmt;

use arch::{Order, Pfn};

use super::hstate::HugeSize;
use super::pool::Hugetlb;
use super::resize::Folios;
use crate::Mm;
use crate::boot::Frames;
use crate::hvo::HvoError;
use crate::page::{PageKind, PageRef, page_of};
use crate::space::Errno;

/// Why a folio stays. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotDissolved {
    /// Somebody uses it, or is about to. EBUSY.
    InUse,
    /// It is free, and the pool has promised as many as it has. EBUSY.
    Promised,
    /// There is no memory for its struct pages. ENOMEM.
    Unrestored(HvoError),
}

impl NotDissolved {
    /// The Linux error number.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            NotDissolved::InUse | NotDissolved::Promised => Errno::Busy,
            NotDissolved::Unrestored(_) => Errno::NoMem,
        }
    }
}

impl fmt::Display for NotDissolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotDissolved::InUse => f.write_str("it is in use"),
            NotDissolved::Promised => f.write_str("its pool has promised all that is free"),
            NotDissolved::Unrestored(why) => why.fmt(f),
        }
    }
}

impl Hugetlb {
    /// Gives the folio that this frame of RAM belongs to back to the buddy allocator, if it is one of a pool. Returns
    /// its pages (4 KiB units); 0: it is of no pool. May sleep; no spinlock is held.
    ///
    /// # Errors
    /// [`NotDissolved`].
    pub fn dissolve(&self, mm: &Mm, frame: Pfn) -> Result<u64, NotDissolved> {
        let _one = self.resizing.write(mm.env);
        let head = page_of(frame).head(mm.config.tails);
        match HugeSize::from_order(head.order()).filter(|_| head.kind() == PageKind::Hugetlb) {
            Some(size) => self.dissolve_folio(mm, size, head),
            None => Ok(0),
        }
    }

    /// The same, of every folio that lies in the range of RAM in whole or in part, the lowest first, until one stays.
    /// Returns how many pages (4 KiB units) went.
    ///
    /// # Errors
    /// The first frame of the range that stays, and why; those below it are done.
    pub fn dissolve_range(&self, mm: &Mm, range: Frames) -> Result<u64, (Pfn, NotDissolved)> {
        let (mut pages, mut at) = (0, range.start);
        while at < range.end {
            pages += self.dissolve(mm, at).map_err(|why| (at, why))?;
            // Folios of the smallest size are the closest to each other.
            at = at.align_down(SMALLEST).add(SMALLEST.pages());
        }
        Ok(pages)
    }

    fn dissolve_folio(&self, mm: &Mm, size: HugeSize, head: PageRef) -> Result<u64, NotDissolved> {
        let folios = {
            let mut pool = self.lock(size);
            if head.refcount() != 0 {
                return Err(NotDissolved::InUse);
            }
            if pool.available() == 0 {
                return Err(NotDissolved::Promised);
            }
            let folios = Folios::collect(size, 1, || pool.free.take_first(|page| *page == head));
            pool.nr -= folios.len();
            folios
        };
        if folios.is_empty() {
            return Err(NotDissolved::InUse);
        }
        match self.give_back(mm, folios, |folio| self.attach(folio)) {
            Some(why) => Err(NotDissolved::Unrestored(why)),
            None => Ok(size.order().pages()),
        }
    }
}

/// The order of the smallest folios.
const SMALLEST: Order = HugeSize::K64.order();
