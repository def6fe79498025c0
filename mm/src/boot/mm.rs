//! [`Mm`]: all state of memory management, and how it comes to be.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::sync::SpinLock;
use arch::{Dsb, Machine, Mmu, Order, Pfn, PhysAddr, PhysMem};

use super::early::{EarlyFrames, Reach};
use super::folios::EarlyFolios;
use super::frames::{FrameList, Frames};
use super::mem::{BootError, BootMem};
use super::tables::EarlyTables;
use super::vmemmap;
use crate::buddy::{LastShortage, Zone};
use crate::config::{MmConfig, Refusal};
use crate::env::KernelEnv;
use crate::fault::{HugeZero, ZeroPage};
use crate::hugetlb::Hugetlb;
use crate::hvo::{Hvo, choice};
use crate::locks;
use crate::mapcount::OwnerIds;
use crate::pgtable::kernel::{KernelTree, prepare};
use crate::rmap::Rmap;
use crate::shmem::Objects;
use crate::space::{Asids, Lineages, Spaces};
use crate::stats::Stats;
use crate::thp::Thp;

/// All memory management of one machine: one for ever on the machine, one per test on the host. What faults look at
/// stands first: an instruction has room for a distance below 4096 bytes, a larger one takes another instruction.
#[repr(C)]
pub struct Mm {
    /// Counters, and points.
    pub stats: Stats,
    /// Boot choices.
    pub config: MmConfig,
    /// The kernel above.
    pub env: &'static dyn KernelEnv,
    /// What a read of untouched anonymous memory sees.
    pub zero_page: ZeroPage,
    /// The only zone.
    pub(crate) zone: Zone,
    /// Huge page policy, reservations, the promoter.
    pub thp: Thp,
    /// Migration: who waits for it.
    pub rmap: Rmap,
    /// As [`Self::zero_page`], 2 MiB at once.
    pub huge_zero: HugeZero,
    /// Address space identifiers.
    pub asids: Asids,
    /// The live address spaces.
    pub spaces: Spaces,
    /// Small numbers for them.
    pub owners: OwnerIds,
    /// Who descends from whom.
    pub lineages: Lineages,
    /// The hugetlb pool.
    pub hugetlb: Hugetlb,
    /// Memory that spaces share.
    pub objects: Objects,
    /// HVO's shared pages.
    pub hvo: Hvo,
    /// The last request that found no memory.
    pub(crate) shortage: LastShortage,
    /// The kernel's tables and the vmalloc area. V.
    pub(crate) kernel: SpinLock<KernelTree>,
    /// The kernel's level-0 table; never changes.
    kernel_root: PhysAddr,
    /// RAM, ascending; never changes.
    ram: FrameList,
}

const _: () = assert!(core::mem::offset_of!(Mm, thp) < 4096);
// It is moved from stack to stack until it has its place.
const _: () = assert!(size_of::<Mm>() <= 6144);

impl Mm {
    /// Boots: chooses large hugetlb folios, builds the kernel's tables, installs them on this CPU, fills in all struct
    /// pages, and gives what is left of RAM to the buddy allocator. The global heap must work already. Other CPUs, which must not
    /// use struct pages yet, install [`Self::kernel_root`] themselves.
    ///
    /// # Errors
    /// [`BootError`]: the choices exclude each other, what was handed over is not possible, or RAM is too small to describe itself.
    pub fn boot(boot: &BootMem<'_>, config: MmConfig, env: &'static dyn KernelEnv) -> Result<Mm, BootError> {
        config.validate()?;
        let hvo = choice::choose(&config, &Machine::features()).map_err(Refusal::from)?;
        let ram = boot.check()?;
        let mut early = EarlyFrames::new(&ram, boot)?;
        let folios = EarlyFolios::choose(&mut early, &ram, &config, hvo)?;
        let root = build_tables(&mut early, &ram, boot, &config, &folios)?;
        let zero_page = ZeroPage::new(zeroed_frame(&mut early)?);
        Machine::dsb(Dsb::IshSt);
        Machine::set_kernel_root(root);
        let holders = vmemmap::fill(root, &ram, early.free(), &folios, config.vmemmap);
        let free = early.free().iter().map(|range| range.len()).sum::<u64>();
        let managed = free + holders + folios.pages();
        let zone = Zone::new("Normal", managed, &ram).map_err(|_| BootError::NoHeap)?;
        early.free().iter().for_each(|&range| zone.add(range));
        let hugetlb = Hugetlb::new().map_err(|_| BootError::NoHeap)?;
        let stats = Stats::new(env).map_err(|_| BootError::NoHeap)?;
        let at_boot = folios.enter(&hugetlb, &stats);
        Ok(Mm {
            config,
            stats,
            env,
            zero_page,
            huge_zero: HugeZero::new(),
            asids: Asids::new(Machine::features().asid_bits),
            spaces: Spaces::new(),
            owners: OwnerIds::new(),
            lineages: Lineages::new().map_err(|_| BootError::NoHeap)?,
            thp: Thp::new(&config).map_err(|_| BootError::NoHeap)?,
            hugetlb,
            objects: Objects::new(),
            hvo: Hvo::new(hvo, folios.shared, at_boot),
            rmap: Rmap::new(),
            zone,
            shortage: LastShortage::new(),
            kernel: SpinLock::new(locks::KERNEL_TABLE, KernelTree::new(root)),
            kernel_root: root,
            ram,
        })
    }

    /// RAM, ascending: the frames for which [`crate::page::page_of`] may be asked.
    #[must_use]
    pub fn ram(&self) -> &[Frames] {
        &self.ram
    }
    /// All frames of RAM, 4 KiB units.
    #[must_use]
    pub fn ram_pages(&self) -> u64 {
        self.ram.iter().map(|bank| bank.len()).sum()
    }
    /// Whether the frame is RAM, and so has a struct page.
    #[must_use]
    pub fn pfn_valid(&self, pfn: Pfn) -> bool {
        let next = self.ram.partition_point(|bank| bank.end <= pfn);
        self.ram.get(next).is_some_and(|bank| bank.contains(pfn))
    }
    /// Frames that were never the allocator's: the image, what firmware left, early tables. 4 KiB units.
    #[must_use]
    pub fn reserved_pages(&self) -> u64 {
        self.ram_pages() - self.managed_pages()
    }
    /// The level-0 table of the kernel's half, for [`Mmu::set_kernel_root`].
    #[must_use]
    pub fn kernel_root(&self) -> PhysAddr {
        self.kernel_root
    }
}

fn build_tables(
    early: &mut EarlyFrames,
    ram: &[Frames],
    boot: &BootMem<'_>,
    config: &MmConfig,
    folios: &EarlyFolios,
) -> Result<PhysAddr, BootError> {
    let mut tables = EarlyTables::new(early)?;
    tables.map_linear(ram, boot.image)?;
    tables.map_image(boot.image)?;
    vmemmap::map(&mut tables, ram, folios, config.vmemmap)?;
    for (va, level) in prepare() {
        tables.table_for(va, level)?;
    }
    Ok(tables.root())
}

/// A frame of zeros that stays reserved.
fn zeroed_frame(early: &mut EarlyFrames) -> Result<Pfn, BootError> {
    let frame = early.take(Order::PAGE, Reach::Mapped, "the page of zeros")?;
    Machine::zero(frame, PAGE_SIZE);
    Ok(frame.pfn())
}
