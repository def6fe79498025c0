//! Translation's half of the contract: accesses, TLBI, barriers, roots.

use super::Machine;
use super::bind::current;
use super::counters::Tally;
use super::machine::{State, lock};
use super::regime::Regime;
use super::reuse;
use super::stale::Written;
use super::step::{Step, before};
use super::tables::{check_asid, check_root};
use super::tlbi::{Pending, validate};
use super::walker::{self, Fault, Purpose, Request, translate};
use crate::addr::{Asid, PhysAddr, VirtAddr};
use crate::contract::{Access, CpuId, Dsb, FaultStatus, FlushScope, Mmu, Privilege, Tlbi};
use crate::features::Features;
use crate::pte::HwDirty;

/// [`Mmu::kernel_access`] that returns the fault, if the adversary chooses one.
///
/// # Errors
/// The fault that the access takes.
pub fn try_kernel_access(va: VirtAddr, access: Access) -> Result<*mut u8, FaultStatus> {
    current(|state, cpu| access_at(state, cpu, va, access, Purpose::Access)).map_err(|fault| fault.status)
}

/// Everything that a translation of `va` may come to on this vCPU; first what the tables say now, then what
/// may be held. No step, and no choice, is made.
#[must_use]
pub fn possible(va: VirtAddr, access: Access, privilege: Privilege) -> Vec<Result<PhysAddr, FaultStatus>> {
    let req = Request { va, access, privilege, purpose: Purpose::Question };
    let all = current(|state, cpu| walker::possible(state, &lock(&state.regime), cpu, req));
    all.into_iter().map(|outcome| outcome.map_err(|fault| fault.status)).collect()
}

fn access_at(
    state: &State,
    cpu: CpuId,
    va: VirtAddr,
    access: Access,
    purpose: Purpose,
) -> Result<*mut u8, Fault> {
    before(state, cpu, Step::Access);
    let req = Request { va, access, privilege: Privilege::Kernel, purpose };
    let mut regime = lock(&state.regime);
    let pa = translate(state, &regime, cpu, req)?;
    if access == Access::Write {
        reuse::written(state, &mut regime, cpu, pa, 1);
    }
    Ok(state.ram.host(pa, 1))
}

/// What an access does, in a sentence.
pub(super) fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "read from",
        Access::Write => "write to",
        Access::Execute => "fetch from",
    }
}

/// Installs or removes a user root on `cpu`.
///
/// # Panics
/// What the vCPU may hold under the ASID belongs to another root.
fn switch_user(state: &State, regime: &mut Regime, cpu: CpuId, root: Option<(PhysAddr, Asid)>) {
    if let Some((earlier, _)) = regime.vcpu(cpu).user_root {
        let now = regime.now();
        regime.roots.leave(cpu, earlier, now);
    }
    if let Some((table, asid)) = root {
        check_root(state, table);
        check_asid(state, asid);
        if let Err(other) = regime.roots.claim(cpu, table, asid) {
            let whose = other.map_or("a root that is gone".to_string(), |root| format!("root {root}"));
            panic!(
                "model: vCPU {cpu} installs root {table} under ASID {asid}, which was that of {whose}: what it holds \
                 of that was never flushed (D8.16.4)"
            );
        }
        regime.adopt_root(&state.ram, table, VirtAddr::new(0));
        regime.roots.install(cpu, table, asid);
    }
    regime.vcpu(cpu).user_root = root;
    regime.synchronise(cpu);
}

impl Mmu for Machine {
    fn features() -> Features {
        current(|state, _| state.desc.features)
    }

    fn hw_dirty() -> HwDirty {
        current(|state, _| state.desc.hw_dirty)
    }

    fn kernel_root() -> PhysAddr {
        current(|state, cpu| match lock(&state.regime).vcpu(cpu).kernel_root {
            Some(root) => root,
            None => panic!("model: vCPU {cpu} has no kernel root; install one with set_kernel_root"),
        })
    }

    fn set_kernel_root(root: PhysAddr) {
        current(|state, cpu| {
            before(state, cpu, Step::Barrier);
            check_root(state, root);
            let mut regime = lock(&state.regime);
            if let Some(earlier) = regime.vcpu(cpu).kernel_root {
                let now = regime.now();
                regime.roots.leave(cpu, earlier, now);
            }
            regime.adopt_root(&state.ram, root, Regime::KERNEL_HALF);
            regime.roots.install(cpu, root, Asid::NONE);
            regime.vcpu(cpu).kernel_root = Some(root);
            regime.forget_all(cpu);
            regime.synchronise(cpu);
        });
    }

    fn user_root() -> Option<(PhysAddr, Asid)> {
        current(|state, cpu| lock(&state.regime).vcpu(cpu).user_root)
    }

    fn set_user_root(root: Option<(PhysAddr, Asid)>) {
        current(|state, cpu| {
            before(state, cpu, Step::Barrier);
            switch_user(state, &mut lock(&state.regime), cpu, root);
        });
    }

    fn tlbi(op: Tlbi, scope: FlushScope) {
        current(|state, cpu| {
            before(state, cpu, Step::Tlbi);
            validate(&op);
            state.tally.count_tlbi(op, scope);
            let mut regime = lock(&state.regime);
            let late = |s: &Written| s.overwrites && !(scope == FlushScope::Local && s.seen_by_self);
            if regime.vcpu(cpu).unordered.iter().any(late) {
                Tally::add(&state.tally.tlbi_unordered);
            }
            let issued = regime.now();
            regime.vcpu(cpu).pending.push(Pending { op, scope, issued });
        });
    }

    fn dsb(barrier: Dsb) {
        current(|state, cpu| {
            before(state, cpu, Step::Barrier);
            Tally::add(&state.tally.dsb);
            lock(&state.regime).dsb(&state.ram, cpu, barrier);
        });
    }

    fn isb() {
        current(|state, cpu| {
            before(state, cpu, Step::Barrier);
            Tally::add(&state.tally.isb);
            lock(&state.regime).synchronise(cpu);
        });
    }

    fn kernel_access(va: VirtAddr, access: Access) -> *mut u8 {
        let accessed = current(|state, cpu| {
            access_at(state, cpu, va, access, Purpose::MustSucceed).map_err(|fault| (fault, cpu))
        });
        match accessed {
            Ok(host) => host,
            Err((fault, cpu)) => panic!("model: kernel {} {va} on vCPU {cpu}: {fault}", verb(access)),
        }
    }

    fn translate(va: VirtAddr, access: Access, privilege: Privilege) -> Result<PhysAddr, FaultStatus> {
        current(|state, cpu| {
            before(state, cpu, Step::Access);
            let req = Request { va, access, privilege, purpose: Purpose::Question };
            translate(state, &lock(&state.regime), cpu, req).map_err(|fault| fault.status)
        })
    }
}
