//! The machine as data: RAM, tables walked as hardware walks them, and TLBs that forget nothing by
//! themselves.
//!
//! A model machine lives as long as the closure given to [`with_machine`]; nothing of it is global. The
//! host thread that runs the closure *is* virtual CPU 0; [`run_on_cpus`] runs further ones beside it, in turns, and
//! [`run_as`] acts as one of them. All of `mm` runs here unchanged, because [`Machine`] keeps the same contract as
//! the real machine.
//!
//! **Guarantee.** What a TLB *may* hold, some access may use: every descriptor that a walk can get to now, and every
//! one that it could get to once, until a TLBI that covers it (address, ASID, level hint, depth, scope) has
//! *completed*, that is the issuing vCPU's DSB of sufficient domain has executed, and the store that took the
//! descriptor away was made visible by a DSB before that TLBI. Whether the address was ever used does not matter:
//! walks may be speculative. Which of all this an access gets is the seed's choice, and a store is judged against all
//! of it. Code that works here does not lean on a kind TLB.
//!
//! ```text
//!   kernel_access, translate, user_load             write_desc, cas_desc
//!              |                                           |
//!           walker <------ tables in ram <-------------- judge (bbm_need, groups, reuse)
//!              ^                                           |
//!              |  all outcomes; one is chosen              |  what is overwritten, for whom
//!              +------ stale, unseen, roots <--------------+
//!                         |
//!     TLBI -> pending -- DSB --> what it covers leaves
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `desc` | what a machine is made of |
//! | `machine` | the state of one machine |
//! | `bind` | which machine the calling thread runs |
//! | `step` | the one place where another vCPU may come between |
//! | `run` | vCPUs as coroutines; why |
//! | `sched` | who runs; `mood` says when another does, `stuck` why nobody can |
//! | `stop`, `act`, `park` | holding the others, acting as another, sleeping |
//! | `choice`, `seed` | the one stream of choices, and its name |
//! | `explore` | every schedule of a small case |
//! | `trace` | the last steps |
//! | `ram` | physical memory; `phys` is its half of the contract |
//! | `mmu` | translation, TLBI, barriers, roots |
//! | `regime` | what comes beside the tables: the state that the following files are about |
//! | `tables`, `frames` | which pages are tables that can be walked, and which leaves map a frame |
//! | `roots`, `cpus` | who has or had which root under which ASID |
//! | `stale`, `tlbi` | what was overwritten and may be held, and which TLBI removes it |
//! | `unseen` | what was made and may not be seen yet |
//! | `walker` | all that a translation may come to, permissions, hardware updates |
//! | `judge`, `contents`, `group` | descriptor stores against `bbm_need`, and contiguous groups |
//! | `reuse` | frames that are freed, filled or made tables while they can be reached |
//! | `owed` | flushes that were never made |
//! | `user` | accesses with EL0's rights and the fault hook |
//! | `counters` | what was done how often |
//!
//! What is not modelled stands in the README of `arch`.

mod act;
mod bind;
mod choice;
mod contents;
mod counters;
mod cpu;
mod cpus;
mod desc;
mod explore;
mod frames;
mod group;
mod judge;
mod machine;
mod mmu;
mod mood;
mod owed;
mod park;
mod phys;
mod ram;
mod random;
mod regime;
mod reuse;
mod roots;
mod run;
mod sched;
mod seed;
mod stale;
mod step;
mod stop;
mod stuck;
mod tables;
mod tlbi;
mod trace;
mod unseen;
mod user;
mod walker;

#[cfg(test)]
mod tests;

pub use act::run_as;
pub use bind::{try_with_machine, with_default_machine, with_machine};
pub use counters::{Counters, counters};
pub use desc::{DescError, MachineDesc};
pub use explore::{Bounds, Explored, explore, explore_runs};
pub use mmu::{possible, try_kernel_access};
pub use park::{park_while, unpark_all};
pub use random::Random;
pub use run::{Job, run_on_cpus};
pub use sched::irqs_masked;
pub(crate) use sched::with_held;
pub use seed::{SeedError, seeds};
pub use step::{Steps, steps};
pub use stop::stop_others;
pub use user::{
    FaultHandler, set_fault_handler, user_execute, user_load, user_store, user_touch, with_fault_handler,
};

/// The backend: each trait of the contract acts on the vCPU that the calling thread is.
#[derive(Clone, Copy, Debug)]
pub struct Machine;
