//! Room 6: address spaces.
//!
//! An [`AddressSpace`] is a set of VMAs, which say what a user address *may* be, and a tree of tables, which
//! says what it *is*. The calls of this room change the VMAs and take away or tighten what the tables say;
//! only a page fault (room 7) and the huge page rooms put something in.
//!
//! ```text
//!   mmap  munmap  mprotect  madvise  brk        page fault      promotion
//!      \     |       |       |      /               |               |
//!       mmap lock, for writing                 for reading          |
//!            |                                      |               |
//!        VmaSet: may be                    is:  tables, under the page-table lock
//! ```
//! **Guarantee.** A call that fails has changed nothing, but where its documentation says otherwise. All that
//! a call needs is allocated before its first change. A frame or table that leaves the tree reaches the
//! allocator only after every TLB has lost it ([`crate::pgtable::Gather`]).
//!
//! **Order.** mmap lock (M), VMA set, reservations (R, Q), page-table lock (T). A walk over a range holds T for
//! a bounded number of entries at a time and skips what no table covers: its time follows what is mapped.
//!
//! | file | what |
//! |---|---|
//! | `boundary` | changes of the set, where counts of mappings depend on them |
//! | [`vma`] [`vma_set`] `each_vma` | a VMA; the sorted set of them; a look at each |
//! | `vma_tree` `vma_arena` | the set's balanced tree, and where its nodes stand |
//! | [`request`] | the numbers of the Linux interface as types |
//! | [`gap`] | where a mapping goes that has no fixed address |
//! | [`asid`] | ASIDs and their generations; switching to a space |
//! | [`mmap`] [`munmap`] [`mremap`] [`mprotect`] [`madvise`] [`mincore`] [`brk`] | the calls |
//! | `discard_huge` `collapse` | MADV_DONTNEED of hugetlb pages, which keep their promises; MADV_COLLAPSE and MADV_SPLIT |
//! | `relocate` | what mremap does to the tables |
//! | [`fork`] | a child that begins as a copy |
//! | `exclusive` [`growth`] [`populate`] | whether a page is one space's alone; a stack grows; pages faulted in ahead |
//! | [`range`] [`unmap`] | walks over a range of a live tree; what it maps is given up |
//! | `rights` | what leaves become when the rights of their VMA change |
//! | [`usage`] [`access`] | how much memory a space has; reading and writing a space that need not be active |
//! | [`life`] | birth and teardown |
//! | [`lineage`] [`registry`] | who descends from whom by fork; the live spaces |
//! | [`check`] | every count against a full scan of the tables |
//! | [`error`] | errors and their error numbers |
#![forbid(unsafe_code)]

pub mod access;
pub mod asid;
mod boundary;
pub mod brk;
pub mod check;
mod collapse;
mod discard_huge;
mod each_vma;
pub mod error;
pub(crate) mod exclusive;
pub mod fork;
pub mod gap;
pub mod growth;
pub mod life;
pub mod lineage;
pub mod madvise;
pub mod mincore;
pub mod mmap;
pub mod mprotect;
pub mod mremap;
pub mod munmap;
pub mod populate;
pub mod range;
pub mod registry;
mod relocate;
pub mod request;
mod rights;
#[cfg(test)]
mod tests;
pub mod unmap;
pub mod usage;
pub mod vma;
mod vma_arena;
pub mod vma_set;
mod vma_tree;

use core::sync::atomic::{AtomicBool, AtomicU64};

use arch::PhysAddr;
use arch::sync::SpinLock;

pub use asid::Asids;
pub use error::{Errno, MmapError};
pub use fork::ForkError;
pub use lineage::{HeldLineage, Lineage, Lineages};
pub use registry::Spaces;
pub use request::{Advice, MapFlags, MapProt, MmapRequest, MremapRequest, RemapFlags};
pub use usage::Usage;
pub use vma::{AccessPattern, Commit, Grain, Growth, HugeAdvice, Prot, Vma, VmaKind};
pub use vma_set::{MAX_VMAS, VmaSet};

use crate::locks::SleepLock;
use crate::mapcount::OwnerId;
use crate::pgtable::{AsidCell, PtRoot};

/// One address space.
pub struct AddressSpace {
    /// Number, never reused and never 0; stands in `mapping` of its anonymous pages.
    pub id: u64,
    /// Small number, given out again when the space has ended; stands beside counts of mappings.
    pub owner: OwnerId,
    /// Its ASID, written by [`asid`].
    pub asid: AsidCell,
    /// M: the VMAs, and every change of the tree that a fault must not meet half done.
    pub mmap_lock: SleepLock,
    /// T: the tree.
    pub ptl: SpinLock<PtRoot>,
    /// R, Q: its reservations of huge pages.
    pub reservations: crate::thp::SpaceReservations,
    /// Which of its ranges have lost pages of their block to a fork.
    pub holes: crate::thp::Holes,
    /// Whether it may have huge pages.
    pub(crate) may_thp: crate::thp::permission::PermissionCell,
    /// Who serves faults of its ranges.
    pub userfaults: crate::userfault::SpaceUserfaults,
    /// The objects that it maps.
    pub objects: crate::shmem::SpaceObjects,
    /// G: its place among those that descend from each other.
    pub lineage: Lineage,
    root: PhysAddr,
    link: registry::Link,
    vmas: SpinLock<VmaSet>,
    /// The heap `[start, end)` in bytes. Written under M.
    brk_start: AtomicU64,
    brk_end: AtomicU64,
    /// Anonymous pages that its entries map.
    anon: AtomicU64,
    /// The root is given back, or about to be. Set once, under T.
    ended: AtomicBool,
}

impl AddressSpace {
    /// The level-0 table.
    #[must_use]
    pub fn root(&self) -> PhysAddr {
        self.root
    }
}
