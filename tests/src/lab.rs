//! The bench on which a litmus test stands: a machine with two empty roots, and the few moves that recur.
//!
//! Every address is fixed, so that a test knows the whole sentence that it provokes:
//! ```text
//! 0x4000_0000  KERNEL_ROOT                    0x4100_0000  A, 2 MiB
//! 0x4000_1000  USER_ROOT, installed as ASID 1 0x4200_0000  B, 2 MiB
//! 0x4000_2000  further tables, in the order in which the test asks for them
//! ```
//! The moves are what they are made of, written once: what a test is about it writes out itself. Barriers and
//! TLBIs that are not the point hide in [`make`] and [`flush`]; those that are stand in the test.

use std::sync::atomic::{AtomicBool, Ordering};

pub use arch::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
pub use arch::contract::{
    Access, Cpu, Depth, Dsb, FaultStatus, FlushScope, Mmu, PhysMem, Privilege, Tag, Tlbi, UserFault,
};
pub use arch::features::{BbmLevel, Features};
pub use arch::model::{MachineDesc, run_on_cpus, try_kernel_access, user_load, user_store, with_machine};
pub use arch::pte::{Desc, HwDirty, Kind, PteFlags};
pub use arch::{Asid, Level, Machine};

/// The kernel's level-0 table.
pub const KERNEL_ROOT: PhysAddr = MachineDesc::DEFAULT.ram_base;
/// The user's level-0 table.
pub const USER_ROOT: PhysAddr = KERNEL_ROOT.add(PAGE_SIZE);
/// The ASID that it is installed under.
pub const ASID: Asid = Asid::new(1);
/// Two MiB of RAM for a test to map.
pub const A: PhysAddr = KERNEL_ROOT.add(16 << 20);
/// Two MiB of RAM for a test to map.
pub const B: PhysAddr = KERNEL_ROOT.add(32 << 20);
/// The kernel address that is mapped; aligned to 2 MiB.
pub const KVA: VirtAddr = VirtAddr::new(0xffff_9000_0020_0000);
/// The user address that is mapped; aligned to 2 MiB.
pub const UVA: VirtAddr = VirtAddr::new(0x0000_0040_0060_0000);

/// Kernel rights, which make global leaves.
pub const RW: PteFlags = PteFlags::KERNEL_RW;
/// Kernel rights.
pub const RO: PteFlags = PteFlags::KERNEL_RO;
/// User rights, which make non-global leaves.
pub const USER_RW: PteFlags = PteFlags::USER_RW;
/// User rights.
pub const USER_RO: PteFlags = PteFlags::USER_RO;
/// One of sixteen.
pub const CONTIGUOUS: PteFlags = PteFlags::CONTIGUOUS;
/// Descriptors in a contiguous group.
pub const GROUP: u64 = 16;

/// A page descriptor.
#[must_use]
pub const fn page(pa: PhysAddr, flags: PteFlags) -> Desc {
    Desc::leaf(pa, Level::L3, flags)
}

/// A 2 MiB block descriptor.
#[must_use]
pub const fn block(pa: PhysAddr, flags: PteFlags) -> Desc {
    Desc::leaf(pa, Level::L2, flags)
}

/// A machine of this FEAT_BBM level.
#[must_use]
pub const fn with_bbm(machine: MachineDesc, bbm: BbmLevel) -> MachineDesc {
    MachineDesc { features: Features { bbm, ..machine.features }, ..machine }
}

/// A machine whose hardware sets the access flag and manages dirty state.
#[must_use]
pub const fn with_hw_dirty(machine: MachineDesc) -> MachineDesc {
    let features = Features { hw_access_flag: true, hw_dirty: true, ..machine.features };
    MachineDesc { features, hw_dirty: HwDirty::Enabled, ..machine }
}

/// A machine with no more RAM than `mm` needs to boot.
#[must_use]
pub const fn small(machine: MachineDesc) -> MachineDesc {
    MachineDesc { ram_bytes: 32 << 20, ..machine }
}

/// Runs `test` on vCPU 0 of a machine with both roots installed. The other vCPUs have not started.
pub fn on(machine: MachineDesc, test: impl FnOnce(Lab)) {
    with_machine(machine, || {
        Machine::set_kernel_root(KERNEL_ROOT);
        Machine::set_user_root(Some((USER_ROOT, ASID)));
        test(Lab { next: USER_ROOT.add(PAGE_SIZE) });
    });
}

/// Runs `job` on vCPU 1, which starts with the kernel root of vCPU 0; returns when it has ended. The vCPU keeps
/// the roots that it has then.
pub fn on_vcpu_1(job: impl FnOnce() + Send) {
    run_on_cpus(vec![Box::new(|| ()), Box::new(job)]);
}

/// Starts vCPU 1 with both roots, so that it may hold what vCPU 0 maps.
pub fn start_vcpu_1() {
    on_vcpu_1(|| Machine::set_user_root(Some((USER_ROOT, ASID))));
}

/// Waits for another vCPU.
pub fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        Machine::relax();
    }
}

/// Lets the vCPUs go on that wait for this.
pub fn raise(flag: &AtomicBool) {
    flag.store(true, Ordering::Release);
}

/// Makes an entry: store, DSB ISHST, ISB.
pub fn make(slot: PhysAddr, desc: Desc) {
    Machine::write_desc(slot, desc);
    Machine::dsb(Dsb::IshSt);
    Machine::isb();
}

/// Flushes one address from every TLB and walk cache: DSB ISHST, TLBI VAAE1IS, DSB ISH, ISB.
pub fn flush(va: VirtAddr) {
    flush_by(everything_at(va), FlushScope::Broadcast);
}

/// Flushes by any TLBI: DSB ISHST, the TLBI, DSB ISH, ISB.
pub fn flush_by(tlbi: Tlbi, scope: FlushScope) {
    Machine::dsb(Dsb::IshSt);
    Machine::tlbi(tlbi, scope);
    Machine::dsb(Dsb::Ish);
    Machine::isb();
}

/// TLBI VAAE1: entries of all levels and ASIDs for one address.
#[must_use]
pub const fn everything_at(va: VirtAddr) -> Tlbi {
    Tlbi::Va { va, tag: Tag::AllAsids, depth: Depth::AllLevels, level: None }
}

/// What hardware makes of a kernel read.
pub fn kernel_read(va: VirtAddr) -> Result<PhysAddr, FaultStatus> {
    Machine::translate(va, Access::Read, Privilege::Kernel)
}

/// Tables, made one after the other.
pub struct Lab {
    next: PhysAddr,
}

impl Lab {
    /// An empty table, linked nowhere.
    pub fn table(&mut self) -> PhysAddr {
        let table = self.next;
        self.next = table.add(PAGE_SIZE);
        table
    }

    /// A table of 512 pages from `pa`, linked nowhere.
    pub fn pages(&mut self, pa: PhysAddr, flags: PteFlags) -> PhysAddr {
        let table = self.table();
        for n in 0..512 {
            Machine::write_desc(table.add(8 * n), page(pa.add(n * PAGE_SIZE), flags));
        }
        Machine::dsb(Dsb::IshSt);
        table
    }

    /// Where the descriptor of `level` for `va` stands in the root that vCPU 0 has; the tables above it are
    /// made as needed.
    pub fn slot(&mut self, va: VirtAddr, level: Level) -> PhysAddr {
        let user_root = || Machine::user_root().map_or(USER_ROOT, |(root, _)| root);
        let mut table = if va.is_kernel() { Machine::kernel_root() } else { user_root() };
        for above in Level::ALL.into_iter().take_while(|&above| above < level) {
            let slot = table.add(8 * va.index(above) as u64);
            if Machine::read_desc(slot).kind(above) == Kind::Invalid {
                make(slot, Desc::table(self.table()));
            }
            table = Machine::read_desc(slot).output(above);
        }
        table.add(8 * va.index(level) as u64)
    }

    /// Maps a page, and returns where its descriptor stands.
    pub fn map(&mut self, va: VirtAddr, pa: PhysAddr, flags: PteFlags) -> PhysAddr {
        let slot = self.slot(va, Level::L3);
        make(slot, page(pa, flags));
        slot
    }

    /// Maps a 2 MiB block, and returns where its descriptor stands.
    pub fn map_block(&mut self, va: VirtAddr, pa: PhysAddr, flags: PteFlags) -> PhysAddr {
        let slot = self.slot(va, Level::L2);
        make(slot, block(pa, flags));
        slot
    }

    /// Maps sixteen pages as a contiguous group, and returns where the first descriptor stands.
    pub fn map_group(&mut self, va: VirtAddr, pa: PhysAddr, flags: PteFlags) -> PhysAddr {
        let first = self.slot(va, Level::L3);
        make_group(first, pa, flags | CONTIGUOUS);
        first
    }
}

/// Makes sixteen pages, each by its own store, and orders them at once.
pub fn make_group(first: PhysAddr, pa: PhysAddr, flags: PteFlags) {
    for n in 0..GROUP {
        Machine::write_desc(first.add(8 * n), page(pa.add(n * PAGE_SIZE), flags));
    }
    Machine::dsb(Dsb::IshSt);
    Machine::isb();
}

/// vCPU 1 writes 1, 2, 3, ... to [`UVA`] until vCPU 0 has done its `job`, which ends by raising `done`. A write
/// that faults is tried again with the next turn. Returns the last number written.
pub fn write_until(done: &AtomicBool, job: impl FnOnce() + Send) -> u64 {
    let mut last = 0;
    let write = || {
        while !done.load(Ordering::Acquire) {
            if user_store(UVA, last + 1).is_ok() {
                last += 1;
            }
            Machine::relax();
        }
    };
    run_on_cpus(vec![Box::new(job), Box::new(write)]);
    last
}
