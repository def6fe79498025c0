//! What a machine is made of.

use std::fmt;

use super::seed::SeedError;
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
    /// Decides everything that the machine leaves open: who runs, what is seen. Every number is as good as
    /// another. `MMU_SEED` in the environment takes its place.
    pub seed: u64,
    /// Steps after which a test is taken for one that never ends; at least 1.
    pub max_steps: u64,
}

impl MachineDesc {
    /// Two vCPUs, 256 MiB of RAM from 1 GiB, the strictest BBM level, 16-bit ASIDs, PAN, E0PD,
    /// FEAT_TTL and FEAT_TLBIRANGE, no hardware updates, 50 million steps.
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
        max_steps: 50_000_000,
    };

    /// Whether a machine can be like this.
    ///
    /// # Errors
    /// The first field that is wrong, with its value.
    pub fn validate(&self) -> Result<(), DescError> {
        let Features { asid_bits, pa_bits, hw_access_flag, hw_dirty, .. } = self.features;
        let end = self.ram_base.raw().checked_add(self.ram_bytes);
        let refuse = |wrong: bool, error: DescError| if wrong { Err(error) } else { Ok(()) };
        refuse(!(1..=MAX_CPUS).contains(&self.cpus), DescError::Cpus(self.cpus))?;
        refuse(!self.ram_base.is_aligned(PAGE_SIZE), DescError::RamBase(self.ram_base))?;
        let whole_pages = self.ram_bytes != 0 && self.ram_bytes.is_multiple_of(PAGE_SIZE);
        refuse(!whole_pages, DescError::RamBytes(self.ram_bytes))?;
        refuse(!matches!(asid_bits, 8 | 16), DescError::AsidBits(asid_bits))?;
        refuse(!(32..=48).contains(&pa_bits), DescError::PaBits(pa_bits))?;
        let beyond = end.is_none_or(|end| end > 1 << pa_bits);
        refuse(beyond, DescError::RamEnd { base: self.ram_base, bytes: self.ram_bytes, pa_bits })?;
        let updates = hw_access_flag && hw_dirty;
        refuse(self.hw_dirty == HwDirty::Enabled && !updates, DescError::HwDirty)?;
        refuse(self.max_steps == 0, DescError::MaxSteps)
    }
}

impl Default for MachineDesc {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why no machine can be as described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DescError {
    /// So many vCPUs are not possible.
    Cpus(usize),
    /// RAM begins inside a page.
    RamBase(PhysAddr),
    /// RAM is empty or ends inside a page.
    RamBytes(u64),
    /// The host has no memory for so many bytes of RAM.
    RamTooLarge(u64),
    /// RAM ends above the widest physical address.
    RamEnd {
        /// Its first byte.
        base: PhysAddr,
        /// Its length.
        bytes: u64,
        /// What the vCPUs offer.
        pa_bits: u8,
    },
    /// An ASID of another width than 8 or 16 bits.
    AsidBits(u8),
    /// A physical address of a width that is not used.
    PaBits(u8),
    /// Hardware dirty state is enabled on CPUs that do not have it.
    HwDirty,
    /// No step is allowed.
    MaxSteps,
    /// `MMU_SEED` is no seed.
    Seed(SeedError),
}

impl fmt::Display for DescError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DescError::Cpus(cpus) => write!(f, "{cpus} vCPUs, 1..={MAX_CPUS} are possible"),
            DescError::RamBase(base) => write!(f, "RAM begins at {base}, not a page"),
            DescError::RamBytes(bytes) => write!(f, "{bytes} bytes of RAM are not whole pages"),
            DescError::RamTooLarge(bytes) => write!(f, "{bytes} bytes of RAM are more than this host has"),
            DescError::RamEnd { base, bytes, pa_bits } => {
                write!(f, "{bytes} bytes of RAM from {base} end above the widest address of {pa_bits} bits")
            }
            DescError::AsidBits(bits) => write!(f, "ASIDs of {bits} bits, 8 or 16 are possible"),
            DescError::PaBits(bits) => {
                write!(f, "physical addresses of {bits} bits, 32..=48 are possible")
            }
            DescError::HwDirty => write!(f, "hardware dirty state is enabled on CPUs without it"),
            DescError::MaxSteps => write!(f, "max_steps is 0, at least 1 step is needed"),
            DescError::Seed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DescError {}

impl From<SeedError> for DescError {
    fn from(error: SeedError) -> Self {
        DescError::Seed(error)
    }
}
