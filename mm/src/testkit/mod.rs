//! The host's test kit: a whole [`Mm`] on a model machine, for the length of a closure.
//!
//! ```
//! use arch::Order;
//! use mm::page::PageKind;
//! use mm::testkit::{self, Builder};
//!
//! testkit::boot(|mm| {
//!     let page = mm.alloc_pages(Order::PMD, PageKind::Kernel).unwrap();
//!     mm.free_pages(page, Order::PMD);
//! });
//! Builder::new().ram_mib(64).cpus(4).boot(|mm, env| {
//!     assert!(mm.check_all().is_ok());
//!     assert_eq!(env.steps(), []);
//! });
//! ```
//! At the end of the closure the full check runs once more, so a test that leaves damage behind fails.
//!
//! | file | what |
//! |---|---|
//! | [`builder`] | the machine and the boot choices |
//! | [`host_env`] | the kernel above, as far as a test needs one |
//! | [`user`] | user accesses in an address space |
//! | [`mod@exhaust`] | fails every allocation of an operation, one after the other |
//! | [`touched`] | struct pages that an operation writes |
//! | [`scenario`] | concurrent workloads, each a function of its seed |
#![forbid(unsafe_code)]

pub mod builder;
pub mod exhaust;
pub mod host_env;
pub mod scenario;
#[cfg(test)]
mod tests;
pub mod touched;
pub mod user;

pub use arch::model::Random;
pub use builder::{Builder, check};
pub use exhaust::{exhaust, fail_every_allocation};
pub use host_env::HostEnv;
pub use user::{run_as_user, with_space};

use arch::model::{self, Job};

use crate::Mm;
use crate::env::KernelEnv;

/// Boots a machine with default choices, two vCPUs and 256 MiB of RAM, and runs `f` on vCPU 0.
pub fn boot<R>(f: impl FnOnce(&Mm) -> R) -> R {
    Builder::new().boot(|mm, _| f(mm))
}

/// Runs `jobs[n]` as vCPU n, all at once; the caller is vCPU 0. A panic in a job goes on in the caller.
///
/// # Panics
/// There are more jobs than CPUs.
pub fn run_on_cpus(env: &HostEnv, jobs: Vec<Job<'_>>) {
    assert!(jobs.len() <= env.online_cpus(), "{} jobs for {} CPUs", jobs.len(), env.online_cpus());
    model::run_on_cpus(jobs);
}
