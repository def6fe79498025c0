//! The machine and the boot choices of a test.
#![forbid(unsafe_code)]

use arch::PhysAddr;
use arch::features::Features;
use arch::model::{self, MachineDesc};

use super::host_env::HostEnv;
use super::user::with_page_faults;
use crate::Mm;
use crate::boot::{BootError, BootMem, ImageSection, PhysRange};
use crate::config::MmConfig;

/// Describes a machine to boot. What is not said is as [`MachineDesc::DEFAULT`] and [`MmConfig::default`] have it.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    desc: MachineDesc,
    config: MmConfig,
    banks: Vec<PhysRange>,
    reserved: Vec<PhysRange>,
    image: Vec<ImageSection>,
    mapped: Option<PhysRange>,
}

impl Builder {
    /// Two vCPUs, 256 MiB of RAM from 1 GiB, all of it free.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// RAM in MiB.
    #[must_use]
    pub fn ram_mib(mut self, mib: u64) -> Self {
        self.desc.ram_bytes = mib << 20;
        self
    }
    /// vCPUs, 1..=16.
    #[must_use]
    pub fn cpus(mut self, cpus: usize) -> Self {
        self.desc.cpus = cpus;
        self
    }
    /// What the CPUs offer.
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.desc.features = features;
        self
    }
    /// Changes the machine in any other way.
    #[must_use]
    pub fn machine(mut self, change: impl FnOnce(&mut MachineDesc)) -> Self {
        change(&mut self.desc);
        self
    }
    /// Changes the boot choices.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut MmConfig)) -> Self {
        change(&mut self.config);
        self
    }
    /// Only this range of the machine's RAM is handed over; may be called for several.
    #[must_use]
    pub fn bank(mut self, start: u64, end: u64) -> Self {
        self.banks.push(range(start, end));
        self
    }
    /// A range that is in use.
    #[must_use]
    pub fn reserve(mut self, start: u64, end: u64) -> Self {
        self.reserved.push(range(start, end));
        self
    }
    /// RAM that is mapped before boot, in place of all of it.
    #[must_use]
    pub fn mapped(mut self, start: u64, end: u64) -> Self {
        self.mapped = Some(range(start, end));
        self
    }
    /// A section of the kernel image.
    #[must_use]
    pub fn section(mut self, section: ImageSection) -> Self {
        self.image.push(section);
        self
    }

    /// Boots, runs `f` on vCPU 0, and checks everything.
    ///
    /// # Panics
    /// Memory management does not boot, or is inconsistent at the end.
    pub fn boot<R>(self, f: impl FnOnce(&Mm, &'static HostEnv) -> R) -> R {
        let outcome = self.try_boot(|mm, env| {
            let result = f(mm, env);
            check(mm);
            result
        });
        outcome.unwrap_or_else(|error| panic!("mm does not boot: {error}"))
    }

    /// Boots and runs `f`, without a check at the end.
    ///
    /// # Errors
    /// What [`Mm::boot`] says.
    pub fn try_boot<R>(self, f: impl FnOnce(&Mm, &'static HostEnv) -> R) -> Result<R, BootError> {
        let whole = PhysRange { start: self.desc.ram_base, end: self.desc.ram_base.add(self.desc.ram_bytes) };
        let banks = if self.banks.is_empty() { vec![whole] } else { self.banks };
        let (reserved, image, config) = (self.reserved, self.image, self.config);
        let mapped = self.mapped.unwrap_or(whole);
        let env: &'static HostEnv = Box::leak(Box::new(HostEnv::new(self.desc.cpus)));
        model::with_machine(self.desc, || {
            let boot = BootMem { ram: &banks, reserved: &reserved, image: &image, mapped };
            let mm = Mm::boot(&boot, config, env)?;
            Ok(with_page_faults(&mm, env, || f(&mm, env)))
        })
    }
}

/// Holds everything against a full scan; see [`Mm::check_all`].
///
/// # Panics
/// With the first thing that is wrong.
pub fn check(mm: &Mm) {
    if let Err(wrong) = mm.check_all() {
        panic!("the full check: {wrong}");
    }
}

fn range(start: u64, end: u64) -> PhysRange {
    PhysRange { start: PhysAddr::new(start), end: PhysAddr::new(end) }
}
