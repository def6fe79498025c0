//! Accesses with EL0's rights, and the hook that stands for the page fault handler.
//!
//! An access is one step, so a DSB on another vCPU that completes a TLBI comes before it or after it, as D8.14.3
//! demands of accesses that use an old translation.

use std::sync::Arc;

use super::Machine;
use super::bind::current;
use super::machine::lock;
use super::mmu::verb;
use super::reuse;
use super::step::{Step, before};
use super::walker::{Purpose, Request, translate};
use crate::addr::VirtAddr;
use crate::contract::{Access, FaultStatus, Privilege, UserFault, UserMem};

/// The page fault handler, of EL0's accesses and of the kernel's own: `true` where the access is worth another try.
pub type FaultHandler = dyn Fn(VirtAddr, Access, FaultStatus) -> bool + Send + Sync;

/// How often the handler may say that an access is worth another try.
const MAX_TRIES: usize = 64;

/// Installs the page fault handler of the current machine.
pub fn set_fault_handler(handler: Box<FaultHandler>) {
    current(|state, _| *lock(&state.fault_handler) = Some(Arc::from(handler)));
}

/// Installs `handler` while `f` runs, so that it may borrow what the caller owns.
///
/// # Panics
/// The caller is a job of `run_on_cpus`.
pub fn with_fault_handler<R>(
    handler: &(dyn Fn(VirtAddr, Access, FaultStatus) -> bool + Sync),
    f: impl FnOnce() -> R,
) -> R {
    /// The borrowed handler, its lifetime erased.
    struct Borrowed(*const (dyn Fn(VirtAddr, Access, FaultStatus) -> bool + Sync));
    // SAFETY: only the `Sync` closure behind it is used, and only by shared reference.
    unsafe impl Send for Borrowed {}
    // SAFETY: as above.
    unsafe impl Sync for Borrowed {}
    impl Borrowed {
        fn call(&self, va: VirtAddr, access: Access, status: FaultStatus) -> bool {
            // SAFETY: `Scope::drop` below removes the handler before the borrow ends, and nobody is inside of it
            // then: jobs have ended, as none of them called this.
            unsafe { (*self.0)(va, access, status) }
        }
    }
    /// Takes the handler out again, also when `f` panics.
    struct Scope {
        outer: Option<Arc<FaultHandler>>,
    }
    impl Drop for Scope {
        fn drop(&mut self) {
            current(|state, _| *lock(&state.fault_handler) = self.outer.take());
        }
    }
    // SAFETY: only the lifetime changes; `Scope` keeps every use inside it.
    let erased = unsafe {
        std::mem::transmute::<
            *const (dyn Fn(VirtAddr, Access, FaultStatus) -> bool + Sync + '_),
            *const (dyn Fn(VirtAddr, Access, FaultStatus) -> bool + Sync + 'static),
        >(handler)
    };
    let borrowed = Borrowed(erased);
    let own: Arc<FaultHandler> = Arc::new(move |va, access, status| borrowed.call(va, access, status));
    let outer = current(|state, _| {
        assert!(state.sched.running().is_none(), "model: with_fault_handler is not for jobs");
        lock(&state.fault_handler).replace(own)
    });
    let _scope = Scope { outer };
    f()
}

/// How one try of an access ended.
enum Try {
    Done,
    Faulted(FaultStatus),
}

/// Tries one access: `then` runs while the translation cannot be taken away. Entering EL0 synchronises the
/// context.
#[track_caller]
fn attempt(req: Request, bytes: u64, then: &mut dyn FnMut(*mut u8)) -> Try {
    current(|state, cpu| {
        let Request { va, access, privilege, .. } = req;
        before(state, cpu, Step::Access { va, access, privilege });
        let mut regime = state.regime();
        regime.synchronise(cpu);
        let pa = match translate(state, &regime, cpu, req) {
            Ok(pa) => pa,
            Err(fault) => return Try::Faulted(fault.status),
        };
        if req.access == Access::Write {
            reuse::written(state, &mut regime, cpu, pa, bytes);
        }
        then(state.ram.host(pa, bytes));
        Try::Done
    })
}

/// Performs one access of `bytes` bytes that do not cross a page, with EL0's rights; offers faults to the
/// handler.
#[track_caller]
fn perform(va: VirtAddr, access: Access, bytes: u64, mut then: impl FnMut(*mut u8)) -> Result<(), UserFault> {
    let req = Request { va, access, privilege: Privilege::User, purpose: Purpose::Access };
    for _ in 0..MAX_TRIES {
        let status = match attempt(req, bytes, &mut then) {
            Try::Done => return Ok(()),
            Try::Faulted(status) => status,
        };
        let handler = current(|state, _| lock(&state.fault_handler).clone());
        if !handler.is_some_and(|handle| handle(va, access, status)) {
            return Err(UserFault(va));
        }
    }
    panic!("model: the fault handler resolved a user {} {va} {MAX_TRIES} times in vain", verb(access));
}

/// Loads the 64-bit word at `va` (8-byte aligned) as EL0 does.
///
/// # Errors
/// The fault handler gave up.
#[track_caller]
pub fn user_load(va: VirtAddr) -> Result<u64, UserFault> {
    assert!(va.is_aligned(8), "model: user load from {va} is not aligned");
    let mut word = 0;
    // SAFETY: `perform` gives an address in RAM, page aligned like `va`, so aligned to 8.
    perform(va, Access::Read, 8, |host| word = unsafe { host.cast::<u64>().read_volatile() })?;
    Ok(word)
}

/// Stores a 64-bit word to `va` (8-byte aligned) as EL0 does.
///
/// # Errors
/// The fault handler gave up.
#[track_caller]
pub fn user_store(va: VirtAddr, word: u64) -> Result<(), UserFault> {
    assert!(va.is_aligned(8), "model: user store to {va} is not aligned");
    // SAFETY: as in `user_load`.
    perform(va, Access::Write, 8, |host| unsafe { host.cast::<u64>().write_volatile(word) })
}

/// Fetches an instruction at `va` as EL0 does.
///
/// # Errors
/// The fault handler gave up.
#[track_caller]
pub fn user_execute(va: VirtAddr) -> Result<(), UserFault> {
    user_touch(va, Access::Execute)
}

/// Makes an access at `va` as EL0 does, and leaves memory as it is.
///
/// # Errors
/// The fault handler gave up.
#[track_caller]
pub fn user_touch(va: VirtAddr, access: Access) -> Result<(), UserFault> {
    perform(va, access, 1, |_| ())
}

/// Calls `f` for each piece of `bytes` bytes from `va` that one access can move: offset and length.
fn pieces(
    va: VirtAddr,
    bytes: usize,
    mut f: impl FnMut(VirtAddr, usize, usize) -> Result<(), UserFault>,
) -> Result<(), UserFault> {
    let mut done = 0;
    while done < bytes {
        let at = va.checked_add(done as u64).ok_or(UserFault(va))?;
        let len = (8 - (at.raw() % 8) as usize).min(bytes - done);
        f(at, done, len)?;
        done += len;
    }
    Ok(())
}

impl UserMem for Machine {
    fn copy_from_user(into: &mut [u8], from: VirtAddr) -> Result<(), UserFault> {
        pieces(from, into.len(), |at, done, len| {
            let piece = into[done..done + len].as_mut_ptr();
            // SAFETY: `len` bytes on both sides: `piece` by the slice, `host` by `perform`; RAM is apart.
            perform(at, Access::Read, len as u64, |host| unsafe { host.copy_to_nonoverlapping(piece, len) })
        })
    }

    fn copy_to_user(to: VirtAddr, from: &[u8]) -> Result<(), UserFault> {
        pieces(to, from.len(), |at, done, len| {
            let piece = from[done..done + len].as_ptr();
            // SAFETY: as above.
            perform(at, Access::Write, len as u64, |host| unsafe {
                host.copy_from_nonoverlapping(piece, len)
            })
        })
    }
}
