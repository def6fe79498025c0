//! The state of one machine.
//!
//! All vCPUs of a machine run on one host thread, one at a time, so its state needs no locks: what looks like
//! several at once is several coroutines between two steps.

use std::cell::{Cell, RefCell, RefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::choice::Choices;
use super::counters::Tally;
use super::desc::MachineDesc;
use super::ram::Ram;
use super::sched::Sched;
use super::tables::Tables;
use super::tlb::{Pending, Tlb};
use super::trace::Trace;
use super::user::FaultHandler;
use crate::addr::{Asid, PhysAddr};
use crate::contract::CpuId;

/// A descriptor store over a valid descriptor that no DSB has followed yet.
#[derive(Clone, Copy)]
pub(super) struct Store {
    pub(super) at: PhysAddr,
    /// A DSB NSH has made it visible to this vCPU's own walker.
    pub(super) seen_by_self: bool,
}

/// A virtual CPU.
#[derive(Default)]
pub(super) struct Vcpu {
    pub(super) tlb: Tlb,
    pub(super) kernel_root: Option<PhysAddr>,
    pub(super) user_root: Option<(PhysAddr, Asid)>,
    /// TLBIs issued and not completed.
    pub(super) pending: Vec<Pending>,
    /// Stores not ordered before a TLBI yet.
    pub(super) unordered: Vec<Store>,
}

impl Vcpu {
    /// The ASID in TTBR0.
    pub(super) fn asid(&self) -> Asid {
        self.user_root.map_or(Asid::NONE, |(_, asid)| asid)
    }
}

/// A machine.
pub(super) struct State {
    pub(super) desc: MachineDesc,
    pub(super) choices: Choices,
    pub(super) sched: Sched,
    pub(super) trace: Trace,
    pub(super) ram: Ram,
    pub(super) tables: Tables,
    vcpus: Box<[RefCell<Vcpu>]>,
    /// Orders TLB fills and TLBIs.
    clock: Cell<u64>,
    pub(super) tally: Tally,
    pub(super) fault_handler: Mutex<Option<Arc<FaultHandler>>>,
}

impl State {
    /// A machine that is as `desc` says, which is valid.
    pub(super) fn new(desc: MachineDesc, choices: Choices) -> Self {
        State {
            desc,
            choices,
            sched: Sched::new(desc.cpus),
            trace: Trace::new(),
            ram: Ram::new(desc.ram_base, desc.ram_bytes),
            tables: Tables::new(desc.ram_base, desc.ram_bytes),
            vcpus: (0..desc.cpus).map(|_| RefCell::default()).collect(),
            clock: Cell::new(1),
            tally: Tally::default(),
            fault_handler: Mutex::new(None),
        }
    }

    /// A vCPU's state. Whoever holds one never asks for another, nor takes a step.
    pub(super) fn vcpu(&self, cpu: CpuId) -> RefMut<'_, Vcpu> {
        self.vcpus[cpu.index()].borrow_mut()
    }

    /// All vCPUs, to be borrowed one after the other.
    pub(super) fn vcpus(&self) -> impl Iterator<Item = RefMut<'_, Vcpu>> {
        self.vcpus.iter().map(RefCell::borrow_mut)
    }

    /// Gives a vCPU that has no kernel root yet that of vCPU 0.
    pub(super) fn inherit_kernel_root(&self, cpu: CpuId) {
        let boot_root = self.vcpu(CpuId::BOOT).kernel_root;
        let mut vcpu = self.vcpu(cpu);
        vcpu.kernel_root = vcpu.kernel_root.or(boot_root);
    }

    /// A moment later than all moments handed out before.
    pub(super) fn now(&self) -> u64 {
        self.clock.replace(self.clock.get() + 1)
    }
}

/// Locks a host mutex. A panic elsewhere is a test's verdict, not a reason to fail here as well.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
