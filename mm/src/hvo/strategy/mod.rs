//! How live entries of vmemmap are replaced although any CPU may touch any struct page at any time.
//!
//! | strategy | what keeps others away from a broken entry | price |
//! |---|---|---|
//! | [`fault`] | they fault, wait and try again | whoever touches it, with whatever he holds, waits |
//! | [`stop_machine`] | every other CPU runs the scheduler's stopper | all CPUs wait, and are waited for, once a list |
//! | [`pause`] | every other CPU is held in an interrupt | all CPUs wait once a list |
//! | [`bbml2`] | no entry is broken | FEAT_BBM level 2 or pages; the bytes are copied; two flushes a list |
//! | [`alias`] | no entry is broken | tails that all say the same; two flushes a list |
//!
//! # Which step relies on which rule
//! | step | `fault` `stop-machine` `pause` | `bbml2` | `alias` |
//! |---|---|---|---|
//! | a table for a block | break: the size changes (R_WHZWS, third bullet) | no break: FEAT_BBM level 2 (R_PVTFW), a flush | as `hvo_split=` says |
//! | other rights, same address | with the other address, in one | a flush (R_GPPYH) | a flush (R_GPPYH) |
//! | another address | break: one side is writable, the bytes differ (R_WHZWS, second bullet) | a flush: neither side is writable, and the bytes were made equal | a flush: neither side is writable, and the bytes are equal |
//! | a walker that has read a count | no CPU is held between read and swap (`stop-machine`, `pause`); a grace period (`fault`) | a grace period | a grace period |
//!
//! # Contract
//! The blocks of a batch are split, as [`crate::config::HvoSplit`] says, before a strategy sees it. A strategy changes every
//! entry of the batch. It returns when the new translations hold on every CPU and no TLB holds an old one, so that the
//! caller may free what the old ones mapped. It cannot fail: everything was found and allocated before. The caller holds
//! no spinlock.
#![forbid(unsafe_code)]

pub mod alias;
pub mod bbml2;
pub mod fault;
pub mod pause;
pub mod stop_machine;

use super::batch::Batch;
use super::divide::Division;
use crate::Mm;
use crate::config::HvoStrategy;

/// See the [module](self) for the contract.
pub trait Strategy: Sync {
    /// What a list of frozen folios waits for once, before any of it is optimised: nothing, where others are held later.
    fn prepare(&self, _mm: &Mm) {}
    /// From pages of their own, writable, to the shared page, read-only.
    fn optimise(&self, mm: &Mm, batch: &Batch);
    /// From the shared page, read-only, to pages of their own, writable.
    fn restore(&self, mm: &Mm, batch: &Batch);
    /// From the shared page of a folio's tails to the shared page of its pieces', and to pages of their heads.
    fn divide(&self, mm: &Mm, division: &Division);
}

/// The strategy of this boot; `None` with `hvo=off`.
#[must_use]
pub fn chosen(mm: &Mm) -> Option<&'static dyn Strategy> {
    match mm.hvo.strategy() {
        HvoStrategy::Off | HvoStrategy::Auto => None,
        HvoStrategy::Fault => Some(&fault::Fault),
        HvoStrategy::StopMachine => Some(&stop_machine::StopMachine),
        HvoStrategy::Bbml2 => Some(&bbml2::Bbml2),
        HvoStrategy::Pause => Some(&pause::Pause),
        HvoStrategy::Alias => Some(&alias::Alias),
    }
}
