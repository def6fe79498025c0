//! Time since boot.
#![forbid(unsafe_code)]

/// Nanoseconds since boot, from the virtual counter.
pub fn now_ns() -> u64 {
    arch::aarch64::timer::now_ns()
}
