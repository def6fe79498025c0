//! User accesses: each vCPU may run one address space, and its faults go to [`Mm::handle_mm_fault`].
//!
//! The accesses themselves are the model's: [`model::user_load`], [`model::user_store`], and
//! [`arch::UserMem`].
#![forbid(unsafe_code)]

use std::sync::Mutex;

use arch::contract::{Cpu, FaultStatus, MAX_CPUS, Privilege};
use arch::{Access, Machine, VirtAddr, model};

use super::builder::{Builder, check};
use super::host_env::{HostEnv, lock};
use crate::Mm;
use crate::fault::{FaultError, FaultInfo};
use crate::hvo::fault::{self, Verdict};
use crate::kalloc::KArc;
use crate::space::AddressSpace;

/// The space that each vCPU runs, and the last fault that was not resolved.
#[derive(Default)]
pub(super) struct Users {
    spaces: Mutex<[Option<KArc<AddressSpace>>; MAX_CPUS]>,
    last_fault: Mutex<Option<FaultError>>,
}

impl Users {
    pub(super) fn last_fault(&self) -> Option<FaultError> {
        *lock(&self.last_fault)
    }

    /// Notes the space that this vCPU runs from now on.
    pub(super) fn set(&self, space: Option<KArc<AddressSpace>>) {
        let earlier = std::mem::replace(&mut lock(&self.spaces)[Machine::id().index()], space);
        drop(earlier);
    }

    /// Whether the access is worth another try.
    fn resolve(&self, mm: &Mm, va: VirtAddr, access: Access, status: FaultStatus) -> bool {
        if va.is_kernel() {
            return fault::resolve(mm, va, access, status) == Verdict::Retry;
        }
        let Some(space) = lock(&self.spaces)[Machine::id().index()].clone() else { return false };
        let info = FaultInfo { va, access, privilege: Privilege::User, status };
        let outcome = mm.handle_mm_fault(&space, &info);
        if let Err(error) = outcome {
            *lock(&self.last_fault) = Some(error);
        }
        outcome.is_ok()
    }
}

/// Runs `f` while faults of user accesses go to `mm`.
pub(super) fn with_page_faults<R>(mm: &Mm, env: &HostEnv, f: impl FnOnce() -> R) -> R {
    let handler = |va, access, status| env.users.resolve(mm, va, access, status);
    model::with_fault_handler(&handler, f)
}

/// Makes `space` the one that this vCPU runs, for as long as `f` runs.
pub fn run_as_user<R>(mm: &Mm, env: &HostEnv, space: &KArc<AddressSpace>, f: impl FnOnce() -> R) -> R {
    mm.activate_space(Some(space));
    env.users.set(Some(space.clone()));
    let result = f();
    env.users.set(None);
    mm.activate_space(None);
    result
}

/// Boots, runs `f` with a new address space on vCPU 0, and ends the space.
///
/// # Panics
/// Anything is inconsistent at the end of `f`, or a page is missing after the end of the space.
pub fn with_space(machine: &Builder, f: impl FnOnce(&Mm, &'static HostEnv, &KArc<AddressSpace>)) {
    machine.clone().boot(|mm, env| {
        let before = mm.free_page_count();
        let space = match mm.new_space() {
            Ok(space) => space,
            Err(error) => panic!("no address space: {error}"),
        };
        run_as_user(mm, env, &space, || f(mm, env, &space));
        check(mm);
        mm.destroy_space(&space);
        check(mm);
        let free = mm.free_page_count() + mm.huge_zero.kept_pages();
        assert_eq!(free, before, "pages are missing after the end of the space");
    });
}
