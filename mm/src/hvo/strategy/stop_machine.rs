//! All other CPUs are held while entries are broken and made.
//!
//! A CPU is held in its interrupt handler, so it is never between the read of a count and its
//! compare-and-swap ([`crate::page::PageRef::try_get`] masks interrupts), and owns no spinlock. It touches
//! nothing but its own stack, which is not in vmemmap, until it is let go; then it finds the new entries.
//!
//! This CPU takes the lock of the kernel's tree inside the stop: it holds no lock outside, and the lock
//! cannot be owned by a CPU that is held.
#![forbid(unsafe_code)]

use super::Strategy;
use crate::Mm;
use crate::config::HvoStrategy;
use crate::hvo::remap::{Names, Plan, Window};

/// The strategy.
#[derive(Debug)]
pub struct StopMachine;

impl Strategy for StopMachine {
    fn name(&self) -> &'static str {
        HvoStrategy::StopMachine.word()
    }
    fn optimise(&self, mm: &Mm, batch: &mut [Plan]) {
        replace_all(mm, batch, &Names::OPTIMISE);
    }
    fn restore(&self, mm: &Mm, batch: &mut [Plan]) {
        replace_all(mm, batch, &Names::RESTORE);
    }
}

/// One stop for the whole batch.
// Walk B.7: the other CPUs are held.
fn replace_all(mm: &Mm, batch: &mut [Plan], names: &'static Names) {
    mm.env.stop_machine(&mut || {
        mm.with_kernel_tree(|tree, flusher| {
            let mut window = Window::new(tree, flusher, mm.env, names);
            batch.iter_mut().for_each(|plan| window.replace(plan));
        });
    });
}
