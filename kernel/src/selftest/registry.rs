//! What a self-test is, how it is registered, and how it says what did not hold.

use core::fmt::{self, Write};

use arrayvec::ArrayString;
use linkme::distributed_slice;
use mm::Mm;

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

/// What did not hold, and where.
pub struct Failure {
    file: &'static str,
    line: u32,
    what: ArrayString<160>,
}

impl Failure {
    /// A failure in these words; what does not fit is cut.
    pub fn new(file: &'static str, line: u32, words: fmt::Arguments<'_>) -> Self {
        let mut failure = Failure { file, line, what: ArrayString::new() };
        // A sentence that is cut is still a sentence about the failure.
        let _cut = write!(Cut(&mut failure.what), "{words}");
        failure
    }
}

/// Writes what fits.
struct Cut<'a>(&'a mut ArrayString<160>);

impl Write for Cut<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        s.chars().try_for_each(|c| self.0.try_push(c)).map_err(|_| fmt::Error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
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
