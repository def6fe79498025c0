//! Demotion: free folios of one pool become folios of a pool of smaller ones.
//!
//! ```text
//!   1 GiB -----> 32 MiB -----> 2 MiB -----> 64 KiB       the next smaller size, where `demote_size` says nothing else
//!     `---------------------------^            ^
//!                 `----------------------------'         any smaller one, if it does
//! ```
//! | step | |
//! |---|---|
//! | detach | up to a batch of folios that are free and not promised leave their pool: nobody else has them |
//! | restore | those that are optimised get their struct pages back; or, where the pieces are to be optimised and their tails can be shared, pages for the heads alone ([`crate::hvo::divide`]): the only memory that is needed |
//! | divide | heads and tails of the pieces are written; all counts are 0 before, meanwhile and afterwards |
//! | add | the pieces enter their pool, optimised where that is to be done |
//!
//! **Guarantee.** A folio is demoted wholly or not at all; for one that cannot be restored it ends, and that one is in
//! its pool as before. What is in use or promised stays: no promise is ever without its folio. Of the sizes that were
//! asked for (`nr_hugepages`) one falls and the other rises by what was moved; surplus is untouched, as a pool that has
//! any has nothing to spare (Linux: `demote_pool_huge_page`, `demote_free_hugetlb_folios`).
#![forbid(unsafe_code)]

use super::hstate::HugeSize;
use super::pool::Hugetlb;
use super::resize::{Folios, is_optimized};
use crate::Mm;
use crate::hvo::{self, HvoError};
use crate::page::FolioRef;
use crate::trace::Point;

/// What a demotion reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use = "fewer folios may have been demoted than was asked for"]
pub struct Demoted {
    /// Folios that were divided.
    pub folios: u64,
    /// Why the next one could not be restored: it is in its pool as it was.
    pub unrestored: Option<HvoError>,
    /// Why a piece could not be optimised: it is in its pool as it is.
    pub unoptimized: Option<HvoError>,
}

/// Pages can be divided into smaller ones only. EINVAL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotSmaller;

impl Hugetlb {
    /// What folios of this size are divided into; `None`: there is no smaller size.
    #[must_use]
    pub fn demote_size(&self, size: HugeSize) -> Option<HugeSize> {
        self.lock(size).demote_size.or(size.smaller().next_back())
    }

    /// Sets what folios of this size are divided into from now on. Any smaller size will do (Linux,
    /// `demote_size_store`, takes none below that of a block of level 2, and yet has 64 KiB as the default of 2 MiB).
    /// May sleep; no spinlock is held.
    ///
    /// # Errors
    /// [`NotSmaller`]; nothing changed.
    pub fn set_demote_size(&self, mm: &Mm, size: HugeSize, into: HugeSize) -> Result<(), NotSmaller> {
        let _one = self.resizing.write(mm.env);
        if into >= size {
            return Err(NotSmaller);
        }
        self.lock(size).demote_size = Some(into);
        Ok(())
    }

    /// Divides up to `n` folios of this size that are free and not promised. May sleep; no spinlock is held.
    pub fn demote(&self, mm: &Mm, size: HugeSize, n: u64) -> Demoted {
        let end = |demoted: &Demoted| (0, [demoted.folios, 0, 0, 0]);
        let begin = || [size.bytes(), n, 0, 0];
        mm.stats.slice(Point::Demote, (0, begin), end, || self.divide(mm, size, n))
    }

    fn divide(&self, mm: &Mm, size: HugeSize, n: u64) -> Demoted {
        let _one = self.resizing.write(mm.env);
        let mut demoted = Demoted::default();
        let Some(into) = self.demote_size(size) else { return demoted };
        while demoted.folios < n && demoted.unrestored.is_none() {
            let folios = self.detach(size, n - demoted.folios, |_| true);
            if folios.is_empty() {
                break;
            }
            let directly = hvo::divide::is_possible(mm, into.order());
            if !directly {
                let restored = hvo::restore_folios(mm, folios.heads().filter(is_optimized));
                demoted.unrestored = restored.first_error.map(|(_, error)| error);
            }
            for folio in folios.into_owned() {
                if directly && is_optimized(&folio) && demoted.unrestored.is_none() {
                    demoted.unrestored = hvo::divide_folio(mm, folio.page(), into.order()).err();
                    if demoted.unrestored.is_none() {
                        demoted.folios += 1;
                        self.add_optimized(folio.divide_optimised(into.order(), mm.config.tails), into);
                        continue;
                    }
                }
                if is_optimized(&folio) {
                    self.attach(folio);
                } else {
                    demoted.folios += 1;
                    demoted.unoptimized = demoted.unoptimized.or(self.add_pieces(mm, folio, into));
                }
            }
        }
        demoted
    }

    /// Puts pieces that are optimised into their pool.
    fn add_optimized(&self, pieces: impl Iterator<Item = FolioRef>, into: HugeSize) {
        let mut pool = self.lock(into);
        for piece in pieces {
            pool.free.push(piece);
            pool.nr += 1;
        }
    }

    /// Divides a folio that nobody has, and puts the pieces into their pool. Returns why one was not optimised.
    fn add_pieces(&self, mm: &Mm, folio: FolioRef, into: HugeSize) -> Option<HvoError> {
        let mut pieces = folio.divide(into.order(), mm.config.tails);
        let mut unoptimized = None;
        loop {
            let batch = Folios::collect(into, u64::MAX, || pieces.next());
            if batch.is_empty() {
                return unoptimized;
            }
            unoptimized = unoptimized.or(self.add(mm, into, batch));
        }
    }
}
