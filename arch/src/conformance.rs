//! Checks of the contract that run on machine and model alike.
//!
//! What `mm` relies on is written in [`crate::contract`]; here it is asked of whichever backend runs. The
//! kernel's self-tests run [`CHECKS`] on the machine, a host test on models of every kind. Nothing
//! allocates, and a failure is a value.
//!
//! A check works in an [`Arena`]: free pages, an unused window of kernel addresses and two unused ASIDs
//! that the caller lends. Whatever a check does, [`Arena::run`] takes its entries out again, flushes, and
//! puts the user root and the interrupt mask back.
//!
//! Only effects that the architecture guarantees are asked for. That a stale entry *is* used cannot be asked
//! of hardware; the model's own tests do.

use core::fmt;

use crate::addr::PhysAddr;
use crate::contract::FaultStatus;

mod arena;
mod checks;

pub use arena::Arena;
pub use checks::CHECKS;

#[cfg(test)]
mod tests;

/// A check's name and what it does.
pub type Check = (&'static str, fn(&mut Arena<'_>) -> Result<(), Failure>);

/// What a translation gave.
pub type Translation = Result<PhysAddr, FaultStatus>;

/// What did not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// A translation gave something else.
    Translation {
        /// What was tried.
        step: &'static str,
        /// What the contract says.
        expected: Translation,
        /// What came.
        got: Translation,
    },
    /// A value in memory or a descriptor was another one.
    Value {
        /// What was tried.
        step: &'static str,
        /// What the contract says.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// A statement without values did not hold.
    Statement(&'static str),
    /// The arena has not what checks need.
    Arena(&'static str),
}

/// A [`Translation`] in words.
struct Outcome(Translation);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(pa) => pa.fmt(f),
            Err(status) => status.fmt(f),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Failure::Translation { step, expected, got } => {
                write!(f, "{step}: {} instead of {}", Outcome(got), Outcome(expected))
            }
            Failure::Value { step, expected, got } => write!(f, "{step}: {got:#x} instead of {expected:#x}"),
            Failure::Statement(what) => write!(f, "it does not hold that {what}"),
            Failure::Arena(what) => write!(f, "the arena of the checks: {what}"),
        }
    }
}
