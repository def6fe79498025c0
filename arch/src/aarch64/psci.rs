//! PSCI: starting CPUs, through the conduit that the device tree names.

use smccc::psci::{self, error::Error};
use smccc::{Hvc, Smc};

use super::gic::Affinity;
use crate::addr::PhysAddr;

/// How the firmware is called (`method` in the device tree's `psci` node).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// HVC: the firmware is at EL2.
    Hvc,
    /// SMC: the firmware is at EL3.
    Smc,
}

impl Conduit {
    /// Starts the CPU `target` at `entry`, MMU off, with `argument` in x0.
    ///
    /// # Errors
    /// What the firmware says.
    pub fn start_cpu(self, target: Affinity, entry: PhysAddr, argument: PhysAddr) -> Result<(), Error> {
        match self {
            Conduit::Hvc => psci::cpu_on::<Hvc>(target.raw(), entry.raw(), argument.raw()),
            Conduit::Smc => psci::cpu_on::<Smc>(target.raw(), entry.raw(), argument.raw()),
        }
    }
}
