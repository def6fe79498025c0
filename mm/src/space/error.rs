//! Why a call on an address space failed, with the offending value, and the Linux error number for it.
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;

use super::vma::Vma;
use crate::error::OutOfMemory;

/// A Linux error number, positive. The names are Linux's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Errno {
    /// EPERM.
    Perm = 1,
    /// ENOENT.
    NoEnt = 2,
    /// EIO.
    Io = 5,
    /// EAGAIN.
    Again = 11,
    /// ENOMEM.
    NoMem = 12,
    /// EACCES.
    Acces = 13,
    /// EFAULT.
    Fault = 14,
    /// EBUSY.
    Busy = 16,
    /// EEXIST.
    Exist = 17,
    /// ENODEV.
    NoDev = 19,
    /// EINVAL.
    Inval = 22,
    /// EOVERFLOW.
    Overflow = 75,
    /// EOPNOTSUPP, which is also ENOTSUP.
    OpNotSupp = 95,
}

/// Why mmap, munmap, mremap, mprotect, madvise or brk failed. Nothing has changed, but where the call says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmapError {
    /// The address is not a multiple of the page size of its mapping.
    Unaligned(VirtAddr),
    /// The length is zero, or not a multiple of the huge page size.
    Length(u64),
    /// The file offset is not a multiple of 4 KiB.
    Offset(u64),
    /// The range leaves the user half.
    OutOfRange(VirtAddr),
    /// Neither MAP_PRIVATE nor a kind of MAP_SHARED; the flags given.
    Flags(u32),
    /// Protection bits that do not exist; the bits given.
    ProtBits(u32),
    /// No hugetlb pool of this size; its base-2 logarithm.
    HugeSize(u32),
    /// The advice is not one that is known here.
    Advice(i32),
    /// The mapping cannot take this advice.
    Unadvisable(Vma),
    /// madvise could not get memory to cut a VMA in two.
    Busy,
    /// A page of the range is in use by somebody else, or moving (EAGAIN).
    InUse,
    /// The address lies inside a huge page, which cannot be cut.
    InsideHugePage(VirtAddr),
    /// PROT_GROWSDOWN for a VMA that does not grow down.
    NoStack(VirtAddr),
    /// MAP_SHARED_VALIDATE with flags that are not known; the flags given.
    Unknown(u32),
    /// More of an object than any object can have; the offset given.
    OffsetEnd(u64),
    /// A file that cannot be mapped.
    NoDevice,
    /// MAP_FIXED_NOREPLACE over a mapping.
    Exists(Vma),
    /// A fixed address below the lowest one that may be mapped.
    BelowMinimum(VirtAddr),
    /// Both writable and executable.
    WriteAndExecute,
    /// A device cannot put this page of the VMA in so.
    NotInsertable(u64),
    /// Memory of a device is not executed.
    DeviceExec,
    /// The mapping does not let its object be written.
    ReadOnly(Vma),
    /// No gap of this many bytes.
    NoGap(u64),
    /// A part of the range is not mapped; the first such address.
    Hole(VirtAddr),
    /// mremap of something that is not one mapping; the first address that is not.
    NotOneMapping(VirtAddr),
    /// The page at this address cannot be had (a fault there would be SIGBUS).
    NoPage(VirtAddr),
    /// The memory at this address is no hugetlb page, and only such memory may be let fail.
    NotHugetlb(VirtAddr),
    /// mremap to a place that overlaps the old one; the new address.
    Overlap(VirtAddr),
    /// mremap of nothing, of memory that is not shared.
    NotShared(Vma),
    /// A huge page mapping, which cannot grow.
    HugeGrowth(u64),
    /// The address space would have too many VMAs.
    TooManyVmas,
    /// More pages than the machine has.
    Overcommit(u64),
    /// The hugetlb pool cannot promise this many pages.
    HugetlbPool(u64),
    /// The kernel itself is out of memory.
    OutOfMemory,
}

impl MmapError {
    /// The error number that Linux gives.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            MmapError::Unaligned(_)
            | MmapError::Length(_)
            | MmapError::Offset(_)
            | MmapError::Unadvisable(_)
            | MmapError::OutOfRange(_)
            | MmapError::Flags(_)
            | MmapError::ProtBits(_)
            | MmapError::HugeSize(_)
            | MmapError::Advice(_)
            | MmapError::NoStack(_)
            | MmapError::Overlap(_)
            | MmapError::NotShared(_)
            | MmapError::HugeGrowth(_)
            | MmapError::NotInsertable(_)
            | MmapError::InsideHugePage(_) => Errno::Inval,
            MmapError::NotOneMapping(_) | MmapError::NoPage(_) => Errno::Fault,
            MmapError::Busy | MmapError::InUse => Errno::Again,
            MmapError::NotHugetlb(_) | MmapError::Unknown(_) => Errno::OpNotSupp,
            MmapError::OffsetEnd(_) => Errno::Overflow,
            MmapError::NoDevice => Errno::NoDev,
            MmapError::Exists(_) => Errno::Exist,
            MmapError::BelowMinimum(_) => Errno::Perm,
            MmapError::WriteAndExecute | MmapError::ReadOnly(_) | MmapError::DeviceExec => Errno::Acces,
            MmapError::NoGap(_)
            | MmapError::Hole(_)
            | MmapError::TooManyVmas
            | MmapError::Overcommit(_)
            | MmapError::HugetlbPool(_)
            | MmapError::OutOfMemory => Errno::NoMem,
        }
    }
}

impl fmt::Display for MmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MmapError::Unaligned(va) => write!(f, "{va} is not aligned"),
            MmapError::Length(bytes) => write!(f, "a length of {bytes:#x} bytes cannot be mapped"),
            MmapError::Offset(offset) => write!(f, "file offset {offset:#x} is not aligned"),
            MmapError::Unadvisable(vma) => write!(f, "{vma} cannot take this advice"),
            MmapError::InUse => write!(f, "a page is in use by somebody else"),
            MmapError::Busy => write!(f, "no memory to cut a mapping in two"),
            MmapError::OutOfRange(va) => write!(f, "{va} and its length leave the user half"),
            MmapError::Flags(bits) => write!(f, "flags {bits:#x} are not possible"),
            MmapError::ProtBits(bits) => write!(f, "protection bits {bits:#x} are not known"),
            MmapError::HugeSize(log) => write!(f, "no pool of huge pages of 2^{log} bytes"),
            MmapError::Advice(advice) => write!(f, "advice {advice} is not known"),
            MmapError::InsideHugePage(va) => write!(f, "{va} lies inside a hugetlb page"),
            MmapError::NoStack(va) => write!(f, "the mapping at {va} does not grow down"),
            MmapError::Unknown(bits) => write!(f, "flags {bits:#x} are not all known"),
            MmapError::OffsetEnd(offset) => write!(f, "no object reaches so far beyond offset {offset:#x}"),
            MmapError::NotInsertable(page) => write!(f, "the device cannot map its page {page} so"),
            MmapError::DeviceExec => write!(f, "memory of a device is not executed"),
            MmapError::ReadOnly(vma) => write!(f, "{vma} does not let its object be written"),
            MmapError::NoDevice => write!(f, "the file cannot be mapped"),
            MmapError::Exists(vma) => write!(f, "{vma} is in the way"),
            MmapError::BelowMinimum(va) => write!(f, "{va} is below the lowest address that may be mapped"),
            MmapError::WriteAndExecute => write!(f, "memory is not both writable and executable"),
            MmapError::NoGap(bytes) => write!(f, "no gap of {bytes:#x} bytes"),
            MmapError::Hole(va) => write!(f, "nothing is mapped at {va}"),
            MmapError::NotOneMapping(va) => write!(f, "{va} is not a part of the mapping that is to move"),
            MmapError::NoPage(va) => write!(f, "the page at {va} cannot be had"),
            MmapError::NotHugetlb(va) => write!(f, "the memory at {va} is no hugetlb page"),
            MmapError::Overlap(va) => write!(f, "the place at {va} overlaps the old one"),
            MmapError::NotShared(vma) => write!(f, "{vma} is private and cannot be mapped twice"),
            MmapError::HugeGrowth(bytes) => write!(f, "a huge page mapping cannot grow by {bytes:#x} bytes"),
            MmapError::TooManyVmas => write!(f, "too many mappings"),
            MmapError::Overcommit(pages) => write!(f, "{pages} pages are more than the machine has"),
            MmapError::HugetlbPool(pages) => write!(f, "the hugetlb pool cannot promise {pages} pages"),
            MmapError::OutOfMemory => OutOfMemory.fmt(f),
        }
    }
}

impl From<OutOfMemory> for MmapError {
    fn from(_: OutOfMemory) -> Self {
        MmapError::OutOfMemory
    }
}
