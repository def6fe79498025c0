//! Translation: all that an access may get, and the adversary's choice among it (Arm ARM D8.2).
//!
//! An access may be translated by the tables as they are, by a stale leaf, or by a walk that goes on from a
//! stale table; and where a descriptor was made and may not be seen yet, it may fault. Entries of different
//! sizes for one address are a conflict abort at FEAT_BBM 1 and 2, and at 0 an amalgamation, which no code can
//! stand.

use super::counters::Tally;
use super::machine::State;
use super::regime::{Regime, When};
use super::stale::{GROUP, Stale, group_region};
use super::unseen::Missing;
use crate::addr::{Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::bbm::Why;
use crate::contiguous::group_bytes;
use crate::contract::{Access, CpuId, FaultStatus, Privilege};
use crate::features::BbmLevel;
use crate::pte::{Desc, HwDirty, Kind, PteFlags};

/// A translation that failed, and the descriptor that stood in the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) status: FaultStatus,
    pub(super) entry: Desc,
    pub(super) from: Place,
}

/// Where a descriptor was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the tables, just now.
    Memory,
    /// In the tables, where it stands but may not be seen yet.
    Hidden(Missing),
    /// In a TLB or walk cache.
    Tlb,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (entry {} ", self.status, self.entry)?;
        match self.from {
            Place::Memory => write!(f, "in memory)"),
            Place::Hidden(missing) => write!(f, "may not be seen yet: {missing})"),
            Place::Tlb => write!(f, "held in the TLB)"),
        }
    }
}

/// What is asked of the tables.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) va: VirtAddr,
    pub(super) access: Access,
    pub(super) privilege: Privilege,
    pub(super) purpose: Purpose,
}

/// What a translation is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// An access that nothing may come in the way of: every fault that is possible is taken.
    MustSucceed,
    /// An access.
    Access,
    /// An address translation instruction: PAN does not matter (D8.2.10).
    Question,
}

/// A leaf that may translate an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Leaf {
    desc: Desc,
    level: Level,
    source: PhysAddr,
    /// The first address that the descriptor itself translates.
    va: VirtAddr,
    from: Place,
}

/// What a translation may come to.
type Outcome = Result<Leaf, Fault>;

/// Synchronous external abort, on an access and on a walk (ESR_ELx.DFSC).
const EXTERNAL_ABORT: u8 = 0x10;
const EXTERNAL_ABORT_WALK: u8 = 0x14;

/// Translates on `cpu`. The address is in RAM.
pub(super) fn translate(state: &State, regime: &Regime, cpu: CpuId, req: Request) -> Result<PhysAddr, Fault> {
    if req.privilege == Privilege::User && req.va.is_kernel() && state.desc.features.e0pd {
        return Err(in_memory(FaultStatus::Translation(Level::L0), Desc::INVALID));
    }
    Tally::add(&state.tally.translations);
    loop {
        let outcomes = outcomes(state, regime, cpu, req.va);
        let judged = |outcome: &Outcome| match *outcome {
            Ok(leaf) => finish(state, leaf, req),
            Err(fault) => Err(fault).map(Some),
        };
        if req.purpose == Purpose::MustSucceed
            && let Some(fault) = outcomes.iter().find_map(|outcome| judged(outcome).err())
        {
            return Err(fault);
        }
        let pick = if outcomes.len() == 1 { 0 } else { state.choose(outcomes.len()) };
        if pick != 0 {
            Tally::add(&state.tally.stale_used);
        }
        if let Some(pa) = judged(&outcomes[pick])? {
            return Ok(pa);
        }
    }
}

/// All that a translation on `cpu` may come to, without making a choice; first what the tables say now.
pub(super) fn possible(
    state: &State,
    regime: &Regime,
    cpu: CpuId,
    req: Request,
) -> Vec<Result<PhysAddr, Fault>> {
    let give = |outcome: &Outcome| match *outcome {
        Ok(leaf) => finish(state, leaf, req).transpose(),
        Err(fault) => Some(Err(fault)),
    };
    outcomes(state, regime, cpu, req.va).iter().filter_map(give).collect()
}

/// What the leaf gives; `None` where hardware has updated the descriptor, or has found that it changed.
fn finish(state: &State, leaf: Leaf, req: Request) -> Result<Option<PhysAddr>, Fault> {
    let fault = |status| Fault { status, entry: leaf.desc, from: leaf.from };
    let Some(desc) = accessed(state, &leaf).map_err(fault)? else { return Ok(None) };
    let leaf = Leaf { desc, ..leaf };
    if allows(state, leaf.desc, leaf.level, req) {
        return output(state, &leaf, req.va).map(Some).map_err(fault);
    }
    if !dirties(state, &leaf, req) {
        return Err(fault(FaultStatus::Permission(leaf.level)));
    }
    // Hardware updates the descriptor if it still stands as held, and walks again either way.
    if req.purpose != Purpose::Question {
        let dirty = Desc::from_raw(leaf.desc.raw() & !PteFlags::READ_ONLY.bits());
        let _lost = state.ram.cas(leaf.source, leaf.desc, dirty);
        return Ok(None);
    }
    output(state, &leaf, req.va).map(Some).map_err(fault)
}

fn in_memory(status: FaultStatus, entry: Desc) -> Fault {
    Fault { status, entry, from: Place::Memory }
}

/// All that a translation may come to; first what the tables say now.
fn outcomes(state: &State, regime: &Regime, cpu: CpuId, va: VirtAddr) -> Vec<Outcome> {
    let mut found = Vec::with_capacity(1);
    let root = root(regime, cpu, va);
    match root {
        Some(root) => walk(state, regime, cpu, va, (root, Level::L0), &mut found),
        None => found.push(Err(in_memory(FaultStatus::Translation(Level::L0), Desc::INVALID))),
    }
    if !regime.stale.is_empty() && (va.is_kernel() || va.is_user()) {
        let asid = regime.asid(cpu);
        for table in regime.stale.tables(va, cpu, asid) {
            if let Some(below) = table.level.next() {
                walk(state, regime, cpu, va, (table.desc.output(table.level), below), &mut found);
            }
        }
        for stale in regime.stale.leaves(va, cpu, asid) {
            push(&mut found, Ok(held(stale)));
        }
    }
    if found.len() > 1 {
        conflicts(state, cpu, va, &mut found);
    }
    found
}

fn held(stale: &Stale) -> Leaf {
    Leaf { desc: stale.desc, level: stale.level, source: stale.source, va: stale.va, from: Place::Tlb }
}

fn push(found: &mut Vec<Outcome>, outcome: Outcome) {
    let same = |known: &Outcome| match (known, &outcome) {
        (Ok(a), Ok(b)) => (a.desc, a.source) == (b.desc, b.source),
        (Err(a), Err(b)) => a == b,
        _ => false,
    };
    if !found.iter().any(same) {
        found.push(outcome);
    }
}

/// The root of the half that `va` lies in; `None` where it lies in neither or nothing is installed.
fn root(regime: &Regime, cpu: CpuId, va: VirtAddr) -> Option<PhysAddr> {
    let vcpu = &regime.vcpus[cpu.index()];
    if va.is_kernel() {
        vcpu.kernel_root
    } else if va.is_user() {
        vcpu.user_root.map(|(root, _)| root)
    } else {
        None
    }
}

/// Walks the tables as they stand, from the table `at` of a level.
fn walk(
    state: &State,
    regime: &Regime,
    cpu: CpuId,
    va: VirtAddr,
    (mut table, mut level): (PhysAddr, Level),
    found: &mut Vec<Outcome>,
) {
    loop {
        let source = table.add(8 * va.index(level) as u64);
        if !state.ram.contains(source, 8) {
            let status = FaultStatus::Other(EXTERNAL_ABORT_WALK + level as u8);
            return push(found, Err(in_memory(status, Desc::INVALID)));
        }
        let desc = state.ram.load(source);
        if desc.is_valid() && desc.output(level).raw() >> state.desc.features.pa_bits != 0 {
            return push(found, Err(in_memory(FaultStatus::AddressSize(level), desc)));
        }
        let fault = FaultStatus::Translation(level);
        match (desc.kind(level), level.next()) {
            (Kind::Table, Some(next)) => {
                hide(regime, cpu, (source, desc), fault, found);
                (table, level) = (desc.output(level), next);
            }
            (Kind::Block | Kind::Page, _) => {
                let va = va.align_down(level.entry_bytes());
                push(found, Ok(Leaf { desc, level, source, va, from: Place::Memory }));
                // nT may cost a translation fault (R_MRRPW).
                let nt = desc.flags(level).contains(PteFlags::NT);
                if nt && state.desc.features.bbm == BbmLevel::Level1 {
                    push(found, Err(in_memory(fault, desc)));
                }
                hide(regime, cpu, (source, desc), fault, found);
                if desc.flags(level).contains(PteFlags::CONTIGUOUS) {
                    neighbours(state, va, (source, level), desc, found);
                }
                return;
            }
            (Kind::Invalid | Kind::Table, _) => {
                push(found, Err(in_memory(fault, desc)));
                return neighbours(state, va, (source, level), desc, found);
            }
        }
    }
}

/// Adds the fault that stands for a descriptor which may not be seen yet.
fn hide(
    regime: &Regime,
    cpu: CpuId,
    (source, entry): (PhysAddr, Desc),
    status: FaultStatus,
    found: &mut Vec<Outcome>,
) {
    if !regime.unseen.is_empty()
        && let Some(missing) = regime.unseen.hidden(source, cpu)
    {
        push(found, Err(Fault { status, entry, from: Place::Hidden(missing) }));
    }
}

/// An invalid descriptor among contiguous ones, or one with other rights than they have: the group may be held as
/// one entry, made from any member, which translates `va` too.
fn neighbours(
    state: &State,
    va: VirtAddr,
    (source, level): (PhysAddr, Level),
    own: Desc,
    found: &mut Vec<Outcome>,
) {
    let first = source.align_down(8 * GROUP);
    let start = va.align_down(group_bytes(level));
    let rights = |desc: Desc| desc.is_leaf(level).then(|| desc.flags(level).difference(PteFlags::ACCESSED));
    for n in 0..GROUP {
        let at = first.add(8 * n);
        let desc = state.ram.load(at);
        let contiguous = desc.is_leaf(level) && desc.flags(level).contains(PteFlags::CONTIGUOUS);
        if contiguous && rights(desc) != rights(own) {
            let va = start.add(n * level.entry_bytes());
            return push(found, Ok(Leaf { desc, level, source: at, va, from: Place::Tlb }));
        }
    }
}

/// Two leaves of different sizes that may both be held.
///
/// # Panics
/// Without FEAT_BBM: the access may get a mixture of the two.
fn conflicts(state: &State, cpu: CpuId, va: VirtAddr, found: &mut Vec<Outcome>) {
    let size = |leaf: &Leaf| {
        group_region(leaf.desc, leaf.level, leaf.va).map_or(leaf.level.entry_bytes(), |group| group.bytes)
    };
    let leaves = || found.iter().filter_map(|outcome| outcome.as_ref().ok());
    let Some(first) = leaves().next().copied() else { return };
    let Some(other) = leaves().find(|leaf| size(leaf) != size(&first)).copied() else { return };
    match state.desc.features.bbm {
        BbmLevel::Level0 => panic!(
            "model: vCPU {cpu} translates {va} and may hold both {} of level {} and {} of level {}: {}; the access \
             gets a conflict abort or an amalgamation of the two (R_FVQCK)",
            first.desc,
            first.level,
            other.desc,
            other.level,
            Why::Size
        ),
        BbmLevel::Level1 | BbmLevel::Level2 => {
            push(found, Err(Fault { status: FaultStatus::TlbConflict, entry: other.desc, from: Place::Tlb }));
        }
        BbmLevel::Level3 => {}
    }
}

/// The leaf's descriptor with its access flag set, by hardware if it manages that; `None` where the update lost
/// against a store, so that the descriptor must be read again.
fn accessed(state: &State, leaf: &Leaf) -> Result<Option<Desc>, FaultStatus> {
    if leaf.desc.flags(leaf.level).contains(PteFlags::ACCESSED) {
        return Ok(Some(leaf.desc));
    }
    if state.desc.hw_dirty == HwDirty::Disabled {
        return Err(FaultStatus::AccessFlag(leaf.level));
    }
    let set = Desc::from_raw(leaf.desc.raw() | PteFlags::ACCESSED.bits());
    match (leaf.from, state.ram.cas(leaf.source, leaf.desc, set)) {
        (_, Ok(())) | (Place::Tlb, Err(_)) => Ok(Some(set)),
        (Place::Memory | Place::Hidden(_), Err(_)) => Ok(None),
    }
}

/// A walk that nobody asked for, where hardware sets access flags: it may set the one of the leaf at `at`, which is
/// about to be replaced.
pub(super) fn speculate(state: &State, regime: &Regime, at: PhysAddr) {
    let page = at.align_down(PAGE_SIZE);
    let Some(table) = regime.tables.of(page).filter(|_| state.desc.hw_dirty == HwDirty::Enabled) else {
        return;
    };
    let desc = state.ram.load(at);
    let clear = desc.is_leaf(table.level) && !desc.flags(table.level).contains(PteFlags::ACCESSED);
    if clear && !regime.reach(&state.ram, page, When::Now).is_empty() && state.choose(2) == 1 {
        let set = Desc::from_raw(desc.raw() | PteFlags::ACCESSED.bits());
        let _alone = state.ram.cas(at, desc, set);
    }
}

/// Whether the leaf as it stands allows the access (D8.4). SCTLR_EL1.WXN is 0, PSTATE.PAN is 1 where
/// there is PAN.
fn allows(state: &State, leaf: Desc, level: Level, req: Request) -> bool {
    let flags = leaf.flags(level);
    let user_page = flags.contains(PteFlags::USER);
    let writable = !flags.contains(PteFlags::READ_ONLY);
    let pan = state.desc.features.pan && req.purpose != Purpose::Question;
    let kernel_may = !user_page || !pan;
    match (req.privilege, req.access) {
        (Privilege::User, Access::Execute) => leaf.user_exec(),
        (Privilege::Kernel, Access::Execute) => leaf.kernel_exec() && (!user_page || !writable),
        (Privilege::User, Access::Read) => user_page,
        (Privilege::User, Access::Write) => user_page && writable,
        (Privilege::Kernel, Access::Read) => kernel_may,
        (Privilege::Kernel, Access::Write) => kernel_may && writable,
    }
}

/// Whether hardware makes the leaf writable for this write.
fn dirties(state: &State, leaf: &Leaf, req: Request) -> bool {
    let writable = Desc::from_raw(leaf.desc.raw() & !PteFlags::READ_ONLY.bits());
    req.access == Access::Write
        && leaf.desc.grants_write(state.desc.hw_dirty)
        && leaf.desc != writable
        && allows(state, writable, leaf.level, req)
}

/// The physical address that the leaf gives for `va`, which may lie beside its own region in a contiguous group.
fn output(state: &State, leaf: &Leaf, va: VirtAddr) -> Result<PhysAddr, FaultStatus> {
    let offset = va.raw().wrapping_sub(leaf.va.raw());
    let pa = PhysAddr::new(leaf.desc.output(leaf.level).raw().wrapping_add(offset));
    if state.ram.contains(pa, 1) { Ok(pa) } else { Err(FaultStatus::Other(EXTERNAL_ABORT)) }
}

/// Whether any of `bytes` bytes from `at` may be reached through a leaf.
pub(super) fn leads_to(desc: Desc, level: Level, at: PhysAddr, bytes: u64) -> bool {
    let (from, size) = (desc.output(level), level.entry_bytes().max(PAGE_SIZE));
    desc.is_leaf(level) && from < at.add(bytes) && at < from.add(size)
}
