//! That each assertion fires, and that what is allowed passes. Nothing is stored here: only asked.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::features::{BbmLevel, Features};
use arch::layout::linear;
use arch::model::MachineDesc;
use arch::{Order, VirtAddr};

use super::*;
use crate::Mm;
use crate::locks::KERNEL_TABLE;
use crate::page::PageKind;
use crate::pgtable::{AsidCell, FlushTag, Flusher, Gather, PtRoot};
use crate::testkit::{self, Builder};

const RW: PteFlags = PteFlags::KERNEL_RW;
const RO: PteFlags = PteFlags::KERNEL_RO;

/// Asks of a store of `new` to the page entry for `va` of the kernel's tree, under its lock.
fn ask(mm: &Mm, va: VirtAddr, new: Desc) {
    mm.with_kernel_tree(|tree, flusher| {
        store(&tree.entry(flusher, va, Level::L3).unwrap(), new, KERNEL_TABLE)
    });
}

/// A new frame of zeros; it is not given back.
fn frame(mm: &Mm) -> PhysAddr {
    let pa = mm.alloc_pages(Order::PAGE, PageKind::Kernel).unwrap().pfn().phys();
    Machine::zero(pa, PAGE_SIZE);
    pa
}

/// A mapped page of the kernel, read-only and zero.
fn read_only_page(mm: &Mm) -> VirtAddr {
    let base = mm.alloc_stack(1).unwrap();
    let mut gather = Gather::new(mm, FlushTag::Kernel);
    mm.with_kernel_tree(|tree, flusher| {
        let entry = tree.entry(flusher, base, Level::L3).unwrap();
        let page = entry.desc().output(Level::L3);
        Machine::zero(page, PAGE_SIZE);
        entry.tighten(Desc::leaf(page, Level::L3, RO), &mut gather);
    });
    gather.finish();
    base
}

/// Runs `f` on a machine of this FEAT_BBM level, without a check at the end: frames are lost here.
fn on(bbm: BbmLevel, f: impl FnOnce(&Mm)) {
    let features = Features { bbm, ..MachineDesc::DEFAULT.features };
    Builder::new().features(features).try_boot(|mm, _| f(mm)).unwrap();
}

/// A writable page that comes to map another frame at once is refused, with the row's sentence.
#[test]
#[should_panic(
    expected = "break-before-make is needed: the output address changes while one side grants write"
)]
fn a_moved_writable_page_is_refused() {
    on(BbmLevel::Level2, |mm| {
        let base = mm.alloc_stack(1).unwrap();
        ask(mm, base, Desc::leaf(frame(mm), Level::L3, RW));
    });
}

/// A store without the lock of the tree is refused, even of what stands there already.
#[test]
#[should_panic(expected = "without a lock of rank 55")]
fn a_store_without_the_lock_is_refused() {
    testkit::boot(|mm| {
        let base = mm.alloc_stack(1).unwrap();
        let mut tree = PtRoot::new(mm.kernel_root());
        let entry = tree.entry(Flusher::new(FlushTag::Kernel, &mm.stats), base, Level::L3).unwrap();
        let desc = entry.desc();
        entry.relax(desc);
    });
}

/// Making an entry is a store as any other: it needs the lock too.
#[test]
#[should_panic(expected = "without a lock of rank 55")]
fn a_make_without_the_lock_is_refused() {
    testkit::boot(|mm| {
        let above = mm.alloc_stack(1).unwrap().add(PAGE_SIZE);
        let mut tree = PtRoot::new(mm.kernel_root());
        let entry = tree.entry(Flusher::new(FlushTag::Kernel, &mm.stats), above, Level::L3).unwrap();
        entry.make(Desc::leaf(frame(mm), Level::L3, RW));
    });
}

/// The lock of a user root is another: with the kernel's held, a store to a user root is refused.
#[test]
#[should_panic(expected = "without a lock of rank 50")]
fn another_trees_lock_is_no_lock() {
    testkit::boot(|mm| {
        let base = mm.alloc_stack(1).unwrap();
        let cell = AsidCell::new();
        mm.with_kernel_tree(|tree, _| {
            let flusher = Flusher::new(FlushTag::User(&cell), &mm.stats);
            let entry = tree.entry(flusher, base, Level::L3).unwrap();
            let desc = entry.desc();
            entry.relax(desc);
        });
    });
}

/// A read-only page may map another frame that holds the same bytes: they are compared, not taken as different.
#[test]
fn equal_bytes_are_compared() {
    on(BbmLevel::Level0, |mm| {
        let base = read_only_page(mm);
        ask(mm, base, Desc::leaf(frame(mm), Level::L3, RO));
    });
}

/// One byte that differs is enough for a refusal.
#[test]
#[should_panic(expected = "the output address changes and the contents differ")]
fn one_other_byte_is_refused() {
    on(BbmLevel::Level0, |mm| {
        let (base, other) = (read_only_page(mm), frame(mm));
        Machine::write_bytes(other.add(PAGE_SIZE - 1), &[1]);
        ask(mm, base, Desc::leaf(other, Level::L3, RO));
    });
}

/// Registers are not read to be compared: to map others read-only needs the break.
#[test]
#[should_panic(expected = "the output address changes and the contents differ")]
fn registers_are_not_compared() {
    on(BbmLevel::Level0, |_| {
        let device =
            |pa| Desc::leaf(PhysAddr::new(pa), Level::L3, PteFlags::KERNEL_DEVICE | PteFlags::READ_ONLY);
        if let need @ BbmNeed::BreakBeforeMake { .. } =
            need(device(0x900_0000), device(0x901_0000), Level::L3)
        {
            panic!("{need}");
        }
    });
}

/// Replaces the leaf of the linear map for `va` by a table that maps the same, but for what `change` makes of one
/// descriptor in it.
fn split(mm: &Mm, change: fn(Desc) -> Desc) {
    let va = linear(MachineDesc::DEFAULT.ram_base.add(64 << 20));
    let table = mm.alloc_table().unwrap();
    mm.with_kernel_tree(|tree, flusher| {
        let last = tree.walk(va).last();
        let below = last.level.next().unwrap();
        for n in 0..ENTRIES_PER_TABLE as u64 {
            let pa = last.desc.output(last.level).add(n * below.entry_bytes());
            let leaf = Desc::leaf(pa, below, last.desc.flags(last.level));
            Machine::write_desc(table.add(8 * n), if n == 77 { change(leaf) } else { leaf });
        }
        store(&tree.entry(flusher, va, last.level).unwrap(), Desc::table(table), KERNEL_TABLE);
    });
}

/// A block may give way at once to a table that translates alike, where FEAT_BBM level 2 is there.
#[test]
fn a_block_and_a_table_are_compared() {
    for bbm in [BbmLevel::Level2, BbmLevel::Level3] {
        on(bbm, |mm| split(mm, |leaf| leaf));
    }
}

/// The same at level 0 is refused.
#[test]
#[should_panic(expected = "block, table or contiguous size changes")]
fn a_split_at_level_0_is_refused() {
    on(BbmLevel::Level0, |mm| split(mm, |leaf| leaf));
}

/// One page in the table with other rights is enough for a refusal.
#[test]
#[should_panic(expected = "block, table or contiguous size changes")]
fn a_table_with_one_other_page_is_refused() {
    on(BbmLevel::Level2, |mm| split(mm, |leaf| Desc::from_raw(leaf.raw() | PteFlags::READ_ONLY.bits())));
}
