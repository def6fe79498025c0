//! What calls on a range and page faults make of migration entries. An entry holds no reference, so it may stand for
//! any frame: here for one that the test owns.

use arch::addr::PAGE_SIZE;
use arch::contract::{Cpu, FaultStatus, Privilege};
use arch::pte::{Migration, PteFlags};
use arch::{Access, Level, Machine, Order, PageSize, VirtAddr, model};

use crate::Mm;
use crate::fault::{FaultDone, FaultInfo};
use crate::kalloc::KArc;
use crate::page::{FolioRef, PageKind};
use crate::pgtable::TableStock;
use crate::rmap::wait::wake;
use crate::space::{AddressSpace, MapProt, MmapRequest};
use crate::testkit::{self, Builder, HostEnv, run_on_cpus, with_space};

const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
const BLOCK: u64 = PageSize::Size2M.bytes();

/// A block that the test owns, and a writable VMA of 4 MiB at [`BASE`] whose first entry of `level` says that the block
/// is moving.
fn moving(level: Level, f: impl FnOnce(&Mm, &'static HostEnv, &KArc<AddressSpace>, Migration)) {
    with_space(&Builder::new().cpus(2), |mm, env, space| {
        let request = MmapRequest::anonymous(2 * BLOCK, MapProt::READ | MapProt::WRITE);
        mm.mmap(space, &request.fixed(BASE.raw())).unwrap();
        let block: FolioRef = mm.alloc_pages(Order::PMD, PageKind::Kernel).unwrap();
        let migration = Migration { output: block.pfn().phys(), flags: PteFlags::USER_RW };
        let migration = migration.desc(level).as_migration(level).unwrap();
        let mut stock = TableStock::new(mm, 3).unwrap();
        let mut tree = space.ptl.lock();
        tree.entry_or_table(space.flusher(mm), BASE, level, &mut stock).unwrap().put_migration(migration);
        drop(tree);
        drop(stock);
        f(mm, env, space, migration);
        mm.munmap(space, BASE.raw(), 2 * BLOCK).unwrap();
        mm.free_pages(block, Order::PMD);
    });
}

fn migration_at(space: &AddressSpace, va: VirtAddr) -> Option<Migration> {
    space.ptl.lock().walk(va).migration()
}

/// munmap takes the entry away and gives nothing up, and the table goes with its last entry.
#[test]
fn munmap_takes_it_away() {
    for level in [Level::L2, Level::L3] {
        moving(level, |mm, _, space, migration| {
            assert_eq!(migration_at(space, BASE), Some(migration));
            mm.munmap(space, BASE.raw(), BLOCK).unwrap();
            assert_eq!(migration_at(space, BASE), None);
            assert_eq!(space.ptl.lock().walk(BASE).steps().len(), 1);
            testkit::check(mm);
        });
    }
}

/// mprotect changes the rights that the frame will have, and nothing else.
#[test]
fn mprotect_changes_what_it_remembers() {
    for level in [Level::L2, Level::L3] {
        moving(level, |mm, _, space, migration| {
            mm.mprotect(space, BASE.raw(), BLOCK, MapProt::READ).unwrap();
            let tight = migration_at(space, BASE).unwrap();
            assert_eq!(
                (tight.output, tight.flags),
                (migration.output, migration.flags | PteFlags::READ_ONLY)
            );
        });
    }
}

/// A call that cuts a block that is moving leaves 512 migration entries, each for its page; what is not in the range
/// goes on moving.
#[test]
fn a_moving_block_is_cut() {
    moving(Level::L2, |mm, _, space, migration| {
        mm.munmap(space, BASE.raw(), PAGE_SIZE).unwrap();
        assert_eq!(migration_at(space, BASE), None);
        for page in [1, 2, 511] {
            let piece = migration_at(space, BASE.add(page * PAGE_SIZE)).unwrap();
            assert_eq!(piece.output, migration.output.add(page * PAGE_SIZE));
            assert_eq!(piece.leaf(Level::L3).flags(Level::L3) & PteFlags::READ_ONLY, PteFlags::empty());
        }
    });
}

/// The full check names a migration entry that was left behind.
#[test]
fn the_check_finds_it() {
    moving(Level::L3, |mm, _, _, migration| {
        let wrong = mm.check_all().unwrap_err();
        assert_eq!(
            (wrong.what, wrong.pfn),
            ("a migration entry was left behind", Some(migration.output.pfn()))
        );
    });
}

/// A fault on it waits, and finds afterwards what is there then.
#[test]
fn a_fault_waits() {
    for level in [Level::L2, Level::L3] {
        moving(level, |mm, env, space, _| {
            let waiter = || {
                let status = FaultStatus::Translation(level);
                let info = FaultInfo { va: BASE, access: Access::Write, privilege: Privilege::User, status };
                assert_eq!(mm.handle_mm_fault(space, &info), Ok(FaultDone::Spurious));
                assert_eq!(migration_at(space, BASE), None, "the fault did not wait");
            };
            let mover = || {
                while mm.rmap.moved.waiting() == 0 {
                    Machine::relax();
                }
                space.ptl.lock().entry(space.flusher(mm), BASE, level).unwrap().take_migration();
                wake(mm);
            };
            let jobs: Vec<model::Job<'_>> = vec![Box::new(waiter), Box::new(mover)];
            run_on_cpus(env, jobs);
        });
    }
}
