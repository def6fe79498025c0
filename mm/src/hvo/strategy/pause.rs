//! An interrupt holds all other CPUs while entries are broken and made.
//!
//! A CPU is held in its interrupt handler, so it is never between the read of a count and its compare-and-swap
//! ([`crate::page::PageRef::try_get`] masks interrupts), and owns no spinlock. It touches nothing but its own stack,
//! which is not in vmemmap, until it is let go; then it finds the new entries. To come there takes as long as the longest
//! stretch with masked interrupts takes on any CPU: here there is no interrupt that cannot be masked, where Linux's
//! proposal took pseudo-NMIs. The pause itself is as long as two stores for each entry of the list and one flush, of at
//! most [`crate::hvo::MOST_ENTRIES`] entries.
#![forbid(unsafe_code)]

use super::Strategy;
use crate::Mm;
use crate::hvo::batch::Batch;
use crate::hvo::divide::Division;
use crate::hvo::hold;
use crate::hvo::window::{Way, Window};

/// The strategy.
#[derive(Debug)]
pub struct Pause;

impl Strategy for Pause {
    fn optimise(&self, mm: &Mm, batch: &Batch) {
        hold::pause(mm, || Window::with(mm, |window| window.by_break(batch, Way::Optimise)));
    }
    fn restore(&self, mm: &Mm, batch: &Batch) {
        hold::pause(mm, || Window::with(mm, |window| window.by_break(batch, Way::Restore)));
    }
    fn divide(&self, mm: &Mm, division: &Division) {
        hold::pause(mm, || Window::with(mm, |window| window.divide_by_break(division)));
    }
}
