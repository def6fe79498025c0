//! One machine: what it is made of, and its state.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::counters::Tally;
use super::ram::Ram;
use super::stop::Stop;
use super::tables::Tables;
use super::tlb::{Pending, Tlb};
use super::user::FaultHandler;
use crate::addr::{Asid, PAGE_SIZE, PhysAddr};
use crate::contract::{CpuId, MAX_CPUS};
use crate::features::Features;
use crate::pte::HwDirty;

/// What a machine is made of. Take [`MachineDesc::DEFAULT`] and change what matters to the test:
/// `MachineDesc { cpus: 4, ..MachineDesc::DEFAULT }`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MachineDesc {
    /// Virtual CPUs, 1..=[`MAX_CPUS`].
    pub cpus: usize,
    /// Physical address of the first byte of RAM; page aligned.
    pub ram_base: PhysAddr,
    /// Bytes of RAM; a multiple of 4096. It reads as zeros, and costs host memory only where it is written.
    pub ram_bytes: u64,
    /// What every vCPU offers.
    pub features: Features,
    /// TCR_EL1.{HA,HD}: whether hardware sets the access flag and manages dirty state. Needs both features.
    pub hw_dirty: HwDirty,
    /// Perturbs where vCPUs give way to each other; 0 perturbs nothing.
    pub seed: u64,
}

impl MachineDesc {
    /// Two vCPUs, 256 MiB of RAM from 1 GiB, the strictest BBM level, 16-bit ASIDs, PAN, E0PD,
    /// FEAT_TTL and FEAT_TLBIRANGE, no hardware updates.
    pub const DEFAULT: MachineDesc = MachineDesc {
        cpus: 2,
        ram_base: PhysAddr::new(0x4000_0000),
        ram_bytes: 256 << 20,
        features: Features {
            tlbi_range: true,
            ttl: true,
            asid_bits: 16,
            pan: true,
            e0pd: true,
            pa_bits: 48,
            ..Features::BASE
        },
        hw_dirty: HwDirty::Disabled,
        seed: 0,
    };

    /// Panics in words where no machine could be like this.
    fn validate(&self) {
        assert!(
            (1..=MAX_CPUS).contains(&self.cpus),
            "model: {} vCPUs, 1..={MAX_CPUS} are possible",
            self.cpus
        );
        assert!(self.ram_base.is_aligned(PAGE_SIZE), "model: RAM begins at {}, not a page", self.ram_base);
        assert!(
            self.ram_bytes != 0 && self.ram_bytes.is_multiple_of(PAGE_SIZE),
            "model: {} bytes of RAM are not whole pages",
            self.ram_bytes
        );
        let updates = self.features.hw_access_flag && self.features.hw_dirty;
        assert!(
            self.hw_dirty == HwDirty::Disabled || updates,
            "model: hardware dirty state is enabled on CPUs without it"
        );
    }
}

impl Default for MachineDesc {
    fn default() -> Self {
        Self::DEFAULT
    }
}

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
    pub(super) ram: Ram,
    pub(super) tables: Tables,
    vcpus: Box<[Mutex<Vcpu>]>,
    /// Bit n: a host thread is vCPU n.
    pub(super) occupied: Mutex<u32>,
    pub(super) vacated: Condvar,
    pub(super) stop: Stop,
    /// A vCPU has panicked: the others stop at their next step.
    pub(super) failed: AtomicBool,
    /// Orders TLB fills and TLBIs.
    clock: AtomicU64,
    pub(super) tally: Tally,
    pub(super) fault_handler: Mutex<Option<Arc<FaultHandler>>>,
}

impl State {
    pub(super) fn new(desc: MachineDesc) -> Self {
        desc.validate();
        State {
            desc,
            ram: Ram::new(desc.ram_base, desc.ram_bytes),
            tables: Tables::new(desc.ram_base, desc.ram_bytes),
            vcpus: (0..desc.cpus).map(|_| Mutex::default()).collect(),
            occupied: Mutex::new(0),
            vacated: Condvar::new(),
            stop: Stop::default(),
            failed: AtomicBool::new(false),
            clock: AtomicU64::new(1),
            tally: Tally::default(),
            fault_handler: Mutex::new(None),
        }
    }

    /// A vCPU's state. Whoever holds one never asks for another.
    pub(super) fn vcpu(&self, cpu: CpuId) -> MutexGuard<'_, Vcpu> {
        lock(&self.vcpus[cpu.index()])
    }

    /// All vCPUs, to be locked one after the other.
    pub(super) fn vcpus(&self) -> impl Iterator<Item = MutexGuard<'_, Vcpu>> {
        self.vcpus.iter().map(lock)
    }

    /// A moment later than all moments handed out before.
    pub(super) fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::AcqRel)
    }
}

/// Locks a host mutex. A panic elsewhere is a test's verdict, not a reason to fail here as well.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
