//! Tables in the place of the 2 MiB blocks that map vmemmap: the first of the two decisions, made by `hvo_split=`.
//!
//! One block has the struct pages of 128 MiB of RAM: of 64 folios of 2 MiB, or of four of 32 MiB; a folio of 1 GiB has
//! eight blocks. The table maps the same frames with the same rights, so that nothing changes for the others, and stays
//! for ever: each block is split once.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;

use super::batch::{Batch, Split};
use super::hold;
use super::window::Window;
use crate::Mm;
use crate::config::HvoSplit;
use crate::kalloc::KAlloc;
use crate::trace::Point;

/// Splits the blocks of the batch that are not split yet. May sleep.
pub(super) fn split(mm: &Mm, batch: &mut Batch) {
    if !batch.has_splits() {
        return;
    }
    match mm.hvo.split() {
        HvoSplit::StopMachine => {
            hold::stop_machine(mm, || Window::with(mm, |window| window.split_by_break(batch)));
        }
        HvoSplit::Pause => hold::pause(mm, || Window::with(mm, |window| window.split_by_break(batch))),
        HvoSplit::Fault => {
            Window::with(mm, |window| mm.hvo.breaking.open(|| window.split_by_break(batch)));
        }
        HvoSplit::Bbml2 => Window::with(mm, |window| window.split_directly(batch)),
        HvoSplit::Refuse | HvoSplit::Auto => {}
    }
}

/// Counts what was split, and gives back the tables that somebody else had no need of any more.
pub(super) fn settle(mm: &Mm, splits: Vec<Split, KAlloc>) {
    for split in splits {
        match split.table {
            None => mm.stats.note(Point::VmemmapSplit, 1, || [split.va.raw(), 0, 0, 0]),
            Some(table) => mm.free_table(table),
        }
    }
}
