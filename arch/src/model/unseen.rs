//! Descriptors that were made valid and that a walk may not see yet.
//!
//! A walker sees a store when the DSB of the vCPU that made it has completed; that vCPU's own next access may
//! have been translated before, so it needs a context synchronisation too (I_WZCBG, D8.2.3). Until then an
//! access may fault by what stood there before, which was invalid.

use super::cpus::Cpus;
use super::stale::NumberMap;
use crate::addr::PhysAddr;
use crate::contract::CpuId;

/// How far a store has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fresh {
    storer: CpuId,
    /// The other vCPUs' walkers see it.
    others: bool,
    own: Own,
}

/// How far it has come for the vCPU that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Own {
    Stored,
    Ordered,
    Synchronised,
}

/// What is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// A DSB after the store, by the vCPU that made it.
    Dsb(CpuId),
    /// An ISB after that DSB, on this vCPU.
    Isb,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Missing::Dsb(cpu) => write!(f, "no DSB has followed vCPU {cpu}'s store"),
            Missing::Isb => f.write_str("no ISB has followed the DSB after its store"),
        }
    }
}

/// All such stores of a machine.
#[derive(Default)]
pub(super) struct Unseen {
    slots: NumberMap<PhysAddr, Fresh>,
    /// The slots that each vCPU's next context synchronisation is about.
    unsynchronised: NumberMap<u64, Vec<PhysAddr>>,
}

impl Unseen {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A valid descriptor was stored where an invalid one stood.
    pub(super) fn made(&mut self, slot: PhysAddr, storer: CpuId) {
        self.slots.insert(slot, Fresh { storer, others: false, own: Own::Stored });
    }

    /// What stood there does not matter any more.
    pub(super) fn forget(&mut self, slot: PhysAddr) {
        self.slots.remove(&slot);
    }

    /// A DSB of `cpu` after its store to `slot`; one that reaches the `others`, or this vCPU alone.
    pub(super) fn ordered(&mut self, slot: PhysAddr, cpu: CpuId, reaches: Cpus) {
        let Some(fresh) = self.slots.get_mut(&slot).filter(|fresh| fresh.storer == cpu) else { return };
        fresh.others |= !reaches.without(Cpus::only(cpu)).is_empty();
        if fresh.own == Own::Stored {
            fresh.own = Own::Ordered;
            self.unsynchronised.entry(cpu.index() as u64).or_default().push(slot);
        }
        self.settle(slot);
    }

    /// A context synchronisation of `cpu`.
    pub(super) fn synchronised(&mut self, cpu: CpuId) {
        for slot in self.unsynchronised.remove(&(cpu.index() as u64)).unwrap_or_default() {
            if let Some(fresh) = self.slots.get_mut(&slot)
                && fresh.storer == cpu
                && fresh.own == Own::Ordered
            {
                fresh.own = Own::Synchronised;
                self.settle(slot);
            }
        }
    }

    fn settle(&mut self, slot: PhysAddr) {
        let done = |fresh: &Fresh| fresh.others && fresh.own == Own::Synchronised;
        if self.slots.get(&slot).is_some_and(done) {
            self.slots.remove(&slot);
        }
    }

    /// Why a walk on `cpu` may not see the descriptor in `slot`.
    pub(super) fn hidden(&self, slot: PhysAddr, cpu: CpuId) -> Option<Missing> {
        let fresh = self.slots.get(&slot)?;
        if fresh.storer != cpu {
            return (!fresh.others).then_some(Missing::Dsb(fresh.storer));
        }
        match fresh.own {
            Own::Stored => Some(Missing::Dsb(cpu)),
            Own::Ordered => Some(Missing::Isb),
            Own::Synchronised => None,
        }
    }
}
