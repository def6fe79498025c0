//! The scheduler's stopper holds all other CPUs while entries are broken and made.
//!
//! A CPU comes to its stopper by a switch of threads, so it is never between the read of a count and its
//! compare-and-swap ([`crate::page::PageRef::try_get`] masks interrupts), and owns no spinlock. It touches nothing but its
//! own stack, which is not in vmemmap, until it is let go; then it finds the new entries. To come there takes as long as
//! the longest stretch without a switch of threads takes on any CPU.
#![forbid(unsafe_code)]

use super::Strategy;
use crate::Mm;
use crate::hvo::batch::Batch;
use crate::hvo::divide::Division;
use crate::hvo::hold;
use crate::hvo::window::{Way, Window};

/// The strategy.
#[derive(Debug)]
pub struct StopMachine;

impl Strategy for StopMachine {
    fn optimise(&self, mm: &Mm, batch: &Batch) {
        hold::stop_machine(mm, || Window::with(mm, |window| window.by_break(batch, Way::Optimise)));
    }
    fn restore(&self, mm: &Mm, batch: &Batch) {
        hold::stop_machine(mm, || Window::with(mm, |window| window.by_break(batch, Way::Restore)));
    }
    fn divide(&self, mm: &Mm, division: &Division) {
        hold::stop_machine(mm, || Window::with(mm, |window| window.divide_by_break(division)));
    }
}
