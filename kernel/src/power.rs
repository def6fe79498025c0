//! The end of the machine.
#![forbid(unsafe_code)]

use arch::aarch64::semihost;

/// Exit status after a panic, as Rust's on a host.
pub const PANICKED: u8 = 101;
/// Exit status where the machine is not one that this kernel runs on.
pub const REFUSED: u8 = 102;

/// Turns the machine off; whoever started it gets `status`.
pub fn off(status: u8) -> ! {
    semihost::exit(status)
}
