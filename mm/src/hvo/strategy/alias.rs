//! No entry is broken, nobody is held, and nothing is copied: tails that all say the same are the same page already.
//!
//! With `tails=mask` every tail of an order holds the same bytes, whichever folio it belongs to. So the page of tails
//! that an entry maps, and the page of tails that all folios share, are equal before anything is done, and a change of
//! the output address needs no break as soon as neither side grants write (Arm ARM R_WHZWS, second bullet):
//!
//! ```text
//!   optimise   own, rw  -- rights -->  own, ro     flush  -- address -->  shared, ro  flush
//!   restore    shared, ro -- address --> own, ro   flush  -- rights -->   own, rw     flush
//! ```
//! At every moment every address translates, to bytes that are the same all the time.
//!
//! | it depends on | and that is kept by |
//! |---|---|
//! | pages map vmemmap | `vmemmap=pte`, or a split before, as `hvo_split=` says; what cannot be split is refused ([`crate::hvo::choice`]) |
//! | neither side is writable, by hardware either | `survey` takes entries with just these rights, without DBM |
//! | equal bytes | tails are made so; debug builds compare before the plan and at each store, and the model at each store |
//! | nobody writes the tails | count 0, the caller's alone; who had read a live count before has swapped it, or failed to, by the end of the grace period |
//! | the head stays | only entries from [`crate::hvo::layout::Layout::kept`] on change |
#![forbid(unsafe_code)]

use super::Strategy;
use crate::Mm;
use crate::hvo::batch::Batch;
use crate::hvo::divide::Division;
use crate::hvo::hold;
use crate::hvo::window::{Equal, Window};

/// The strategy.
#[derive(Debug)]
pub struct Alias;

impl Strategy for Alias {
    fn prepare(&self, mm: &Mm) {
        hold::grace_period(mm);
    }
    fn optimise(&self, mm: &Mm, batch: &Batch) {
        Window::with(mm, |window| window.share_by_rights(batch, Equal::ByItself));
    }
    fn restore(&self, mm: &Mm, batch: &Batch) {
        Window::with(mm, |window| window.unshare_by_rights(batch, Equal::ByItself));
    }
    fn divide(&self, mm: &Mm, division: &Division) {
        Window::with(mm, |window| window.divide_by_rights(division));
    }
}
