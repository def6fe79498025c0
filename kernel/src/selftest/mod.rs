//! Tests that run in the kernel, on the machine, and report in KTAP.
//!
//! A test is a function that is registered with [`selftest!`] wherever it belongs; the linker gathers them. It
//! gets the memory manager and says what did not hold, or what the machine lacks. After each test the free pages
//! are counted: a test that leaks fails.
//!
//! ```text
//! KTAP version 1
//! 1..3
//! ok 1 buddy::split_page_frees_singly
//! # kernel/src/selftest/ktap.rs:99: 120318 pages were free before the test, 120311 after it
//! not ok 2 hvo::restore
//! ok 3 stop::holds_the_others # SKIP needs two CPUs
//! ```
// What a test says is kept by value: it may be a test of what happens without memory.
#![allow(clippy::result_large_err)]

mod ktap;
mod registry;
mod tests;

pub use ktap::{Outcome, Summary, list, run};
pub use registry::{Failure, NotPassed, SELFTESTS, SelfTest, Verdict};
pub(crate) use registry::{check, check_eq, require, selftest};
