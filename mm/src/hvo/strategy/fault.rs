//! Break, flush and make while all others run: who touches what is broken takes a translation fault, waits until the entry
//! is made, and tries again ([`crate::hvo::fault`], which says why that ends, and where it must not happen).
//!
//! Nobody is held, so a walker may have read a live count of what became a tail since, and be about to swap it: to a tail
//! that is read-only by then. So the list waits for a grace period first: what reads a count after it finds the frozen
//! folio's, or the 0 of a tail.
#![forbid(unsafe_code)]

use super::Strategy;
use crate::Mm;
use crate::hvo::batch::Batch;
use crate::hvo::divide::Division;
use crate::hvo::hold;
use crate::hvo::window::{Way, Window};

/// The strategy.
#[derive(Debug)]
pub struct Fault;

impl Strategy for Fault {
    fn prepare(&self, mm: &Mm) {
        hold::grace_period(mm);
    }
    fn optimise(&self, mm: &Mm, batch: &Batch) {
        Window::with(mm, |window| mm.hvo.breaking.open(|| window.by_break(batch, Way::Optimise)));
    }
    fn restore(&self, mm: &Mm, batch: &Batch) {
        Window::with(mm, |window| mm.hvo.breaking.open(|| window.by_break(batch, Way::Restore)));
    }
    fn divide(&self, mm: &Mm, division: &Division) {
        Window::with(mm, |window| mm.hvo.breaking.open(|| window.divide_by_break(division)));
    }
}
