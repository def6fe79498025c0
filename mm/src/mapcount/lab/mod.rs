//! A laboratory for ways of counting: a few address spaces, a few folios, and everything that is done to mappings, with
//! the entries in tables that no CPU uses, so that any scheme can be tried on any machine, whatever it was booted with.
//!
//! ```text
//!   LabSpace 0 .. 4    a tree, VMAs side by side              LabFolio 0 ..    order 0, 4, 9, 18
//!        `---- map, unmap, zap, split, join, fold, fork, move, cut and join VMAs ----'
//!   truth              a scan of all trees, entry by entry
//! ```
//! What is done follows the rules of live trees: entries are counted by runs of one table, one VMA and one folio, in
//! the order of [`super`]; a block lies in one VMA; a private folio's page is mapped once by each space.
//!
//! | file | what |
//! |---|---|
//! | `folio` `space` | what the lab has |
//! | `act` | what is done to mappings |
//! | `workload` | random things, one after the other |
//! | `judge` | each answer against the truth, and against what the scheme claims |
//! | `dice` | random numbers |
#![forbid(unsafe_code)]

mod act;
mod dice;
mod folio;
mod judge;
mod space;
mod workload;

pub use act::Clear;
pub use dice::Dice;
pub use folio::{LabFolio, Seen};
pub use judge::{Scores, Verdict};
pub use space::{Cuts, LabSpace};

use arch::VirtAddr;

use super::OwnerId;
use crate::Mm;
use crate::config::Mapcount;
use crate::error::OutOfMemory;
use crate::pgtable::PrivateTree;

/// Most spaces of a lab.
pub const SPACES: usize = 5;
/// Most folios of a lab.
pub const FOLIOS: usize = 6;

/// Spaces, folios, and the scheme that counts.
pub struct Lab<'m> {
    /// The machine.
    pub mm: &'m Mm,
    /// How mappings are counted.
    pub scheme: Mapcount,
    /// The spaces.
    pub spaces: [Option<LabSpace>; SPACES],
    /// The folios.
    pub folios: [Option<LabFolio>; FOLIOS],
    /// What VMAs cover: `[start, end)`.
    range: (VirtAddr, VirtAddr),
}

impl<'m> Lab<'m> {
    /// A lab without spaces and folios; spaces will have VMAs over `range`, which begins at a multiple of 1 GiB.
    #[must_use]
    pub fn new(mm: &'m Mm, scheme: Mapcount, range: (VirtAddr, VirtAddr)) -> Self {
        Lab { mm, scheme, spaces: [const { None }; SPACES], folios: [const { None }; FOLIOS], range }
    }

    /// What VMAs cover.
    #[must_use]
    pub const fn range(&self) -> (VirtAddr, VirtAddr) {
        self.range
    }

    /// Takes a folio in, at a place that is free.
    pub fn put_folio(&mut self, folio: LabFolio) -> Option<usize> {
        let n = self.folios.iter().position(Option::is_none)?;
        self.folios[n] = Some(folio);
        Some(n)
    }

    /// A space without mappings, at a place that is free. `None`: there are as many as can be.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn bear(&mut self) -> Result<Option<usize>, OutOfMemory> {
        let Some(n) = self.spaces.iter().position(Option::is_none) else { return Ok(None) };
        let owner = self.mm.owners.take()?;
        let tree = PrivateTree::new(self.mm).inspect_err(|_| self.mm.owners.give_back(owner))?;
        let vmas = Cuts::new(self.range.0, self.range.1);
        self.spaces[n] = Some(LabSpace { tree, owner, vmas });
        Ok(Some(n))
    }

    /// Ends all spaces, and gives all memory back.
    pub fn end(mut self) {
        (0..SPACES).for_each(|n| self.exit(n));
        for n in 0..FOLIOS {
            if let Some(folio) = self.folios[n].take() {
                self.forget(&folio);
                folio.free(self.mm);
            }
        }
    }

    /// The counts that a folio was left with, which nothing maps any more, are forgotten.
    pub fn forget(&self, folio: &LabFolio) -> u32 {
        if folio.head.is_folio() { self.scheme.free(folio.head) } else { 0 }
    }

    /// The owner of a space that is there.
    fn owner(&self, space: usize) -> Option<OwnerId> {
        self.spaces[space].as_ref().map(|space| space.owner)
    }
}
