//! Device windows and guarded stacks.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::contract::FaultStatus;
use arch::model::try_kernel_access;
use arch::pte::PteFlags;
use arch::{Access, Desc, Level, PhysAddr, VirtAddr};

use super::vmalloc::SLOTS;
use crate::testkit::{self, Builder, fail_every_allocation};

/// A stack can be written from its lowest to its highest byte; what lies as far below it as it is long cannot be
/// touched, and one bit tells which of both an address is in.
#[test]
fn stacks_have_guards() {
    testkit::boot(|mm| {
        for pages in [1, 2, 4, 8, 16] {
            let bytes = pages * PAGE_SIZE;
            for base in [mm.alloc_stack(pages).unwrap(), mm.alloc_stack(pages).unwrap()] {
                assert!(base.is_aligned(2 * bytes));
                for offset in (0..bytes).step_by(8) {
                    assert!(try_kernel_access(base.add(offset), Access::Write).is_ok());
                    assert_eq!(base.add(offset).raw() & bytes, 0);
                }
                let below = |n| VirtAddr::new(base.raw() - n);
                for n in [8, PAGE_SIZE, bytes] {
                    let fault = try_kernel_access(below(n), Access::Write).unwrap_err();
                    assert!(matches!(fault, FaultStatus::Translation(_)), "{fault}");
                    assert_ne!(below(n).raw() & bytes, 0);
                }
                assert!(try_kernel_access(base, Access::Execute).is_err(), "a stack is not executable");
                mm.free_stack(base, pages);
            }
        }
    });
}

/// A freed stack is unmapped on every CPU before its pages are free, and all its memory comes back, tables too.
#[test]
fn freed_stacks_are_gone() {
    testkit::boot(|mm| {
        let before = mm.free_page_count();
        let stacks: Vec<_> = (0..100).map(|_| mm.alloc_stack(4).unwrap()).collect();
        for &base in &stacks {
            assert!(try_kernel_access(base, Access::Write).is_ok(), "now in this CPU's TLB");
        }
        assert!(mm.free_page_count() <= before - 400);
        for base in stacks {
            mm.free_stack(base, 4);
            assert!(try_kernel_access(base, Access::Read).is_err());
        }
        assert_eq!(mm.free_page_count(), before);
    });
}

/// When every slot is in use the next stack is refused; a freed slot serves again.
#[test]
fn stack_slots_run_out() {
    testkit::boot(|mm| {
        let mut stacks: Vec<_> = (0..SLOTS[0]).map(|_| mm.alloc_stack(1).unwrap()).collect();
        assert!(mm.alloc_stack(1).is_err());
        let freed = stacks.swap_remove(500);
        mm.free_stack(freed, 1);
        assert_eq!(mm.alloc_stack(1), Ok(freed));
        stacks.push(freed);
        stacks.into_iter().for_each(|base| mm.free_stack(base, 1));
    });
}

/// A stack that cannot be had in full leaves nothing behind, whichever allocation fails.
#[test]
fn stacks_survive_running_out() {
    let failed = fail_every_allocation(
        &Builder::new().ram_mib(16),
        |_| (),
        |mm, ()| mm.alloc_stack(8).map(|base| mm.free_stack(base, 8)),
    );
    assert!(failed >= 9, "8 pages and a table, {failed} allocations");
}

/// Device registers appear at the right offset, by blocks where the address allows, never executable, with an
/// unmapped page above.
#[test]
fn device_windows() {
    testkit::boot(|mm| {
        let at = |va: VirtAddr| {
            let leaf = mm.with_kernel_tree(|tree, _| tree.walk(va).leaf())?;
            assert_eq!(
                leaf.desc,
                Desc::leaf(leaf.desc.output(leaf.level), leaf.level, PteFlags::KERNEL_DEVICE)
            );
            Some(leaf.desc.output(leaf.level).add(va.raw() % leaf.level.entry_bytes()))
        };
        let uart = PhysAddr::new(0x0900_0010);
        let va = mm.map_device(uart, 0x20).unwrap();
        assert_eq!((at(va), at(va.add(PAGE_SIZE))), (Some(uart), None));
        let redistributors = PhysAddr::new(0x080a_0000);
        let bytes = 0xf6_0000;
        let va = mm.map_device(redistributors, bytes).unwrap();
        for offset in (0..bytes).step_by(PAGE_SIZE as usize) {
            assert_eq!(at(va.add(offset)), Some(redistributors.add(offset)));
        }
        assert_eq!(at(va.add(bytes)), None);
        let middle = mm.with_kernel_tree(|tree, _| tree.walk(va.add(bytes / 2)).leaf()).unwrap();
        assert_eq!(middle.level, Level::L2);
    });
}

/// RAM is never mapped as device memory.
#[test]
#[should_panic(expected = "is RAM")]
fn ram_is_no_device() {
    testkit::boot(|mm| {
        let _ = mm.map_device(PhysAddr::new(0x3fff_f000), 0x2000);
    });
}

/// A device window that cannot be had is an error, whichever allocation fails.
#[test]
fn device_windows_survive_running_out() {
    let map = |mm: &crate::Mm, ()| mm.map_device(PhysAddr::new(0x0900_0000), 0x1000);
    assert!(fail_every_allocation(&Builder::new().ram_mib(16), |_| (), map) >= 1);
}
