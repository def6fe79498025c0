//! How live entries of vmemmap are replaced although any CPU may touch any struct page at any time.
//!
//! | strategy | what keeps others away from a broken entry | price |
//! |---|---|---|
//! | [`stop_machine`] | every other CPU is held, interrupts masked | all CPUs wait once for each batch |
//!
//! # Contract
//! A strategy carries out every plan of the batch by [`super::remap::Window::replace`], in order. It returns
//! when the new translations hold on every CPU and no TLB holds an old one, so that the caller may free what
//! the old ones mapped. Each plan says what became of it; a plan that failed changed nothing. The caller
//! holds no spinlock, and has allocated everything.
#![forbid(unsafe_code)]

pub mod stop_machine;

use super::remap::Plan;
use crate::Mm;
use crate::config::HvoStrategy;

/// See the [module](self) for the contract.
pub trait Strategy: Sync {
    /// Its word on the command line.
    fn name(&self) -> &'static str;
    /// From pages of their own, writable, to the shared page, read-only.
    fn optimise(&self, mm: &Mm, batch: &mut [Plan]);
    /// From the shared page, read-only, to pages of their own, writable.
    fn restore(&self, mm: &Mm, batch: &mut [Plan]);
}

/// The strategy of this boot; `None` with `hvo=off`.
#[must_use]
pub fn chosen(mm: &Mm) -> Option<&'static dyn Strategy> {
    match mm.config.hvo {
        HvoStrategy::Off => None,
        _ => Some(&stop_machine::StopMachine),
    }
}
