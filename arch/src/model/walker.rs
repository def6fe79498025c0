//! Translation: the TLB first, whatever it holds; then the tables (Arm ARM D8.2).

use super::counters::Tally;
use super::machine::{State, Vcpu};
use super::tlb::{Found, Held};
use crate::addr::{Level, PhysAddr, VirtAddr};
use crate::contract::{Access, FaultStatus, Privilege};
use crate::features::BbmLevel;
use crate::pte::{Desc, HwDirty, Kind, PteFlags};

/// A translation that failed, and the descriptor that stood in the way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) status: FaultStatus,
    pub(super) entry: Desc,
    pub(super) from: From,
}

/// Where a descriptor was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum From {
    /// In the tables, just now.
    Memory,
    /// In the TLB.
    Tlb,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = match self.from {
            From::Memory => "in memory",
            From::Tlb => "held in the TLB",
        };
        write!(f, "{} (entry {} {place})", self.status, self.entry)
    }
}

/// What is asked of the tables.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub(super) va: VirtAddr,
    pub(super) access: Access,
    pub(super) privilege: Privilege,
}

/// Synchronous external abort, on an access and on a walk (ESR_ELx.DFSC).
const EXTERNAL_ABORT: u8 = 0x10;
const EXTERNAL_ABORT_WALK: u8 = 0x14;

/// Translates on `vcpu`, filling its TLB. The address is in RAM.
pub(super) fn translate(state: &State, vcpu: &mut Vcpu, req: Request) -> Result<PhysAddr, Fault> {
    if req.privilege == Privilege::User && req.va.is_kernel() && state.desc.features.e0pd {
        return Err(in_memory(FaultStatus::Translation(Level::L0), Desc::INVALID));
    }
    loop {
        let (leaf, from) = match vcpu.tlb.leaf(req.va, vcpu.asid()) {
            Found::Nothing => (walk(state, vcpu, req.va)?, From::Memory),
            Found::One(leaf) => (leaf, From::Tlb),
            Found::Sizes(oldest) if state.desc.features.bbm >= BbmLevel::Level2 => (oldest, From::Tlb),
            Found::Sizes(leaf) | Found::Clash(leaf) => {
                return Err(Fault { status: FaultStatus::TlbConflict, entry: leaf.desc, from: From::Tlb });
            }
        };
        if from == From::Tlb {
            Tally::add(&state.tally.tlb_hits);
        }
        if allows(state, leaf.desc, leaf.level, req) {
            return output(state, &leaf, req.va).map_err(|status| Fault { status, entry: leaf.desc, from });
        }
        if !dirties(state, &leaf, req) {
            return Err(Fault { status: FaultStatus::Permission(leaf.level), entry: leaf.desc, from });
        }
        // Hardware updates the descriptor if it still stands as held, and walks again either way.
        let dirty = Desc::from_raw(leaf.desc.raw() & !PteFlags::READ_ONLY.bits());
        let _lost = state.ram.cas(leaf.source, leaf.desc, dirty);
        vcpu.tlb.evict(req.va, &leaf);
    }
}

fn in_memory(status: FaultStatus, entry: Desc) -> Fault {
    Fault { status, entry, from: From::Memory }
}

/// Walks the tables from the deepest table held, and holds what it passes.
fn walk(state: &State, vcpu: &mut Vcpu, va: VirtAddr) -> Result<Held, Fault> {
    Tally::add(&state.tally.walks);
    let asid = vcpu.asid();
    let start = match vcpu.tlb.table(va, asid) {
        Some(held) => held.level.next().map(|level| (held.desc.output(held.level), level)),
        None => root(vcpu, va).map(|root| (root, Level::L0)),
    };
    let Some((mut table, mut level)) = start else {
        return Err(in_memory(FaultStatus::Translation(Level::L0), Desc::INVALID));
    };
    loop {
        let at = table.add(8 * va.index(level) as u64);
        if !state.ram.contains(at, 8) {
            let status = FaultStatus::Other(EXTERNAL_ABORT_WALK + level as u8);
            return Err(in_memory(status, Desc::INVALID));
        }
        // Read before the descriptor: what is held counts as at least as old as what was loaded.
        let since = state.now();
        let desc = state.ram.load(at);
        if desc.is_valid() && desc.output(level).raw() >> state.desc.features.pa_bits != 0 {
            return Err(in_memory(FaultStatus::AddressSize(level), desc));
        }
        match (desc.kind(level), level.next()) {
            (Kind::Table, Some(next)) => {
                vcpu.tlb.hold(va, Held::new(desc, level, at, asid, since));
                (table, level) = (desc.output(level), next);
            }
            (Kind::Block | Kind::Page, _) => {
                let Some(desc) = accessed(state, at, desc, level)? else { continue };
                let leaf = Held::new(desc, level, at, asid, since);
                if !desc.flags(level).contains(PteFlags::NT) {
                    vcpu.tlb.hold(va, leaf);
                }
                return Ok(leaf);
            }
            (Kind::Invalid | Kind::Table, _) => return Err(in_memory(FaultStatus::Translation(level), desc)),
        }
    }
}

/// The root of the half that `va` lies in; `None` where it lies in neither or nothing is installed.
fn root(vcpu: &Vcpu, va: VirtAddr) -> Option<PhysAddr> {
    if va.is_kernel() {
        vcpu.kernel_root
    } else if va.is_user() {
        vcpu.user_root.map(|(root, _)| root)
    } else {
        None
    }
}

/// The leaf with its access flag set, by hardware if it manages that; `None` where the update lost
/// against a store, so that the descriptor must be read again. A leaf whose flag is clear is not held.
fn accessed(state: &State, at: PhysAddr, desc: Desc, level: Level) -> Result<Option<Desc>, Fault> {
    if desc.flags(level).contains(PteFlags::ACCESSED) {
        return Ok(Some(desc));
    }
    if state.desc.hw_dirty == HwDirty::Disabled {
        return Err(in_memory(FaultStatus::AccessFlag(level), desc));
    }
    let set = Desc::from_raw(desc.raw() | PteFlags::ACCESSED.bits());
    Ok(state.ram.cas(at, desc, set).is_ok().then_some(set))
}

/// Whether the leaf as it stands allows the access (D8.4). SCTLR_EL1.WXN is 0, PSTATE.PAN is 1 where
/// there is PAN.
fn allows(state: &State, leaf: Desc, level: Level, req: Request) -> bool {
    let flags = leaf.flags(level);
    let user_page = flags.contains(PteFlags::USER);
    let writable = !flags.contains(PteFlags::READ_ONLY);
    let kernel_may = !user_page || !state.desc.features.pan;
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
fn dirties(state: &State, leaf: &Held, req: Request) -> bool {
    let writable = Desc::from_raw(leaf.desc.raw() & !PteFlags::READ_ONLY.bits());
    req.access == Access::Write
        && leaf.desc.grants_write(state.desc.hw_dirty)
        && leaf.desc != writable
        && allows(state, writable, leaf.level, req)
}

/// The physical address that the leaf gives for `va`.
fn output(state: &State, leaf: &Held, va: VirtAddr) -> Result<PhysAddr, FaultStatus> {
    let pa = leaf.desc.output(leaf.level).add(va.raw() & (leaf.level.entry_bytes() - 1));
    if state.ram.contains(pa, 1) { Ok(pa) } else { Err(FaultStatus::Other(EXTERNAL_ABORT)) }
}
