//! One machine: what it is made of, and its state.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::choice::Choices;
use super::counters::Tally;
use super::ram::Ram;
use super::regime::Regime;
use super::stop::Stop;
use super::user::FaultHandler;
use crate::addr::{PAGE_SIZE, PhysAddr};
use crate::contract::MAX_CPUS;
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

/// A machine.
pub(super) struct State {
    pub(super) desc: MachineDesc,
    pub(super) ram: Ram,
    pub(super) regime: Mutex<Regime>,
    pub(super) choices: Choices,
    /// Bit n: a host thread is vCPU n.
    pub(super) occupied: Mutex<u32>,
    pub(super) vacated: Condvar,
    pub(super) stop: Stop,
    /// A vCPU has panicked: the others stop at their next step.
    pub(super) failed: AtomicBool,
    pub(super) tally: Tally,
    pub(super) fault_handler: Mutex<Option<Arc<FaultHandler>>>,
}

impl State {
    pub(super) fn new(desc: MachineDesc) -> Self {
        desc.validate();
        State {
            desc,
            ram: Ram::new(desc.ram_base, desc.ram_bytes),
            regime: Mutex::new(Regime::new(&desc)),
            choices: Choices::new(desc.seed),
            occupied: Mutex::new(0),
            vacated: Condvar::new(),
            stop: Stop::default(),
            failed: AtomicBool::new(false),
            tally: Tally::default(),
            fault_handler: Mutex::new(None),
        }
    }
}

/// Locks a host mutex. A panic elsewhere is a test's verdict, not a reason to fail here as well.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
