//! Boot on RAM of every shape, and what the kernel's half looks like afterwards.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::contract::Privilege;
use arch::layout::{IMAGE_BASE, LINEAR_BASE, LINEAR_BYTES, linear, vmemmap};
use arch::model::{self, MachineDesc};
use arch::pte::{HwDirty, PteFlags};
use arch::{Access, Level, Machine, Mmu, Pfn, PhysAddr, VirtAddr};

use super::*;
use crate::config::{MmConfig, VmemmapMap};
use crate::kalloc::inject;
use crate::page::{PageKind, page_of};
use crate::pgtable::visit::{Leaf, visit_leaves};
use crate::testkit::Builder;

const BASE: u64 = MachineDesc::DEFAULT.ram_base.raw();
const MIB: u64 = 1 << 20;

fn section(n: u64, bytes: u64, flags: PteFlags) -> ImageSection {
    let at = n * 2 * MIB;
    ImageSection { va: IMAGE_BASE.add(at), pa: PhysAddr::new(BASE + 2 * MIB + at), bytes, flags }
}

/// A machine with an image of text, read-only data and data, 2 MiB each, from 2 MiB into RAM.
fn with_image() -> Builder {
    Builder::new()
        .reserve(BASE + 2 * MIB, BASE + 8 * MIB)
        .section(section(0, 2 * MIB, PteFlags::KERNEL_RX))
        .section(section(1, 2 * MIB, PteFlags::KERNEL_RO))
        .section(section(2, 2 * MIB, PteFlags::KERNEL_RW))
}

fn leaves(mm: &Mm) -> Vec<Leaf> {
    let mut all = Vec::new();
    visit_leaves(mm.kernel_root(), LINEAR_BASE, |leaf| all.push(leaf));
    all
}

fn may(va: VirtAddr, access: Access) -> bool {
    Machine::translate(va, access, Privilege::Kernel).is_ok()
}

/// No leaf of the kernel's half is both writable and executable, is EL0's, or is tagged with an ASID; and what is
/// executable is the image's text and nothing else.
#[test]
fn kernel_mappings_are_w_xor_x() {
    for &map in VmemmapMap::ALL {
        with_image().config(|config| config.vmemmap = map).boot(|mm, _| {
            for leaf in leaves(mm) {
                let executable = leaf.desc.kernel_exec() || leaf.desc.user_exec();
                let flags = leaf.desc.flags(leaf.level);
                assert!(!(executable && leaf.desc.grants_write(HwDirty::Enabled)), "{leaf:?}");
                assert!(!flags.intersects(PteFlags::USER | PteFlags::NOT_GLOBAL), "{leaf:?}");
                assert!(!executable || leaf.va == IMAGE_BASE, "{leaf:?}");
            }
        });
    }
}

/// Text and read-only data can be written neither where they are linked nor through the linear map; data can be
/// through both.
#[test]
fn text_is_read_only_in_the_linear_map() {
    with_image().boot(|_, _| {
        let rights = |va| [Access::Read, Access::Write, Access::Execute].map(|access| may(va, access));
        for (n, linked) in [[true, false, true], [true, false, false], [true, true, false]].iter().enumerate()
        {
            let section = section(n as u64, 0, PteFlags::KERNEL_RO);
            for offset in [0, PAGE_SIZE, 2 * MIB - 8] {
                assert_eq!(rights(section.va.add(offset)), *linked, "linked, section {n}");
                let expected = [true, linked[1], false];
                assert_eq!(rights(linear(section.pa).add(offset)), expected, "linear, section {n}");
            }
        }
        assert!(!may(IMAGE_BASE.add(6 * MIB), Access::Read), "nothing is mapped above the image");
    });
}

/// The linear map holds each byte of RAM at its place, by blocks where alignment allows, and nothing beside RAM.
#[test]
fn the_linear_map_is_ram() {
    let (first, second) = (BASE + 0x5000, BASE + 0x7000);
    let bank = (BASE + 9 * MIB + PAGE_SIZE, BASE + 64 * MIB - PAGE_SIZE);
    Builder::new().bank(first, second).bank(bank.0, bank.1).boot(|mm, _| {
        for (start, end) in [(first, second), bank] {
            for at in (start..end).step_by(PAGE_SIZE as usize) {
                let at = PhysAddr::new(at);
                assert_eq!(Machine::translate(linear(at), Access::Write, Privilege::Kernel), Ok(at));
            }
            for outside in [start - PAGE_SIZE, end] {
                assert!(!may(linear(PhysAddr::new(outside)), Access::Read));
                assert!(!mm.pfn_valid(PhysAddr::new(outside).pfn()));
            }
        }
        let blocks = leaves(mm)
            .iter()
            .filter(|l| l.va < linear(PhysAddr::new(bank.1)) && l.level == Level::L2)
            .count();
        assert_eq!(blocks, 26, "10..62 MiB by blocks of 2 MiB");
    });
}

/// Every frame has a struct page, and is counted once: free, reserved, or a holder of struct pages.
#[test]
fn every_frame_is_accounted() {
    for &map in VmemmapMap::ALL {
        let machine = with_image().config(|config| config.vmemmap = map).ram_mib(200);
        machine.reserve(BASE + 100 * MIB + 1, BASE + 101 * MIB + 1).boot(|mm, _| {
            let report = mm.check_all().unwrap();
            assert_eq!(report.all_pages(), 200 * MIB / PAGE_SIZE);
            let holders = match map {
                VmemmapMap::Pmd => 2 * 512,
                VmemmapMap::Pte => 200 * MIB / PAGE_SIZE / 64,
            };
            assert_eq!(report.pages_of(PageKind::Vmemmap), holders);
            assert_eq!(report.free_pages() + holders, mm.managed_pages());
            let reserved = page_of(PhysAddr::new(BASE + 101 * MIB).pfn());
            assert_eq!((reserved.kind(), reserved.refcount()), (PageKind::Reserved, 1));
            assert_eq!(report.pages_of(PageKind::Reserved), mm.reserved_pages());
            let image_and_device_tree = 6 * MIB / PAGE_SIZE + MIB / PAGE_SIZE + 1;
            let early = mm.reserved_pages() - image_and_device_tree;
            assert!((5..32).contains(&early), "{early} early tables");
        });
    }
}

/// vmemmap is mapped by what the boot choice says, and a frame that holds struct pages can be freed alone.
#[test]
fn vmemmap_is_mapped_as_chosen() {
    for (map, level) in [(VmemmapMap::Pmd, Level::L2), (VmemmapMap::Pte, Level::L3)] {
        Builder::new().config(|config| config.vmemmap = map).boot(|mm, _| {
            let first = vmemmap(mm.ram()[0].start);
            let leaf = leaves(mm).into_iter().find(|leaf| leaf.va == first).unwrap();
            assert_eq!(leaf.level, level);
            let holder = page_of(leaf.desc.output(level).pfn());
            assert_eq!((holder.kind(), holder.order().raw(), holder.refcount()), (PageKind::Vmemmap, 0, 1));
        });
    }
}

/// Contiguous RAM of 16 GiB boots: 256 MiB of struct pages, the linear map by blocks of 1 GiB.
#[test]
fn sixteen_gib_boot() {
    Builder::new()
        .ram_mib(16 << 10)
        .try_boot(|mm, _| {
            assert_eq!(mm.ram_pages(), 4 << 20);
            let all = leaves(mm);
            assert_eq!(all.iter().filter(|leaf| leaf.level == Level::L1).count(), 16);
            let end = mm.ram()[0].end;
            assert!(!mm.pfn_valid(end));
            assert_eq!(page_of(Pfn::new(end.raw() - 1)).kind(), PageKind::Free);
            assert_eq!(mm.managed_pages() - mm.free_page_count(), 65536);
        })
        .unwrap();
}

/// Banks in any order, touching or apart, small ones among them; odd ends are dropped, and what is smaller than a
/// page does not count.
#[test]
fn banks_may_have_any_shape() {
    let machine = Builder::new()
        .bank(BASE + 64 * MIB + 5, BASE + 96 * MIB - 5)
        .bank(BASE + 200 * MIB, BASE + 200 * MIB + PAGE_SIZE)
        .bank(BASE + MIB, BASE + 17 * MIB)
        .bank(BASE + 210 * MIB + 1, BASE + 210 * MIB + PAGE_SIZE)
        .bank(BASE + 17 * MIB, BASE + 18 * MIB);
    machine.boot(|mm, _| {
        let pages = (17 * MIB + 32 * MIB) / PAGE_SIZE - 2 + 1;
        assert_eq!(mm.ram_pages(), pages);
        assert_eq!(mm.ram().len(), 3, "those that touch are one");
        for bank in mm.ram() {
            assert!(bank.iter().all(|pfn| mm.pfn_valid(pfn)));
        }
        assert!(!mm.pfn_valid(PhysAddr::new(BASE + 64 * MIB).pfn()));
        let first = PhysAddr::new(BASE + 200 * MIB).pfn();
        assert!(mm.pfn_valid(first) && !mm.pfn_valid(first.add(1)));
    });
}

fn error(machine: Builder) -> String {
    machine.try_boot(|_, _| ()).expect_err("this must not boot").to_string()
}

/// What cannot be is refused with a sentence that has the values.
#[test]
fn impossible_machines_are_refused() {
    let whole = || Builder::new().bank(BASE, BASE + 64 * MIB);
    let text = || section(0, 2 * MIB, PteFlags::KERNEL_RX);
    let cases = [
        (Builder::new().bank(BASE + 8, BASE + PAGE_SIZE), "no range of RAM holds a whole page"),
        (
            whole().bank(BASE + MIB, BASE),
            "the range [0x0000000040100000, 0x0000000040000000) ends before it begins",
        ),
        (
            whole().bank(BASE + 63 * MIB, BASE + 65 * MIB),
            "the RAM ranges [0x0000000040000000, 0x0000000044000000) and [0x0000000043f00000, 0x0000000044100000) overlap",
        ),
        (
            whole().bank(LINEAR_BYTES - MIB, LINEAR_BYTES + MIB),
            "RAM at [0x000007fffff00000, 0x0000080000100000) is above 0x80000000000, the end of the linear map",
        ),
        (
            whole().section(text()),
            "image section at 0xffffffff80000000 stands in [0x0000000040200000, 0x0000000040400000), which is not reserved RAM",
        ),
        (
            with_image().section(ImageSection { bytes: 12, ..text() }),
            "image section at 0xffffffff80000000 (0x0000000040200000, 0xc bytes) is not whole pages",
        ),
        (
            with_image().section(ImageSection { flags: PteFlags::KERNEL_RX - PteFlags::READ_ONLY, ..text() }),
            "image section at 0xffffffff80000000 is both writable and executable",
        ),
        (with_image().section(text()), "two mappings of the kernel want 0xffffffff80000000"),
        (
            Builder::new().bank(BASE, BASE + 8 * PAGE_SIZE),
            "no 2097152 aligned bytes of RAM are left for vmemmap",
        ),
        (
            Builder::new().bank(BASE, BASE + PAGE_SIZE),
            "no 4096 aligned bytes of RAM are left for early page tables",
        ),
    ];
    for (machine, sentence) in cases {
        assert_eq!(error(machine), sentence);
    }
}

/// The heap may run out at any allocation of boot, that for folios among them: an error, not an abort.
#[test]
fn boot_survives_an_empty_heap() {
    let with_folios = |config: &mut MmConfig| {
        config.parse("hugepagesz", "32M").unwrap();
        config.parse("hugepages", "1").unwrap();
    };
    let machines = || [with_image().bank(BASE, BASE + 32 * MIB), with_image().config(with_folios)];
    let mut allocations = Vec::new();
    for n in 0..machines().len() {
        for k in 1.. {
            inject::fail_nth(k);
            let outcome = machines()[n].clone().try_boot(|mm, _| mm.hvo.at_boot().folios);
            if !inject::disarm() {
                assert_eq!(outcome, Ok(n as u64));
                allocations.push(k);
                break;
            }
            assert_eq!(outcome, Err(BootError::NoHeap), "allocation {k}");
        }
    }
    assert!(2 < allocations[0] && allocations[0] < allocations[1], "{allocations:?}");
}

/// Early tables come from mapped RAM only, wherever that is.
#[test]
fn early_tables_stay_in_mapped_ram() {
    Builder::new().mapped(BASE + 100 * MIB, BASE + 101 * MIB).boot(|mm, _| {
        let root = mm.kernel_root().raw();
        assert!((BASE + 100 * MIB..BASE + 101 * MIB).contains(&root));
    });
    let nothing_mapped = Builder::new().mapped(BASE, BASE);
    assert_eq!(error(nothing_mapped), "no 4096 aligned bytes of RAM are left for early page tables");
}

/// Other CPUs install the same root and find the same struct pages.
#[test]
fn other_cpus_join() {
    Builder::new().cpus(3).boot(|mm, env| {
        let page = page_of(mm.ram()[0].start);
        let kinds = std::sync::Mutex::new(Vec::new());
        let look = || {
            Machine::set_kernel_root(mm.kernel_root());
            kinds.lock().unwrap().push(page.kind());
        };
        let jobs = (0..3).map(|_| -> model::Job<'_> { Box::new(look) }).collect();
        crate::testkit::run_on_cpus(env, jobs);
        assert_eq!(*kinds.lock().unwrap(), [page.kind(); 3]);
    });
}
