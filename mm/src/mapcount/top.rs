//! Counting by top entries: a folio's count rises when an entry of the folio's own size comes to map it, as a leaf or
//! through tables, and falls when that ends.
//!
//! ```text
//!   L2    [ block ]                1      the entry of the folio's size is a leaf
//!   L2    [ table ]-> p p p p p    1      it leads to a table with any number of page entries
//! ```
//! Making a leaf of the folio's size is plain. For smaller ones somebody must know whether it is the first behind its
//! top entry. That is what the *mark* in the struct page of the table behind the top entry says: which folio the table
//! is counted for, and how many leaves it has for it. So a page entry costs a look at the mark and no more, however
//! many tables a folio of 1 GiB has.
//!
//! A folio that does not lie as its size asks (mremap moves by pages), one whose size no entry has (64 KiB), and a
//! second folio behind one top entry have no mark: their table's entries are looked at, and each table counts one.
//!
//! The struct page of a table is written by who holds the lock of its tree, T, or has taken the table out of it.
#![forbid(unsafe_code)]

use arch::{Order, PhysAddr};

use super::Run;
use super::neighbours::{ANYWHERE, has_others};
use crate::page::{PageRef, page_of};

/// Whether the number of top entries that map the folio has changed, by one for each entry of a run of whole entries,
/// else by one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tops {
    Changed,
    Same,
}

/// The run was made, or is about to be.
pub(super) fn made(run: &Run) -> Tops {
    if run.is_whole() {
        return Tops::Changed;
    }
    let Some(mut mark) = Mark::behind_top_of(run) else { return scan(run) };
    let tops = match mark.folio {
        folio if folio == Mark::word(run.head) => Tops::Same,
        0 if mark.strays == 0 => {
            mark.folio = Mark::word(run.head);
            Tops::Changed
        }
        _ => {
            mark.strays += u64::from(run.entries);
            mark.write();
            return scan(run);
        }
    };
    mark.leaves += u64::from(run.entries);
    mark.write();
    tops
}

/// The run was cleared, or is about to be.
pub(super) fn gone(run: &Run) -> Tops {
    if run.is_whole() {
        return Tops::Changed;
    }
    let Some(mut mark) = Mark::behind_top_of(run) else { return scan(run) };
    if mark.folio != Mark::word(run.head) {
        mark.strays = mark.strays.saturating_sub(run.entries.into());
        mark.write();
        return scan(run);
    }
    mark.leaves = mark.leaves.saturating_sub(run.entries.into());
    let tops = if mark.leaves == 0 { Tops::Changed } else { Tops::Same };
    if mark.leaves == 0 {
        mark.folio = 0;
    }
    mark.write();
    tops
}

/// What the replacement of entries by others for the same pages does to the number of top entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shift {
    /// The top entry stays.
    None,
    /// A folio without a mark is mapped by one table more.
    Up,
    /// By one less.
    Down,
}

/// A block, a run of one, is replaced by a table of its pages.
pub(super) fn split(block: &Run, table: PhysAddr) -> Shift {
    let made = made(&block.pieces(table));
    if block.is_whole() { Shift::None } else { Shift::of(made, gone(block)) }
}

/// The opposite.
pub(super) fn join(pieces: &Run, block: &Run) -> Shift {
    let made = if block.is_whole() { None } else { Some(made(block)) };
    let gone = gone(pieces);
    made.map_or(Shift::None, |made| Shift::of(made, gone))
}

impl Shift {
    fn of(made: Tops, gone: Tops) -> Shift {
        match (made, gone) {
            (Tops::Changed, Tops::Same) => Shift::Up,
            (Tops::Same, Tops::Changed) => Shift::Down,
            (Tops::Changed, Tops::Changed) | (Tops::Same, Tops::Same) => Shift::None,
        }
    }
}

/// Without a mark: whether the table has no other entry of the folio.
fn scan(run: &Run) -> Tops {
    if has_others(run, ANYWHERE) { Tops::Same } else { Tops::Changed }
}

/// What the struct page of a table says of the folio that it is counted for.
struct Mark {
    table: PageRef,
    /// The folio's head, or 0: the table is counted for none.
    folio: u64,
    /// Leaves behind the top entry that map the folio.
    leaves: u64,
    /// Leaves that would have a mark if another folio did not have it.
    strays: u64,
}

impl Mark {
    /// The mark behind the run's top entry, where there is such an entry: the folio's size is that of an entry, and the
    /// folio lies as the size asks.
    fn behind_top_of(run: &Run) -> Option<Mark> {
        let order = run.head.order();
        let has_entry = order == Order::PMD || order == Order::PUD;
        let aligned = run.placement() & (order.bytes() - 1) == 0;
        (has_entry && aligned).then(|| {
            let table = page_of(run.top.pfn());
            Mark { table, folio: table.mapping(), leaves: table.index(), strays: table.private() }
        })
    }
    fn write(self) {
        self.table.set_mapping(self.folio, self.leaves);
        self.table.set_private(self.strays);
    }
    /// How a mark names a folio.
    fn word(head: PageRef) -> u64 {
        head.pfn().raw() + 1
    }
}
