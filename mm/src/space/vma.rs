//! One VMA as a value: a range of user addresses with one set of rights and one kind of backing.
#![forbid(unsafe_code)]

use core::fmt;

use arch::addr::PAGE_SIZE;
use arch::pte::PteFlags;
use arch::{Access, PageSize, VirtAddr};
use bitflags::bitflags;

use crate::device::{DeviceMap, Entries, Sharing};
use crate::hugetlb::HugeSize;
use crate::shmem::ObjectId;
use crate::userfault::UserfaultId;

bitflags! {
    /// What a user may do with a VMA; the bits are those of Linux's PROT_READ, PROT_WRITE and PROT_EXEC.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct Prot: u8 {
        /// Loads.
        const READ = 1;
        /// Stores. A writable VMA is readable too: AP has no write-only encoding (D8.4.1).
        const WRITE = 2;
        /// Instruction fetches. An executable VMA is readable too, as on Linux without FEAT_PAN3.
        const EXEC = 4;
    }
}

/// A leaf that no access of EL0 gets through: valid, so that it keeps its frame, but without AP\[1\].
const USER_NONE: PteFlags = PteFlags::USER_RO.difference(PteFlags::USER);

impl Prot {
    /// Nothing at all (PROT_NONE).
    pub const NONE: Prot = Prot::empty();

    /// Whether the user may do this.
    #[must_use]
    pub const fn allows(self, access: Access) -> bool {
        match access {
            Access::Read => !self.is_empty(),
            Access::Write => self.contains(Prot::WRITE),
            Access::Execute => self.contains(Prot::EXEC),
        }
    }

    /// The attribute bits of a leaf with these rights.
    ///
    /// `NONE` is a valid leaf without the user bit: the frame stays where it is, every scan of the tables
    /// still sees it, and a change of rights is a change of permission bits, which needs no break. EL1 can
    /// read such a page even under PAN, but user copies have EL0's rights and fault.
    #[must_use]
    pub const fn leaf_flags(self) -> PteFlags {
        if self.is_empty() {
            USER_NONE
        } else if self.contains(Prot::WRITE) {
            PteFlags::USER_RW
        } else if self.contains(Prot::EXEC) {
            PteFlags::USER_RX
        } else {
            PteFlags::USER_RO
        }
    }
}

impl fmt::Display for Prot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |bit, letter| if self.contains(bit) { letter } else { "-" };
        write!(f, "{}{}{}", letter(Prot::READ, "r"), letter(Prot::WRITE, "w"), letter(Prot::EXEC, "x"))
    }
}

/// What backs a VMA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmaKind {
    /// Private anonymous memory.
    Anon,
    /// Private pages of the hugetlb pool of this size. Never merged with a neighbour, never cut inside a page.
    Hugetlb(HugeSize),
    /// Hugetlb pages of this size of an object, shared with all that map it. Neither merged nor cut inside a page.
    HugeShared(HugeSize, ObjectId),
    /// Hugetlb pages of this size of an object that are only read; the first write to one puts a private copy, out of
    /// the pool, in its place. Neither merged nor cut inside a page.
    HugePrivate(HugeSize, ObjectId),
    /// Pages of an object, shared with all that map it.
    Shared(ObjectId),
    /// Pages of an object that are only read; the first write to one puts a private copy in its place.
    Private(ObjectId),
    /// What a device has put in.
    Device(DeviceMap),
}

impl VmaKind {
    /// The object whose pages back it.
    #[must_use]
    pub const fn object(self) -> Option<ObjectId> {
        match self {
            VmaKind::Shared(id) | VmaKind::Private(id) => Some(id),
            VmaKind::HugeShared(_, id) | VmaKind::HugePrivate(_, id) => Some(id),
            VmaKind::Anon | VmaKind::Hugetlb(_) | VmaKind::Device(_) => None,
        }
    }
    /// Whether what is written through it is seen by others who map the same object.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(
            self,
            VmaKind::Shared(_)
                | VmaKind::HugeShared(..)
                | VmaKind::Device(DeviceMap { sharing: Sharing::Shared, .. })
        )
    }
    /// Whether two VMAs whose pages follow one another may be one.
    const fn may_merge(self) -> bool {
        match self {
            VmaKind::Anon | VmaKind::Shared(_) | VmaKind::Private(_) => true,
            VmaKind::Hugetlb(_) | VmaKind::HugeShared(..) | VmaKind::HugePrivate(..) | VmaKind::Device(_) => {
                false
            }
        }
    }
    /// Bytes of the smallest piece that can be cut off; a power of two.
    #[must_use]
    pub const fn granule(self) -> u64 {
        match self.huge_size() {
            Some(size) => size.bytes(),
            None => PAGE_SIZE,
        }
    }
    /// The size of the hugetlb pages that back it.
    #[must_use]
    pub const fn huge_size(self) -> Option<HugeSize> {
        match self {
            VmaKind::Hugetlb(size) | VmaKind::HugeShared(size, _) | VmaKind::HugePrivate(size, _) => {
                Some(size)
            }
            VmaKind::Anon | VmaKind::Shared(_) | VmaKind::Private(_) | VmaKind::Device(_) => None,
        }
    }
}

/// What the user said about huge pages (madvise).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HugeAdvice {
    /// Nothing.
    None,
    /// MADV_HUGEPAGE.
    Huge,
    /// MADV_NOHUGEPAGE.
    NoHuge,
}

/// Which entries may map the pages of shared hugetlb memory ([`crate::hugetlb::hgm`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grain {
    /// Those of the page's own size.
    Whole,
    /// Those of any size up to it (MADV_SPLIT).
    Any,
    /// Those of 4 KiB (MADV_SPLIT with `hgm=pages`).
    Page,
}

/// In which order the user says that he will use the pages (madvise). Nothing is read ahead here, so it is only noted
/// and shown, as on Linux for memory without a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessPattern {
    /// MADV_NORMAL: he says nothing.
    Normal,
    /// MADV_RANDOM.
    Random,
    /// MADV_SEQUENTIAL.
    Sequential,
}

/// Whether memory that is more than there is may be promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commit {
    /// Writable pages are held against the size of RAM; hugetlb pages are reserved in the pool.
    Account,
    /// MAP_NORESERVE: neither.
    NoReserve,
}

/// Where a VMA may grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Growth {
    /// Nowhere.
    Fixed,
    /// MAP_GROWSDOWN: a fault below it makes it larger ([`super::growth`]). [`STACK_GUARD_GAP`] bytes below it are kept
    /// free of mappings that do not ask for a fixed address, so that an overflow faults.
    Down,
}

/// Bytes kept free below a VMA that grows down (Linux: `stack_guard_gap`, 256 pages).
pub const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;

/// A range of user addresses `[start, end)`, multiples of 4 KiB, `start < end`.
///
/// Each page of it has a *linear index*, which it keeps wherever mremap moves it: `pgoff` is that of the first one.
/// For anonymous memory it is the page number (address / 4 KiB) at which the VMA was made, for an object the index in
/// the object (Linux: `vm_pgoff`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vma {
    /// First address.
    pub start: VirtAddr,
    /// One past the last address.
    pub end: VirtAddr,
    /// What the user may do.
    pub prot: Prot,
    /// What backs it.
    pub kind: VmaKind,
    /// MADV_HUGEPAGE, MADV_NOHUGEPAGE or neither.
    pub advice: HugeAdvice,
    /// MADV_RANDOM, MADV_SEQUENTIAL or neither.
    pub pattern: AccessPattern,
    /// Whether its memory is accounted.
    pub commit: Commit,
    /// Who is told of minor faults in it, where it is shared hugetlb memory ([`crate::userfault`]).
    pub userfault: Option<UserfaultId>,
    /// Which entries may map its pages, where those are shared hugetlb memory; else [`Grain::Whole`].
    pub grain: Grain,
    /// Whether it is a stack.
    pub growth: Growth,
    /// Linear index of its first page, in units of 4 KiB.
    pub pgoff: u64,
}

impl Vma {
    /// Bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.end.offset_from(self.start)
    }
    /// The linear index of the page at `va`, an address of this VMA (Linux: `linear_page_index`).
    #[must_use]
    pub const fn index_of(&self, va: VirtAddr) -> u64 {
        self.pgoff + va.offset_from(self.start) / PAGE_SIZE
    }
    /// The address of the page with this linear index. `None`: no page of this VMA has it.
    #[must_use]
    pub fn address_of(&self, index: u64) -> Option<VirtAddr> {
        let pages = index.checked_sub(self.pgoff)?;
        (pages < self.bytes() / PAGE_SIZE).then(|| self.start.add(pages * PAGE_SIZE))
    }
    /// Whether its pages stand elsewhere than at the address that their linear index says.
    #[must_use]
    pub const fn is_moved(&self) -> bool {
        self.pgoff != self.start.raw() / PAGE_SIZE
    }
    /// The part of it in `[start, end)`, which share an address.
    #[must_use]
    pub fn part(&self, start: VirtAddr, end: VirtAddr) -> Vma {
        let start = self.start.max(start);
        Vma { start, end: self.end.min(end), pgoff: self.index_of(start), ..*self }
    }
    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, va: VirtAddr) -> bool {
        self.start <= va && va < self.end
    }
    /// Whether the aligned 2 MiB range around `va` lies wholly in it.
    #[must_use]
    pub fn fits_block(&self, va: VirtAddr) -> bool {
        let bytes = PageSize::Size2M.bytes();
        let start = va.align_down(bytes);
        self.start <= start && start.checked_add(bytes).is_some_and(|end| end <= self.end)
    }
    /// Whether it holds any aligned 2 MiB wholly.
    #[must_use]
    pub fn has_block(&self) -> bool {
        self.fits_block(self.start.align_up(PageSize::Size2M.bytes()))
    }
    /// The lowest address that an unfixed mapping must leave to it.
    #[must_use]
    pub fn guard_start(&self) -> VirtAddr {
        match self.growth {
            Growth::Fixed => self.start,
            Growth::Down => VirtAddr::new(self.start.raw().saturating_sub(STACK_GUARD_GAP)),
        }
    }
    /// Whether `next` begins where this one ends, goes on with its linear index, and is the same in all but its range.
    #[must_use]
    pub fn merges_with(&self, next: &Vma) -> bool {
        if self.end != next.start {
            return false;
        }
        let same = Vma { start: next.start, end: next.end, pgoff: self.index_of(self.end), ..*self } == *next;
        same && self.kind.may_merge() && self.growth == Growth::Fixed
    }
}

impl fmt::Display for Vma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sharing = if self.kind.is_shared() { "s" } else { "p" };
        write!(f, "{:x}-{:x} {}{sharing}", self.start.raw(), self.end.raw(), self.prot)?;
        match self.kind {
            VmaKind::Anon => f.write_str(" anon")?,
            VmaKind::Hugetlb(size) => write!(f, " hugetlb {size}")?,
            VmaKind::HugeShared(size, id) => write!(f, " hugetlb {size} object {id}")?,
            VmaKind::HugePrivate(size, id) => write!(f, " private hugetlb {size} object {id}")?,
            VmaKind::Shared(id) => write!(f, " shared object {id}")?,
            VmaKind::Private(id) => write!(f, " private object {id}")?,
            VmaKind::Device(DeviceMap { entries: Entries::PfnMap, .. }) => f.write_str(" pfnmap")?,
            VmaKind::Device(DeviceMap { entries: Entries::MixedMap, .. }) => f.write_str(" mixedmap")?,
        }
        match self.advice {
            HugeAdvice::None => {}
            HugeAdvice::Huge => f.write_str(" hugepage")?,
            HugeAdvice::NoHuge => f.write_str(" nohugepage")?,
        }
        match self.grain {
            Grain::Whole => {}
            Grain::Any => f.write_str(" hgm")?,
            Grain::Page => f.write_str(" hgm by pages")?,
        }
        if self.commit == Commit::NoReserve {
            f.write_str(" noreserve")?;
        }
        if self.userfault.is_some() {
            f.write_str(" userfault")?;
        }
        if self.growth == Growth::Down {
            f.write_str(" growsdown")?;
        }
        Ok(())
    }
}
