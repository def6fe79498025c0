//! The virtual counter and timer of EL1 (CNTVCT_EL0, CNTV_CVAL_EL0).

use aarch64_cpu::registers::{CNTFRQ_EL0, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable};

use super::Machine;
use crate::contract::Mmu;

const NS_PER_SECOND: u128 = 1_000_000_000;

/// Counter ticks in a second; never 0.
fn frequency() -> u128 {
    u128::from(CNTFRQ_EL0.get()).max(1)
}

/// Nanoseconds that the counter has run, which is since power-on.
#[must_use]
pub fn now_ns() -> u64 {
    // The counter may be read early, before instructions that stand in front of it.
    Machine::isb();
    (u128::from(CNTVCT_EL0.get()) * NS_PER_SECOND / frequency()) as u64
}

/// Interrupts this CPU once [`now_ns`] has reached `ns`; a time that has passed interrupts at once.
pub fn set_deadline(ns: u64) {
    let ticks = (u128::from(ns) * frequency()).div_ceil(NS_PER_SECOND);
    CNTV_CVAL_EL0.set(ticks.try_into().unwrap_or(u64::MAX));
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET);
    Machine::isb();
}

/// Stops this CPU's timer and its interrupt.
pub fn stop() {
    CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
    Machine::isb();
}
