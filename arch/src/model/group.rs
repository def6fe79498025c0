//! Contiguous groups: sixteen descriptors that may be held as one entry (Arm ARM D8.7.1).
//!
//! Every valid member must say the same of its place in one run of memory; otherwise what an access gets is
//! the one or the other, a conflict abort, or at FEAT_BBM 0 a mixture (R_NGLXZ). Invalid members are no
//! harm by themselves. Write permission, dirty state and the access flag may differ for as long as a group is
//! changed member by member.

use super::judge::Context;
use super::regime::Regime;
use super::stale::{GROUP, Stale};
use crate::addr::VirtAddr;
use crate::bbm::{BbmNeed, Why};
use crate::contiguous::group_bytes;
use crate::features::BbmLevel;
use crate::pte::{Desc, Kind, PteFlags};

/// Holds a new leaf or table against the other members of its group, those that stand there and those that may be held.
///
/// # Panics
/// They do not fit together.
pub(super) fn check(context: &Context<'_>, regime: &Regime) {
    let (new, level) = (context.store.new, context.table.level);
    let start = context.va.align_down(group_bytes(level));
    let first = context.store.at.align_down(8 * GROUP);
    for n in 0..GROUP {
        let (at, va) = (first.add(8 * n), start.add(n * level.entry_bytes()));
        if at == context.store.at {
            continue;
        }
        let member = context.state.ram.load(at);
        if let Some(why) = misfit(context, member, va) {
            fail(context, &format!("while {member} stands for {va} in its contiguous group"), why);
        }
        let as_group = |e: &Stale| {
            !e.group_holders.is_empty()
                || new.is_leaf(level) && new.flags(level).contains(PteFlags::CONTIGUOUS)
        };
        let stale = regime.stale.at(va, level).iter();
        for stale in stale.filter(|e| e.source == at && e.desc != member && as_group(e)) {
            if let Some(why) = misfit(context, stale.desc, va) {
                let held = format!("while {} may still hold {} for {va}", stale.anyone(), stale.desc);
                fail(context, &held, why);
            }
        }
    }
    unaligned(context);
}

/// A member whose place in its group is not its place in memory.
///
/// # Panics
/// The new leaf is one.
fn unaligned(context: &Context<'_>) {
    let (new, level) = (context.store.new, context.table.level);
    let within = context.va.raw() % group_bytes(level);
    let contiguous = new.is_leaf(level) && new.flags(level).contains(PteFlags::CONTIGUOUS);
    if contiguous && new.output(level).raw() % group_bytes(level) != within {
        fail(context, "in a contiguous group that begins elsewhere in memory", Misfit::Run);
    }
}

/// How a new leaf and another member do not fit together.
enum Misfit {
    /// They do not describe one run of memory.
    Run,
    /// One has the contiguous bit.
    Size,
}

fn misfit(context: &Context<'_>, member: Desc, va: VirtAddr) -> Option<Misfit> {
    let (new, level) = (context.store.new, context.table.level);
    let contiguous = |desc: Desc| desc.is_leaf(level) && desc.flags(level).contains(PteFlags::CONTIGUOUS);
    if new.kind(level) == Kind::Table && contiguous(member) {
        return Some(Misfit::Run);
    }
    if !member.is_leaf(level) || !(contiguous(new) || contiguous(member)) {
        return None;
    }
    let expected = new.output(level).raw().wrapping_add(va.raw().wrapping_sub(context.va.raw()));
    let may_differ = PteFlags::CONTIGUOUS | PteFlags::ACCESSED | PteFlags::READ_ONLY | PteFlags::DBM;
    let differ = (new.flags(level) ^ member.flags(level)).difference(may_differ);
    if contiguous(new) != contiguous(member) && context.state.desc.features.bbm == BbmLevel::Level0 {
        Some(Misfit::Size)
    } else if member.output(level).raw() != expected || !differ.is_empty() {
        Some(Misfit::Run)
    } else {
        None
    }
}

fn fail(context: &Context<'_>, held: &str, why: Misfit) -> ! {
    let (store, level, va) = (context.store, context.table.level, context.va);
    let why = match why {
        Misfit::Run => {
            "the members of a contiguous group must map one run of memory alike (R_NGLXZ)".to_string()
        }
        Misfit::Size => BbmNeed::BreakBeforeMake { why: Why::Size }.to_string(),
    };
    panic!(
        "model: vCPU {} stores {} at {}, level {level}, for {va} {held}: {why}",
        store.cpu, store.new, store.at
    )
}
