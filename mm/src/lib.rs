//! All memory management of Quire: it runs on the machine and, unchanged, on the model.
//!
//! All state hangs off one [`Mm`] value: one for ever on the machine, one per test on the host. The rooms, in
//! reading order, are listed in `mm/README.md` with the two walks through them and the order of locks.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unstable_features)]

extern crate alloc;

pub mod boot;
pub mod buddy;
pub mod check;
pub mod config;
pub mod device;
pub mod env;
pub mod error;
pub mod fault;
pub mod hugetlb;
pub mod hvo;
pub mod kalloc;
pub mod locks;
pub mod mapcount;
pub mod page;
pub mod pgtable;
pub mod pin;
pub mod report;
pub mod rmap;
pub mod shmem;
pub mod space;
pub mod stats;
pub mod steps;
#[cfg(not(target_os = "none"))]
pub mod testkit;
pub mod thp;
pub mod trace;
mod turnstile;
pub mod userfault;

pub use boot::Mm;
