//! The machine as data: RAM, tables walked as hardware walks them, and TLBs that forget nothing by
//! themselves.
//!
//! A model machine lives as long as the closure given to [`with_machine`]; nothing of it is global. The
//! host thread that runs the closure *is* virtual CPU 0, [`run_on_cpus`] and [`Handle::run_as`] bring
//! further ones to life. All of `mm` runs here unchanged, because [`Machine`] keeps the same contract as
//! the real machine.
//!
//! **Guarantee.** A translation that a vCPU has once used is used again, however stale, until a TLBI that
//! covers it (address, ASID, level hint, depth, scope) has *completed*: the issuing vCPU's DSB of
//! sufficient domain has executed. The architecture allows a TLB to do so, and this one always does; it
//! never evicts for lack of room. Code that works here does not lean on a kind TLB.
//!
//! ```text
//!   kernel_access, translate, user_load            write_desc, cas_desc
//!              |                                          |
//!     mmu: TLB of this vCPU --miss--> walker ------> ram <-- judge (bbm_need)
//!              ^                         |                   |
//!              |  fills leaves and tables (walk cache)       |
//!     TLBI -> pending -- DSB --> entries leave          reads every TLB
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `machine` | description and state of one machine |
//! | `bind` | which vCPU the calling thread is |
//! | `step` | the one place where another vCPU may come between |
//! | `stop` | holding all other vCPUs |
//! | `ram` | physical memory; `phys` is its half of the contract |
//! | `tlb` | what a vCPU holds, and which TLBI removes it |
//! | `mmu` | translation, TLBI, barriers |
//! | `walker` | the table walk, permissions, hardware updates |
//! | `tables` | which pages are tables that can be walked |
//! | `judge` | descriptor stores against `bbm_need` |
//! | `user` | accesses with EL0's rights and the fault hook |
//! | `counters` | what was done how often |
//!
//! A descriptor store is seen by walkers at once; what a missing DSB costs is that the TLBI after it does
//! not remove translations made from that descriptor. Not modelled: contiguous groups held as one
//! entry, hierarchical table attributes, shareability domains, caches, entries that conflict but were
//! not both used.

mod bind;
mod choice;
mod contents;
mod counters;
mod cpu;
mod cpus;
mod frames;
mod group;
mod judge;
mod machine;
mod mmu;
mod owed;
mod phys;
mod ram;
mod regime;
mod reuse;
mod roots;
mod stale;
mod step;
mod stop;
mod tables;
mod tlbi;
mod unseen;
mod user;
mod walker;

#[cfg(test)]
mod tests;

pub use bind::{Handle, Job, handle, irqs_masked, off_cpu, run_on_cpus, with_default_machine, with_machine};
pub use counters::{Counters, counters};
pub use machine::MachineDesc;
pub use mmu::{possible, try_kernel_access};
pub use stop::stop_others;
pub use user::{
    FaultHandler, set_fault_handler, user_execute, user_load, user_store, user_touch, with_fault_handler,
};

/// The backend: each trait of the contract acts on the vCPU that the calling thread is.
#[derive(Clone, Copy, Debug)]
pub struct Machine;
