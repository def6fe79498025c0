//! Flushes that were owed and never made.
//!
//! A store that takes something away, a mapping or a right, obliges to a flush (R_GPPYH). When that is due
//! only the program knows; when the machine ends it is too late. What is tagged with an ASID that no root
//! uses any more need not be flushed: see [`super::roots`].

use super::machine::State;
use super::regime::Regime;
use super::stale::{HeldBy, Stale};
use crate::pte::{Desc, PteFlags};

/// The sentence about the first flush that is still owed.
pub(super) fn unpaid(state: &State, regime: &Regime) -> Option<String> {
    let due = |e: &&Stale| {
        let used = match e.by {
            HeldBy::Asid(asid) => e.anyone().iter().any(|cpu| regime.roots.may_run(e.root, cpu, asid)),
            HeldBy::Global | HeldBy::AnyAsid => regime.roots.is_known(e.root),
        };
        used && takes_away(state, e)
    };
    let first = regime.stale.iter().filter(due).min_by_key(|e| (e.va, e.level, e.source))?;
    Some(format!(
        "model: the machine ends while {} may still hold {} of level {} for {}, which vCPU {} has taken away by \
         a store at {}: it was never flushed (R_GPPYH)",
        first.anyone(),
        first.desc,
        first.level,
        first.va,
        first.storer,
        first.source
    ))
}

/// Whether what stands there now gives less than the stale entry, or something else.
fn takes_away(state: &State, stale: &Stale) -> bool {
    let now = state.ram.load(stale.source);
    if stale.is_table() || !now.is_leaf(stale.level) {
        return now != stale.desc;
    }
    let moved = now.output(stale.level) != stale.desc.output(stale.level);
    moved || grants(stale, stale.desc).difference(grants(stale, now)).bits() != 0
}

/// The rights that a leaf grants, as bits that are set.
fn grants(stale: &Stale, desc: Desc) -> PteFlags {
    let denied = PteFlags::READ_ONLY | PteFlags::PXN | PteFlags::UXN;
    let flags = desc.flags(stale.level);
    (flags & PteFlags::USER) | (denied - flags)
}
