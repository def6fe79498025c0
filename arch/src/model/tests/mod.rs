//! What the model promises, test by test. [`Tables`] lays out page tables from fixed pages of RAM.

mod cpus;
mod desc;
mod judge;
mod replay;
mod sched;
mod stop;
mod tlb;
mod user;
mod walk;

use super::{MachineDesc, possible, with_machine};
use crate::Machine;
use crate::addr::{Asid, Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{Access, Dsb, FaultStatus, FlushScope, Mmu, PhysMem, Privilege, Tlbi};
use crate::pte::{Desc, Kind, PteFlags};

/// Where the tables of a test stand: the first MiB of the default RAM.
const TABLES: PhysAddr = MachineDesc::DEFAULT.ram_base;
/// A kernel address that the tests map.
const KVA: VirtAddr = VirtAddr::new(0xffff_9000_0020_0000);
/// A user address that the tests map.
const UVA: VirtAddr = VirtAddr::new(0x0000_0040_0060_0000);
/// Pages that the tests map.
const PAGE_A: PhysAddr = TABLES.add(16 << 20);
const PAGE_B: PhysAddr = TABLES.add(32 << 20);

/// Two roots, one per half, and a supply of empty tables.
struct Tables {
    kernel: PhysAddr,
    user: PhysAddr,
    next: PhysAddr,
}

impl Tables {
    /// Installs both roots; the user root has ASID 1.
    fn install() -> Self {
        let tables = Tables { kernel: TABLES, user: TABLES.add(PAGE_SIZE), next: TABLES.add(2 * PAGE_SIZE) };
        Machine::set_kernel_root(tables.kernel);
        Machine::set_user_root(Some((tables.user, Asid::new(1))));
        tables
    }

    /// Where the descriptor of `level` for `va` stands; tables above it are made as needed.
    fn at(&mut self, va: VirtAddr, level: Level) -> PhysAddr {
        let mut table = if va.is_kernel() { self.kernel } else { self.user };
        for above in Level::ALL.into_iter().take_while(|&l| l < level) {
            let at = table.add(8 * va.index(above) as u64);
            if Machine::read_desc(at).kind(above) == Kind::Invalid {
                Machine::write_desc(at, Desc::table(self.next));
                self.next = self.next.add(PAGE_SIZE);
                Machine::dsb(Dsb::IshSt);
                Machine::isb();
            }
            table = Machine::read_desc(at).output(above);
        }
        table.add(8 * va.index(level) as u64)
    }

    /// Makes a leaf of `level` and orders it before what follows.
    fn map(&mut self, va: VirtAddr, pa: PhysAddr, level: Level, flags: PteFlags) -> PhysAddr {
        let at = self.at(va, level);
        Machine::write_desc(at, Desc::leaf(pa, level, flags));
        Machine::dsb(Dsb::IshSt);
        Machine::isb();
        at
    }
}

/// Runs a test on a machine with both roots installed; at the end everything is flushed.
fn with_tables(desc: MachineDesc, f: impl FnOnce(Tables)) {
    with_machine(desc, || {
        f(Tables::install());
        flush(Tlbi::All, FlushScope::Broadcast);
    });
}

/// Where a read of `va` may lead, with the rights that fit the half: by the tables, and by what may be held.
fn held(va: VirtAddr) -> Vec<PhysAddr> {
    let privilege = if va.is_user() { Privilege::User } else { Privilege::Kernel };
    possible(va, Access::Read, privilege).into_iter().filter_map(Result::ok).collect()
}

fn read(va: VirtAddr) -> Result<PhysAddr, FaultStatus> {
    Machine::translate(va, Access::Read, Privilege::Kernel)
}

/// The whole of a flush: order the stores, ask, wait.
fn flush(op: Tlbi, scope: FlushScope) {
    Machine::dsb(Dsb::IshSt);
    Machine::tlbi(op, scope);
    Machine::dsb(Dsb::Ish);
}
