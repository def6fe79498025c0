//! The numbers of Linux's memory calls on arm64, as types. Unknown bits are kept: which of them are an error
//! is decided by each call as Linux decides it.
#![forbid(unsafe_code)]

use bitflags::bitflags;

use super::error::MmapError;
use super::vma::Prot;

bitflags! {
    /// The `prot` argument of mmap and mprotect.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MapProt: u32 {
        /// PROT_READ.
        const READ = 1;
        /// PROT_WRITE.
        const WRITE = 2;
        /// PROT_EXEC.
        const EXEC = 4;
        /// PROT_SEM: means nothing here, as on arm64.
        const SEM = 8;
        /// PROT_GROWSDOWN: mprotect from the start of the stack's VMA.
        const GROWSDOWN = 0x0100_0000;
        /// PROT_GROWSUP: no architecture of ours has it.
        const GROWSUP = 0x0200_0000;
        const _ = !0;
    }
}

impl MapProt {
    /// The rights of a VMA.
    ///
    /// # Errors
    /// [`MmapError::WriteAndExecute`]: memory here is never both, as where SELinux denies `execmem`. A
    /// program that makes code writes it first and then asks for PROT_EXEC by mprotect.
    pub fn rights(self) -> Result<Prot, MmapError> {
        if self.contains(MapProt::WRITE | MapProt::EXEC) {
            return Err(MmapError::WriteAndExecute);
        }
        Ok(Prot::from_bits_truncate(self.bits() as u8))
    }
}

bitflags! {
    /// The `flags` argument of mmap.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct MapFlags: u32 {
        /// MAP_SHARED.
        const SHARED = 0x01;
        /// MAP_PRIVATE. With [`Self::SHARED`]: MAP_SHARED_VALIDATE.
        const PRIVATE = 0x02;
        /// MAP_FIXED: exactly there; what is mapped there is unmapped.
        const FIXED = 0x10;
        /// MAP_ANONYMOUS.
        const ANONYMOUS = 0x20;
        /// MAP_GROWSDOWN: a stack; see [`super::vma::Growth::Down`].
        const GROWSDOWN = 0x0100;
        /// MAP_LOCKED: nothing is ever swapped, so it means [`Self::POPULATE`].
        const LOCKED = 0x2000;
        /// MAP_NORESERVE.
        const NORESERVE = 0x4000;
        /// MAP_POPULATE: every page is faulted in before the call returns, as far as memory goes.
        const POPULATE = 0x8000;
        /// MAP_STACK: means nothing, as on Linux.
        const STACK = 0x0002_0000;
        /// MAP_HUGETLB: pages of a hugetlb pool.
        const HUGETLB = 0x0004_0000;
        /// MAP_FIXED_NOREPLACE: exactly there, or not at all.
        const FIXED_NOREPLACE = 0x0010_0000;
        const _ = !0;
    }
}

impl MapFlags {
    /// What MAP_SHARED_VALIDATE lets pass (Linux: `LEGACY_MAP_MASK`, and MAP_FIXED_NOREPLACE as the file systems do).
    pub const KNOWN: MapFlags = MapFlags::SHARED
        .union(MapFlags::PRIVATE)
        .union(MapFlags::FIXED)
        .union(MapFlags::ANONYMOUS)
        .union(MapFlags::GROWSDOWN)
        .union(MapFlags::LOCKED)
        .union(MapFlags::NORESERVE)
        .union(MapFlags::POPULATE)
        .union(MapFlags::STACK)
        .union(MapFlags::HUGETLB)
        .union(MapFlags::FIXED_NOREPLACE);
}

/// MAP_SHARED, MAP_PRIVATE or MAP_SHARED_VALIDATE.
const MAP_TYPE: u32 = 0x0f;
/// Where the base-2 logarithm of the huge page size stands (MAP_HUGE_SHIFT), six bits.
const HUGE_SHIFT: u32 = 26;

impl MapFlags {
    /// The type bits: 1 shared, 2 private, 3 shared and validated.
    #[must_use]
    pub const fn map_type(self) -> u32 {
        self.bits() & MAP_TYPE
    }
    /// The base-2 logarithm of the huge page size; 0: the default size.
    #[must_use]
    pub const fn huge_shift(self) -> u32 {
        self.bits() >> HUGE_SHIFT & 0x3f
    }
}

/// What mmap is asked for. File descriptors are the caller's matter: a descriptor that is not open is EBADF
/// before this is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MmapRequest {
    /// Where: exact with MAP_FIXED, else a hint; 0: anywhere.
    pub addr: u64,
    /// Bytes; rounded up to whole pages.
    pub len: u64,
    /// Rights.
    pub prot: MapProt,
    /// Flags.
    pub flags: MapFlags,
    /// Offset in the file, in bytes.
    pub offset: u64,
}

impl MmapRequest {
    /// From the registers of the system call.
    #[must_use]
    pub fn from_raw(addr: u64, len: u64, prot: u32, flags: u32, offset: u64) -> Self {
        let (prot, flags) = (MapProt::from_bits_retain(prot), MapFlags::from_bits_retain(flags));
        MmapRequest { addr, len, prot, flags, offset }
    }
    /// Private anonymous memory, anywhere.
    #[must_use]
    pub fn anonymous(len: u64, prot: MapProt) -> Self {
        MmapRequest { addr: 0, len, prot, flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS, offset: 0 }
    }
    /// The same, exactly at `addr`.
    #[must_use]
    pub fn fixed(self, addr: u64) -> Self {
        MmapRequest { addr, flags: self.flags | MapFlags::FIXED, ..self }
    }
    /// The same, with more flags.
    #[must_use]
    pub fn with(self, flags: MapFlags) -> Self {
        MmapRequest { flags: self.flags | flags, ..self }
    }
}

bitflags! {
    /// The `flags` argument of mremap.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct RemapFlags: u32 {
        /// MREMAP_MAYMOVE.
        const MAYMOVE = 1;
        /// MREMAP_FIXED.
        const FIXED = 2;
        /// MREMAP_DONTUNMAP.
        const DONTUNMAP = 4;
        const _ = !0;
    }
}

/// What mremap is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MremapRequest {
    /// First address of what is to change.
    pub addr: u64,
    /// Its bytes, rounded up to whole pages. 0: map what is shared there once more.
    pub old_len: u64,
    /// The bytes that it is to have, rounded up to whole pages.
    pub new_len: u64,
    /// Flags.
    pub flags: RemapFlags,
    /// Where it is to go, with MREMAP_FIXED; a hint with MREMAP_DONTUNMAP.
    pub new_addr: u64,
}

impl MremapRequest {
    /// From the registers of the system call.
    #[must_use]
    pub fn from_raw(addr: u64, old_len: u64, new_len: u64, flags: u32, new_addr: u64) -> Self {
        MremapRequest { addr, old_len, new_len, flags: RemapFlags::from_bits_retain(flags), new_addr }
    }
}

/// The `advice` argument of madvise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// MADV_NORMAL: no order of use is known.
    Normal,
    /// MADV_RANDOM: neighbours of a page that is used are not used soon.
    Random,
    /// MADV_SEQUENTIAL: they are.
    Sequential,
    /// MADV_WILLNEED: the pages are used soon.
    WillNeed,
    /// MADV_COLD: they are not.
    Cold,
    /// MADV_PAGEOUT: nor for a long time.
    PageOut,
    /// MADV_DONTNEED: the contents may go; the next access finds zeros.
    DontNeed,
    /// MADV_REMOVE: the pages go from the object that is mapped.
    Remove,
    /// MADV_HUGEPAGE.
    HugePage,
    /// MADV_NOHUGEPAGE.
    NoHugePage,
    /// MADV_FREE: the contents may go whenever memory is short. Here they go at once.
    Free,
    /// MADV_COLLAPSE: every range of 2 MiB becomes a huge page.
    Collapse,
    /// MADV_HWPOISON: the memory is to fail.
    HwPoison,
    /// MADV_SPLIT: shared hugetlb memory may be mapped by entries that are smaller than its pages.
    Split,
    /// MADV_POPULATE_READ: every page is there, as after a read.
    PopulateRead,
    /// MADV_POPULATE_WRITE: every page is there, as after a write.
    PopulateWrite,
}

impl Advice {
    /// The advice with this number.
    ///
    /// # Errors
    /// [`MmapError::Advice`]: any other number.
    pub const fn from_raw(raw: i32) -> Result<Self, MmapError> {
        match raw {
            0 => Ok(Advice::Normal),
            1 => Ok(Advice::Random),
            2 => Ok(Advice::Sequential),
            3 => Ok(Advice::WillNeed),
            4 => Ok(Advice::DontNeed),
            8 => Ok(Advice::Free),
            9 => Ok(Advice::Remove),
            14 => Ok(Advice::HugePage),
            15 => Ok(Advice::NoHugePage),
            20 => Ok(Advice::Cold),
            21 => Ok(Advice::PageOut),
            22 => Ok(Advice::PopulateRead),
            25 => Ok(Advice::Collapse),
            23 => Ok(Advice::PopulateWrite),
            100 => Ok(Advice::HwPoison),
            26 => Ok(Advice::Split),
            _ => Err(MmapError::Advice(raw)),
        }
    }
}
