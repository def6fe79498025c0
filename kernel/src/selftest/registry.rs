//! What a self-test is, how it is registered, and how it says what did not hold.

use core::fmt;

use linkme::distributed_slice;
use mm::Mm;

use crate::println;

/// All self-tests of the kernel, gathered by the linker; in no particular order.
#[distributed_slice]
pub static SELFTESTS: [SelfTest];

/// One self-test.
pub struct SelfTest {
    /// `room::behaviour`, unique.
    pub name: &'static str,
    /// The behaviour.
    pub run: fn(&'static Mm) -> Verdict,
}

/// What a self-test says.
pub type Verdict = Result<(), NotPassed>;

/// Why a self-test did not pass.
#[derive(Debug)]
pub enum NotPassed {
    /// Something did not hold.
    Failed(Failure),
    /// The machine has not what it needs: this.
    Skipped(&'static str),
}

impl From<Failure> for NotPassed {
    fn from(failure: Failure) -> Self {
        NotPassed::Failed(failure)
    }
}

/// Something did not hold. What, and where, was printed when this was made.
#[derive(Debug)]
pub struct Failure(());

impl Failure {
    /// Prints what did not hold, as a line of the report. Any lock below the console's may be held.
    pub fn new(file: &'static str, line: u32, words: fmt::Arguments<'_>) -> Self {
        println!("# {file}:{line}: {words}");
        Failure(())
    }
}

/// Registers a self-test: `selftest!("room::behaviour", function);`
macro_rules! selftest {
    ($name:literal, $function:path) => {
        const _: () = {
            #[linkme::distributed_slice($crate::selftest::SELFTESTS)]
            static TEST: $crate::selftest::SelfTest =
                $crate::selftest::SelfTest { name: $name, run: $function };
        };
    };
}

/// Returns a [`Failure`] from the test where the condition does not hold.
macro_rules! check {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err($crate::selftest::Failure::new(file!(), line!(), format_args!($($words)+)).into());
        }
    };
}

/// Leaves the test where the machine has not what it needs.
macro_rules! require {
    ($condition:expr, $what:literal) => {
        if !$condition {
            return Err($crate::selftest::NotPassed::Skipped($what));
        }
    };
}

/// Returns a [`Failure`] with both values where they differ.
macro_rules! check_eq {
    ($seen:expr, $expected:expr, $what:literal) => {
        match (&$seen, &$expected) {
            (seen, expected) => $crate::selftest::check!(
                seen == expected,
                concat!($what, ": {:?}, expected {:?}"),
                seen,
                expected
            ),
        }
    };
}

pub(crate) use {check, check_eq, require, selftest};
