//! The contract between memory management and the machine.
//!
//! `mm` is written against these four traits; each is implemented by the unit type `Machine` of the
//! backend that [`crate`] selects, so there is nothing to pass around and nothing to dispatch. On the
//! machine the functions act on the CPU that executes them; on the model, on the virtual CPU that is
//! running.
//!
//! # What each operation promises
//! | operation | effect | ordering and scope | source |
//! |---|---|---|---|
//! | [`PhysMem::read_desc`] | one 64-bit load | single-copy atomic; acquire | B2.2, D8.2.3 |
//! | [`PhysMem::write_desc`] | one 64-bit store | single-copy atomic; release; *not* yet seen by walkers | D8.2.3 |
//! | [`PhysMem::cas_desc`] | compare and swap | as both; loses against a hardware update of AF or dirty | D8.4.6 |
//! | [`PhysMem::sync_icache`] | data written becomes code | complete on every CPU but for its ISB | B2.4.4 |
//! | [`Mmu::dsb`] | waits for completion | makes earlier descriptor stores visible to walkers, completes earlier TLBIs, of this CPU | B2.3.11 |
//! | [`Mmu::isb`] | context synchronisation | this CPU only: later instructions use what went before | B2.3.12 |
//! | [`Mmu::tlbi`] | asks for invalidation | not complete before a [`Dsb`] by the same CPU whose domain covers the scope | D8.14 |
//! | [`Mmu::set_user_root`] | TTBR0_EL1 and ASID in one write | ends with an ISB | D8.14.1 |
//! | [`Mmu::kernel_access`] | translates through TTBR1 | may use any translation that a TLB of this CPU may still hold | D8.14.3 |
//!
//! # The three sequences that mm uses
//! ```text
//! make    (invalid -> valid)    store; DSB ISHST; ISB                             (I_WZCBG)
//! tighten (permission, unmap)   store; DSB ISHST; TLBI ..IS; DSB ISH; [ISB]       (R_GPPYH)
//! change  (break-before-make)   store 0; DSB ISHST; TLBI ..IS; DSB ISH; store new; DSB ISHST; ISB   (R_DDMVT)
//! ```
//! ISB stands where kernel mappings changed; a return to EL0 is itself a context synchronisation event.

use core::fmt;

use crate::addr::{Asid, Level, PhysAddr, VirtAddr};
use crate::contiguous::CONT_ENTRIES;
use crate::features::Features;
use crate::pte::{Desc, HwDirty};

/// Most CPUs that the kernel starts. Further ones stay off, and the boot log says so.
pub const MAX_CPUS: usize = 16;

/// A CPU's number, 0..[`MAX_CPUS`], in the order in which the device tree lists the CPUs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(transparent)]
pub struct CpuId(u8);

impl CpuId {
    /// The CPU that boots.
    pub const BOOT: CpuId = CpuId(0);
    /// The CPU with this number. Panics at or above [`MAX_CPUS`].
    #[must_use]
    #[inline]
    pub const fn new(index: usize) -> Self {
        assert!(index < MAX_CPUS, "CPU number out of range");
        CpuId(index as u8)
    }
    /// The number, as an index.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What an access wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Access {
    /// Load.
    Read,
    /// Store, or an atomic read-modify-write (which needs write permission even when it stores nothing).
    Write,
    /// Instruction fetch.
    Execute,
}

/// Which TLBs a TLBI reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum FlushScope {
    /// Every CPU of the inner shareable domain (`..IS`). Needs [`Dsb::Ish`].
    Broadcast,
    /// This CPU alone. Needs at least [`Dsb::Nsh`].
    Local,
}

/// What a TLBI removes beside the leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Depth {
    /// Only last-level entries (`VALE`, `VAALE`): walk caches stay. Right where no table was changed.
    LeafOnly,
    /// Entries of all levels for the address, walk caches too. Needed where a table leaves or arrives.
    AllLevels,
}

/// Whose translations a TLBI names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Tag {
    /// Non-global entries of one ASID, and global entries.
    Asid(Asid),
    /// Entries of every ASID, and global entries: what kernel addresses need.
    AllAsids,
}

/// A TLB invalidation of stage 1, EL1&0 (Arm ARM D8.14.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Tlbi {
    /// TLBI VAE1, VALE1, VAAE1, VAALE1: the entries for one address.
    Va {
        /// An address in the page or block.
        va: VirtAddr,
        /// Whose entries.
        tag: Tag,
        /// Leaves only, or all levels.
        depth: Depth,
        /// The level of the leaf (FEAT_TTL hint). A wrong hint may invalidate nothing. `None`: no hint.
        level: Option<Level>,
    },
    /// TLBI RVAE1 and its like (FEAT_TLBIRANGE): every entry for `pages` 4K pages from `start`.
    Range {
        /// First address; 4 KiB aligned.
        start: VirtAddr,
        /// Pages, 1..=[`MAX_RANGE_PAGES`]. The backend splits what one operand cannot say.
        pages: u64,
        /// Whose entries.
        tag: Tag,
        /// Leaves only, or all levels.
        depth: Depth,
        /// The level of all leaves in the range. `None`: no hint.
        level: Option<Level>,
    },
    /// TLBI ASIDE1: every non-global entry of the ASID.
    Asid(Asid),
    /// TLBI VMALLE1: everything.
    All,
}

/// The largest range of one [`Tlbi::Range`]: 8 GiB of 4K pages.
pub const MAX_RANGE_PAGES: u64 = 1 << 21;

/// Data synchronisation barriers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Dsb {
    /// DSB ISHST: earlier stores, inner shareable. Makes descriptor stores visible to every walker;
    /// completes no TLBI.
    IshSt,
    /// DSB ISH: all earlier accesses and TLBIs, inner shareable.
    Ish,
    /// DSB NSH: all earlier accesses and *local* TLBIs of this CPU.
    Nsh,
}

/// Interrupt mask to restore; made by [`Cpu::mask_irqs`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the mask that was in force must be restored"]
pub struct IrqState(u64);

impl IrqState {
    /// Wraps a backend's own value (DAIF on the machine).
    #[inline]
    pub const fn new(raw: u64) -> Self {
        IrqState(raw)
    }
    /// The backend's own value.
    #[must_use]
    #[inline]
    pub const fn raw(self) -> u64 {
        self.0
    }
}

/// At whose privilege a translation is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// EL0.
    User,
    /// EL1.
    Kernel,
}

/// Why a translation failed (ESR_ELx.{D,I}FSC).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultStatus {
    /// An output address is wider than the CPU has. (An address of neither half is a translation fault of level 0.)
    AddressSize(Level),
    /// No valid descriptor at this level.
    Translation(Level),
    /// The descriptor's access flag is clear.
    AccessFlag(Level),
    /// The descriptor does not allow it.
    Permission(Level),
    /// Two TLB entries matched.
    TlbConflict,
    /// Anything else: external abort, alignment and so on. The raw status code.
    Other(u8),
}

impl fmt::Display for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultStatus::Translation(l) => write!(f, "translation fault, level {l}"),
            FaultStatus::AccessFlag(l) => write!(f, "access flag fault, level {l}"),
            FaultStatus::Permission(l) => write!(f, "permission fault, level {l}"),
            FaultStatus::AddressSize(l) => write!(f, "address size fault, level {l}"),
            FaultStatus::TlbConflict => write!(f, "TLB conflict abort"),
            FaultStatus::Other(code) => write!(f, "fault status {code:#04x}"),
        }
    }
}

/// Physical memory, reached by its linear-map address, which never changes; so nothing here can fault.
/// Every address must lie in RAM.
pub trait PhysMem {
    /// A table, for who goes through many of its descriptors.
    type Table: DescTable;
    /// The table at `at` (4 KiB aligned).
    fn table(at: PhysAddr) -> Self::Table;
    /// Loads the descriptor at `at` (8-byte aligned).
    fn read_desc(at: PhysAddr) -> Desc;
    /// Stores a descriptor. Nothing is ordered behind it: see [`Mmu::dsb`].
    fn write_desc(at: PhysAddr, new: Desc);
    /// Replaces `old` by `new`, or returns what stood there instead.
    ///
    /// # Errors
    /// The present descriptor, where it is not `old`.
    fn cas_desc(at: PhysAddr, old: Desc, new: Desc) -> Result<(), Desc>;
    /// Fills `bytes` bytes from `at` with zeros. Both are multiples of 64.
    fn zero(at: PhysAddr, bytes: u64);
    /// Fills `bytes` bytes from `at` with lines of 64 bytes: two words that are given, and zeros. Both are multiples of 64.
    /// Who reads a word meanwhile finds it old or new.
    fn fill(at: PhysAddr, bytes: u64, words: [u64; 2]);
    /// Copies `bytes` bytes; the ranges do not overlap. Of whole pages, who reads a word meanwhile finds it old or new.
    fn copy(to: PhysAddr, from: PhysAddr, bytes: u64);
    /// Whether two ranges of `bytes` bytes hold the same. All three are multiples of 64.
    fn equal(a: PhysAddr, b: PhysAddr, bytes: u64) -> bool;
    /// Reads bytes.
    fn read_bytes(from: PhysAddr, into: &mut [u8]);
    /// Writes bytes.
    fn write_bytes(to: PhysAddr, from: &[u8]);
    /// `bytes` bytes from `at`, whole pages, go back to the allocator. Nothing on the machine; the model refuses
    /// it where a CPU could still get there, but by the linear map (R_GPPYH).
    fn released(at: PhysAddr, bytes: u64);
    /// Makes what `bytes` bytes from `at` hold now the instructions that every CPU fetches there after its
    /// next context synchronisation: clean to the point of unification (DC CVAU), DSB ISH, invalidate
    /// (IC IVAU or IC IALLUIS), DSB ISH, ISB; less where CTR_EL0.{IDC,DIC} say so (B2.4.4). Both are
    /// multiples of 64.
    fn sync_icache(at: PhysAddr, bytes: u64);
}

/// The descriptors of one table. Each access is that of [`PhysMem::read_desc`] or [`PhysMem::write_desc`]; the address
/// is looked at once, when the table is had.
pub trait DescTable: Copy {
    /// Loads descriptor `n`, 0..=511.
    fn read(self, n: usize) -> Desc;
    /// Stores descriptor `n`, 0..=511.
    fn write(self, n: usize, new: Desc);
    /// Loads the 16 descriptors from `first` on, 0..=496, of a table that no CPU writes meanwhile: in no order.
    fn read_still(self, first: usize) -> [Desc; CONT_ENTRIES] {
        core::array::from_fn(|n| self.read(first + n))
    }
}

/// Translation.
pub trait Mmu {
    /// What every CPU of this machine offers.
    fn features() -> Features;
    /// Whether this kernel runs with hardware-managed dirty state.
    fn hw_dirty() -> HwDirty;
    /// The level-0 table of the kernel's half (TTBR1_EL1).
    fn kernel_root() -> PhysAddr;
    /// Installs the level-0 table of the kernel's half on this CPU. The new table must map what the CPU
    /// executes and stands on just as the old one does. Ends with a local flush and an ISB.
    fn set_kernel_root(root: PhysAddr);
    /// The level-0 table and ASID of the user's half on this CPU; `None` where it is the empty one.
    fn user_root() -> Option<(PhysAddr, Asid)>;
    /// Installs a user root, or the empty one. No flush: the ASID keeps translations apart.
    fn set_user_root(root: Option<(PhysAddr, Asid)>);
    /// Issues a TLB invalidation.
    fn tlbi(op: Tlbi, scope: FlushScope);
    /// Waits as the barrier says.
    fn dsb(barrier: Dsb);
    /// Context synchronisation on this CPU.
    fn isb();
    /// A pointer through which the byte at kernel address `va` is accessed. On the machine this is `va`
    /// itself, and the access may fault as any access may. On the model the translation happens here, so
    /// the pointer must be used at once, for this one access of at most 8 bytes.
    fn kernel_access(va: VirtAddr, access: Access) -> *mut u8;
    /// Fills `lines` lines of 64 bytes from kernel address `va` on: two words that are given, and zeros. Who reads a
    /// word meanwhile finds it old or new.
    ///
    /// # Safety
    /// 1. `va` is a multiple of 64.
    /// 2. The lines are mapped, and made of atomic words only, as what [`Self::kernel_access`] leads to.
    unsafe fn fill_lines(va: VirtAddr, lines: u64, words: [u64; 2]);
    /// What the hardware's own walker makes of an address (AT S1E1R and its like).
    ///
    /// # Errors
    /// The fault that an access would take.
    fn translate(va: VirtAddr, access: Access, privilege: Privilege) -> Result<PhysAddr, FaultStatus>;
}

/// A moment in the life of a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockStep {
    /// It is about to be taken.
    Take,
    /// It is about to be taken if it is free.
    Try,
    /// It has been released.
    Release,
}

/// The CPU that runs this.
pub trait Cpu {
    /// Its number.
    fn id() -> CpuId;
    /// Masks interrupts on this CPU and returns what was in force.
    fn mask_irqs() -> IrqState;
    /// Puts an earlier mask back.
    fn restore_irqs(state: IrqState);
    /// One turn of a spin loop. On the model another virtual CPU may run.
    fn relax();
    /// A place where another CPU's step may come between; the model may switch here. Nothing on the
    /// machine.
    fn interleave();
    /// [`Self::interleave`] at a lock of this rank.
    fn at_lock(step: LockStep, rank: u8);
}

/// A user access that no page fault handler could resolve: the first address that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserFault(pub VirtAddr);

/// Memory of the current user root, accessed with EL0's rights. Faults are offered to the page fault
/// handler first. Callers check that the range lies in the user half; may sleep, so no spinlock is held.
pub trait UserMem {
    /// Copies from the user half.
    ///
    /// # Errors
    /// [`UserFault`]; `into` may be partly written.
    fn copy_from_user(into: &mut [u8], from: VirtAddr) -> Result<(), UserFault>;
    /// Copies to the user half.
    ///
    /// # Errors
    /// [`UserFault`]; the user's memory may be partly written.
    fn copy_to_user(to: VirtAddr, from: &[u8]) -> Result<(), UserFault>;
}
