//! HVO's state, and the switch `vm.hugetlb_optimize_vmemmap`.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use arch::{Order, PhysAddr};

use super::HvoError;
use super::choice::Choice;
use super::fault::Breaking;
use super::shared::SharedTails;
use crate::Mm;
use crate::config::{HvoSplit, HvoStrategy};
use crate::stats::Counter;

/// Whether folios are optimised as they enter the pool. Folios that are in it already stay as they are, so a
/// pool may be mixed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switch {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// What was optimised at boot, before it had struct pages (`boot::folios`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AtBoot {
    /// Folios.
    pub folios: u64,
    /// Pages of their vmemmap that never had a frame of their own (4 KiB units).
    pub never_taken: u64,
}

/// The state of HVO.
#[derive(Debug)]
pub struct Hvo {
    choice: Choice,
    at_boot: AtBoot,
    on: AtomicBool,
    pub(super) shared: SharedTails,
    pub(super) breaking: Breaking,
}

impl Hvo {
    /// On, unless the boot choice is `hvo=off`; with the shared pages that boot has made, and what they are for.
    #[must_use]
    pub const fn new(choice: Choice, shared: SharedTails, at_boot: AtBoot) -> Self {
        let on = !matches!(choice.strategy, HvoStrategy::Off);
        Hvo { choice, at_boot, on: AtomicBool::new(on), shared, breaking: Breaking::new() }
    }
    /// What was optimised before it had struct pages; never changes, whatever becomes of those folios.
    #[must_use]
    pub fn at_boot(&self) -> AtBoot {
        self.at_boot
    }
    /// The strategy of this boot; never [`HvoStrategy::Auto`].
    #[must_use]
    pub fn strategy(&self) -> HvoStrategy {
        self.choice.strategy
    }
    /// How blocks of vmemmap are split; never [`HvoSplit::Auto`].
    #[must_use]
    pub fn split(&self) -> HvoSplit {
        self.choice.split
    }
    /// Where the switch stands.
    #[must_use]
    pub fn switch(&self) -> Switch {
        if self.on.load(Ordering::Relaxed) { Switch::On } else { Switch::Off }
    }
    /// Sets the switch.
    ///
    /// # Errors
    /// [`HvoError::Off`]: with `hvo=off` it cannot be set to [`Switch::On`].
    pub fn set_switch(&self, mm: &Mm, to: Switch) -> Result<(), HvoError> {
        if to == Switch::On && mm.hvo.strategy() == HvoStrategy::Off {
            return Err(HvoError::Off);
        }
        self.on.store(to == Switch::On, Ordering::Relaxed);
        Ok(())
    }
    /// The shared page of tails for `order`, if it was made.
    #[must_use]
    pub fn shared_tails(&self, order: Order) -> Option<PhysAddr> {
        self.shared.get(order)
    }
    /// Pages that HVO took and keeps, even when every folio is restored: shared pages of tails, and a table
    /// for each 2 MiB block of vmemmap that was split.
    #[must_use]
    pub fn kept_pages(&self, mm: &Mm) -> u64 {
        self.shared.pages() + mm.stats.get(Counter::HvoSplitPmd)
    }
}
