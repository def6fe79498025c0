//! Translation's half of the contract: accesses, TLBI, barriers, roots.

use super::Machine;
use super::bind::current;
use super::counters::Tally;
use super::judge;
use super::machine::{State, Store, Vcpu};
use super::step::{Step, before};
use super::tlb::{Pending, validate};
use super::walker::{Fault, Request, translate};
use crate::addr::{Asid, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{Access, CpuId, Dsb, FaultStatus, FlushScope, Mmu, Privilege, Tlbi};
use crate::features::Features;
use crate::pte::HwDirty;

/// [`Mmu::kernel_access`] that returns the fault.
///
/// # Errors
/// The fault that the access takes.
#[track_caller]
pub fn try_kernel_access(va: VirtAddr, access: Access) -> Result<*mut u8, FaultStatus> {
    current(|state, cpu| access_at(state, cpu, va, access)).map_err(|fault| fault.status)
}

fn access_at(state: &State, cpu: CpuId, va: VirtAddr, access: Access) -> Result<*mut u8, Fault> {
    let req = Request { va, access, privilege: Privilege::Kernel };
    before(state, cpu, Step::Access { va, access, privilege: Privilege::Kernel });
    let pa = translate(state, &mut state.vcpu(cpu), req)?;
    if access == Access::Write {
        judge::written(state, cpu, pa, 1);
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

/// Completes those of this vCPU's TLBIs that `which` names.
fn complete(state: &State, cpu: CpuId, which: impl Fn(FlushScope) -> bool) {
    let all = std::mem::take(&mut state.vcpu(cpu).pending);
    let (done, open): (Vec<_>, Vec<_>) = all.into_iter().partition(|tlbi| which(tlbi.scope));
    state.vcpu(cpu).pending = open;
    let ttl = state.desc.features.ttl;
    for tlbi in &done {
        match tlbi.scope {
            FlushScope::Local => state.vcpu(cpu).tlb.complete(tlbi, ttl),
            FlushScope::Broadcast => state.vcpus().for_each(|mut vcpu| vcpu.tlb.complete(tlbi, ttl)),
        }
    }
}

/// The stores of this vCPU that a TLBI of `scope` is not ordered behind.
fn unordered(vcpu: &Vcpu, scope: FlushScope) -> Vec<PhysAddr> {
    let open = |store: &&Store| scope == FlushScope::Broadcast || !store.seen_by_self;
    vcpu.unordered.iter().filter(open).map(|store| store.at).collect()
}

fn check_root(state: &State, root: PhysAddr) {
    assert!(
        root.is_aligned(PAGE_SIZE) && state.ram.contains(root, PAGE_SIZE),
        "model: root {root} is not a page of RAM"
    );
}

impl Mmu for Machine {
    fn features() -> Features {
        current(|state, _| state.desc.features)
    }

    fn hw_dirty() -> HwDirty {
        current(|state, _| state.desc.hw_dirty)
    }

    fn kernel_root() -> PhysAddr {
        current(|state, cpu| match state.vcpu(cpu).kernel_root {
            Some(root) => root,
            None => panic!("model: vCPU {cpu} has no kernel root; install one with set_kernel_root"),
        })
    }

    #[track_caller]
    fn set_kernel_root(root: PhysAddr) {
        current(|state, cpu| {
            before(state, cpu, Step::KernelRoot(root));
            check_root(state, root);
            state.tables.install_kernel(state, root);
            let mut vcpu = state.vcpu(cpu);
            vcpu.kernel_root = Some(root);
            vcpu.tlb.clear();
        });
    }

    fn user_root() -> Option<(PhysAddr, Asid)> {
        current(|state, cpu| state.vcpu(cpu).user_root)
    }

    #[track_caller]
    fn set_user_root(root: Option<(PhysAddr, Asid)>) {
        current(|state, cpu| {
            before(state, cpu, Step::UserRoot(root));
            if let Some((table, asid)) = root {
                check_root(state, table);
                state.tables.install_user(state, table, asid);
                let bits = state.desc.features.asid_bits;
                assert!(u64::from(asid.raw()) >> bits == 0, "model: ASID {asid} has more than {bits} bits");
            }
            state.vcpu(cpu).user_root = root;
        });
    }

    #[track_caller]
    fn tlbi(op: Tlbi, scope: FlushScope) {
        current(|state, cpu| {
            before(state, cpu, Step::Tlbi(op, scope));
            validate(&op);
            state.tally.count_tlbi(op, scope);
            let mut vcpu = state.vcpu(cpu);
            let unordered = unordered(&vcpu, scope);
            if !unordered.is_empty() {
                Tally::add(&state.tally.tlbi_unordered);
            }
            vcpu.pending.push(Pending { op, scope, issued: state.now(), unordered });
        });
    }

    #[track_caller]
    fn dsb(barrier: Dsb) {
        current(|state, cpu| {
            before(state, cpu, Step::Dsb(barrier));
            Tally::add(&state.tally.dsb);
            match barrier {
                Dsb::IshSt => state.vcpu(cpu).unordered.clear(),
                Dsb::Ish => {
                    state.vcpu(cpu).unordered.clear();
                    complete(state, cpu, |_| true);
                }
                Dsb::Nsh => {
                    state.vcpu(cpu).unordered.iter_mut().for_each(|store| store.seen_by_self = true);
                    complete(state, cpu, |scope| scope == FlushScope::Local);
                }
            }
        });
    }

    #[track_caller]
    fn isb() {
        current(|state, cpu| {
            before(state, cpu, Step::Isb);
            Tally::add(&state.tally.isb);
        });
    }

    #[track_caller]
    fn kernel_access(va: VirtAddr, access: Access) -> *mut u8 {
        match current(|state, cpu| access_at(state, cpu, va, access).map_err(|fault| (fault, cpu))) {
            Ok(host) => host,
            Err((fault, cpu)) => panic!("model: kernel {} {va} on vCPU {cpu}: {fault}", verb(access)),
        }
    }

    #[track_caller]
    fn translate(va: VirtAddr, access: Access, privilege: Privilege) -> Result<PhysAddr, FaultStatus> {
        current(|state, cpu| {
            before(state, cpu, Step::Translate { va, access, privilege });
            let req = Request { va, access, privilege };
            translate(state, &mut state.vcpu(cpu), req).map_err(|fault| fault.status)
        })
    }
}
