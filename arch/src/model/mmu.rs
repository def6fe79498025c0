//! Translation's half of the contract: accesses, TLBI, barriers, roots.

use core::sync::atomic::{AtomicU64, Ordering};

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

/// How often the handler may say that a kernel access is worth another try: the vCPU that makes what it waits for may be
/// slow.
const MAX_TRIES: usize = 100_000;

/// [`Mmu::kernel_access`] that returns the fault, if the adversary chooses one.
///
/// # Errors
/// The fault that the access takes.
#[track_caller]
pub fn try_kernel_access(va: VirtAddr, access: Access) -> Result<*mut u8, FaultStatus> {
    current(|state, cpu| access_at(state, cpu, va, access, Purpose::Access)).map_err(|fault| fault.status)
}

/// Everything that a translation of `va` may come to on this vCPU; first what the tables say now, then what
/// may be held. No step, and no choice, is made.
#[must_use]
pub fn possible(va: VirtAddr, access: Access, privilege: Privilege) -> Vec<Result<PhysAddr, FaultStatus>> {
    let req = Request { va, access, privilege, purpose: Purpose::Question };
    let all = current(|state, cpu| walker::possible(state, &state.regime(), cpu, req));
    all.into_iter().map(|outcome| outcome.map_err(|fault| fault.status)).collect()
}

fn access_at(
    state: &State,
    cpu: CpuId,
    va: VirtAddr,
    access: Access,
    purpose: Purpose,
) -> Result<*mut u8, Fault> {
    before(state, cpu, Step::Access { va, access, privilege: Privilege::Kernel });
    let req = Request { va, access, privilege: Privilege::Kernel, purpose };
    let mut regime = state.regime();
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
        regime.joins(cpu, table, asid);
        reuse::awakened(regime, cpu, table, asid);
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
        current(|state, cpu| match state.regime().vcpu(cpu).kernel_root {
            Some(root) => root,
            None => panic!("model: vCPU {cpu} has no kernel root; install one with set_kernel_root"),
        })
    }

    #[track_caller]
    fn set_kernel_root(root: PhysAddr) {
        current(|state, cpu| {
            before(state, cpu, Step::KernelRoot(root));
            check_root(state, root);
            let mut regime = state.regime();
            if let Some(earlier) = regime.vcpu(cpu).kernel_root {
                let now = regime.now();
                regime.roots.leave(cpu, earlier, now);
            }
            regime.adopt_root(&state.ram, root, Regime::KERNEL_HALF);
            regime.roots.install(cpu, root, Asid::NONE);
            regime.joins(cpu, root, Asid::NONE);
            regime.vcpu(cpu).kernel_root = Some(root);
            regime.forget_all(cpu);
            regime.synchronise(cpu);
        });
    }

    fn user_root() -> Option<(PhysAddr, Asid)> {
        current(|state, cpu| state.regime().vcpu(cpu).user_root)
    }

    #[track_caller]
    fn set_user_root(root: Option<(PhysAddr, Asid)>) {
        current(|state, cpu| {
            before(state, cpu, Step::UserRoot(root));
            switch_user(state, &mut state.regime(), cpu, root);
        });
    }

    #[track_caller]
    fn tlbi(op: Tlbi, scope: FlushScope) {
        current(|state, cpu| {
            before(state, cpu, Step::Tlbi(op, scope));
            validate(&op);
            state.tally.count_tlbi(op, scope);
            let mut regime = state.regime();
            let late = |s: &Written| s.overwrites && !(scope == FlushScope::Local && s.seen_by_self);
            if regime.vcpu(cpu).unordered.iter().any(late) {
                Tally::add(&state.tally.tlbi_unordered);
            }
            let issued = regime.now();
            regime.vcpu(cpu).pending.push(Pending { op, scope, issued });
        });
    }

    #[track_caller]
    fn dsb(barrier: Dsb) {
        current(|state, cpu| {
            before(state, cpu, Step::Dsb(barrier));
            Tally::add(&state.tally.dsb);
            state.regime().dsb(&state.ram, cpu, barrier);
        });
    }

    #[track_caller]
    fn isb() {
        current(|state, cpu| {
            before(state, cpu, Step::Isb);
            Tally::add(&state.tally.isb);
            state.regime().synchronise(cpu);
        });
    }

    #[track_caller]
    fn kernel_access(va: VirtAddr, access: Access) -> *mut u8 {
        for _ in 0..MAX_TRIES {
            let accessed = current(|state, cpu| {
                access_at(state, cpu, va, access, Purpose::MustSucceed).map_err(|fault| (fault, cpu))
            });
            let (fault, cpu) = match accessed {
                Ok(host) => return host,
                Err(faulted) => faulted,
            };
            let handler = current(|state, _| lock(&state.fault_handler).clone());
            if !handler.is_some_and(|handle| handle(va, access, fault.status)) {
                panic!("model: kernel {} {va} on vCPU {cpu}: {fault}", verb(access));
            }
            // The return from an exception synchronises the context (D1.4.4).
            current(|state, cpu| state.regime().synchronise(cpu));
        }
        panic!("model: the fault handler resolved a kernel {} {va} {MAX_TRIES} times in vain", verb(access))
    }

    /// Word by word, each of them an access of its own.
    #[track_caller]
    unsafe fn fill_lines(va: VirtAddr, lines: u64, words: [u64; 2]) {
        for word in 0..lines * 8 {
            let value = words.get(word as usize % 8).copied().unwrap_or(0);
            let host = Self::kernel_access(va.add(word * 8), Access::Write);
            // SAFETY: the caller's address is a multiple of 64, so the word's of 8; the pointer is used at once, and
            // only for atomic words.
            unsafe { AtomicU64::from_ptr(host.cast()) }.store(value, Ordering::Relaxed);
        }
    }

    #[track_caller]
    fn translate(va: VirtAddr, access: Access, privilege: Privilege) -> Result<PhysAddr, FaultStatus> {
        current(|state, cpu| {
            before(state, cpu, Step::Translate { va, access, privilege });
            let req = Request { va, access, privilege, purpose: Purpose::Question };
            translate(state, &state.regime(), cpu, req).map_err(|fault| fault.status)
        })
    }
}
