//! Room 7: page faults.
//!
//! The kernel decodes the exception and hands a [`FaultInfo`] down; the answer is a word, or an error that
//! says in words, and with the VMA, why the access cannot be made good.
//!
//! ```text
//!   handle_mm_fault --- no VMA, no right ----------------------> FaultError
//!        |  mmap lock, for reading
//!        +-- VmaKind::Anon -----> anon::fault ---> policy: Small | Reserve | Huge
//!        |                           |--> entry already good: spurious
//!        |                           `--> entry grants too little: cow::fault ---> reuse | copy
//!        |-- VmaKind::Hugetlb --> hugetlb::fault
//!        |-- Shared, Private ---> shmem::fault
//!        `-- VmaKind::Device ---> device::map::fault
//! ```
//! **Protocol of an arm.** Look under the page-table lock, let go, allocate and fill all that is needed, take
//! the lock again and look whether all is as it was; if not, give everything back. Nothing is allocated or
//! zeroed under the lock, and a fault that lost a race has left no trace.
//!
//! **TLB conflict aborts** are no fault of the access: at FEAT_BBM level 2 a table and a block that translate alike may
//! replace each other without a break, and until the flush a TLB may hold both. The access is tried again after it.
//!
//! **Out of memory.** Unused pages of reservations and unmapped parts of folios are the only memory that can be had back;
//! they are, and the fault is tried once more.
#![forbid(unsafe_code)]

pub mod anon;
pub mod cow;
mod dispatch;
mod report;
mod zero;

pub use report::{FaultError, FaultReason, Signal};
pub use zero::{HugeZero, ZeroPage};

use arch::addr::PAGE_SIZE;
use arch::contract::{FaultStatus, Privilege};
use arch::pte::PteFlags;
use arch::{Access, Level, VirtAddr};

use crate::Mm;
use crate::kalloc::KArc;
use crate::space::{AddressSpace, Vma};

/// What the exception said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultInfo {
    /// The address (FAR_EL1).
    pub va: VirtAddr,
    /// What the access wanted to do.
    pub access: Access,
    /// Who made it: the user, or the kernel on the user's behalf.
    pub privilege: Privilege,
    /// The fault status.
    pub status: FaultStatus,
}

impl FaultInfo {
    /// An access that the kernel makes on the user's behalf and that no exception has announced.
    #[must_use]
    pub const fn by_kernel(va: VirtAddr, access: Access) -> Self {
        FaultInfo { va, access, privilege: Privilege::Kernel, status: FaultStatus::Translation(Level::L3) }
    }
}

/// How a fault was resolved: the access is to be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultDone {
    /// An entry was made or got more rights.
    Made,
    /// The entry was good already: another thread was faster, or the fault was raised by a translation that
    /// is gone. Or whoever serves the range was told, and has answered ([`crate::userfault`]).
    Spurious,
}

/// A fault on a leaf that grants less than the access needs, in a VMA whose pages a write copies: for the rooms that
/// put such leaves in. M is held for reading.
///
/// # Errors
/// [`FaultReason::OutOfMemory`].
pub(crate) fn copy_on_write(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    vma: &Vma,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    cow::fault(&anon::Site { mm, space, vma, va: info.va.align_down(PAGE_SIZE), access: info.access })
}

/// Whether a leaf with these attributes lets the user do this.
#[must_use]
pub const fn grants(flags: PteFlags, access: Access) -> bool {
    let usable = flags.contains(PteFlags::USER.union(PteFlags::ACCESSED));
    usable
        && match access {
            Access::Read => true,
            Access::Write => !flags.contains(PteFlags::READ_ONLY),
            Access::Execute => !flags.contains(PteFlags::UXN),
        }
}
