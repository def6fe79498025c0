//! That each assertion fires at the store, and that what is compared is compared.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::bbm::Why;
use arch::features::{BbmLevel, Features};
use arch::model::MachineDesc;
use arch::{Order, VirtAddr};

use super::*;
use crate::Mm;
use crate::page::PageKind;
use crate::pgtable::{AsidCell, FlushTag, Flusher};
use crate::testkit::{self, Builder};

const RW: PteFlags = PteFlags::KERNEL_RW;
const RO: PteFlags = PteFlags::KERNEL_RO;

/// A frame of zeros; it is not given back.
fn frame(mm: &Mm) -> PhysAddr {
    let pa = mm.alloc_pages(Order::PAGE, PageKind::Kernel).unwrap().pfn().phys();
    Machine::zero(pa, PAGE_SIZE);
    pa
}

fn page(pa: PhysAddr, flags: PteFlags) -> Desc {
    Desc::leaf(pa, Level::L3, flags)
}

/// Runs `f` on a machine of this FEAT_BBM level, without a check at the end: frames are lost here.
fn on<R>(bbm: BbmLevel, f: impl FnOnce(&Mm) -> R) -> R {
    let features = Features { bbm, ..MachineDesc::DEFAULT.features };
    Builder::new().features(features).try_boot(|mm, _| f(mm)).unwrap()
}

/// A writable page that comes to map another frame at once is refused, with the row's sentence.
#[test]
#[should_panic(
    expected = "break-before-make is needed: the output address changes while one side grants write"
)]
fn a_moved_writable_page_is_refused() {
    on(BbmLevel::Level2, |mm| {
        let (base, other) = (mm.alloc_stack(1).unwrap(), frame(mm));
        mm.with_kernel_tree(|tree, flusher| {
            let entry = tree.entry(flusher, base, Level::L3).unwrap();
            let old = entry.desc();
            entry.relax(old, page(other, RW));
        });
    });
}

/// Gives `f` the entry for `va` of the kernel's tree as if the tree were a user root: then the lock that is held is
/// the wrong one.
fn with_the_wrong_lock(mm: &Mm, va: VirtAddr, f: impl FnOnce(Entry<'_>)) {
    let cell = AsidCell::new();
    let flusher = Flusher::new(FlushTag::User(&cell), &mm.stats);
    mm.with_kernel_tree(|tree, _| f(tree.entry(flusher, va, Level::L3).unwrap()));
}

/// A store without the lock of the tree is refused, even of what stands there already.
#[test]
#[should_panic(expected = "without a lock of rank 50")]
fn a_store_without_the_lock_is_refused() {
    testkit::boot(|mm| {
        let base = mm.alloc_stack(1).unwrap();
        with_the_wrong_lock(mm, base, |entry| {
            let desc = entry.desc();
            entry.relax(desc, desc);
        });
    });
}

/// Making an entry is a store as any other: it needs the lock too.
#[test]
#[should_panic(expected = "without a lock of rank 50")]
fn a_make_without_the_lock_is_refused() {
    testkit::boot(|mm| {
        let above = mm.alloc_stack(1).unwrap().add(PAGE_SIZE);
        with_the_wrong_lock(mm, above, |entry| entry.make(page(frame(mm), RW)));
    });
}

/// A read-only page may map another frame that holds the same bytes, up to the last: they are compared.
#[test]
fn bytes_are_compared() {
    on(BbmLevel::Level0, |mm| {
        let (from, to) = (frame(mm), frame(mm));
        let ask = || need(page(from, RO), page(to, RO), Level::L3);
        assert_eq!(ask(), BbmNeed::FlushAfter);
        Machine::write_bytes(to.add(PAGE_SIZE - 1), &[1]);
        assert_eq!(ask(), BbmNeed::BreakBeforeMake { why: Why::OutputAddressContents });
    });
}

/// Registers are not read to be compared: to map others read-only needs the break.
#[test]
fn registers_are_not_compared() {
    on(BbmLevel::Level0, |_| {
        let [from, to] = [0x900_0000, 0x901_0000]
            .map(|pa| page(PhysAddr::new(pa), PteFlags::KERNEL_DEVICE | PteFlags::READ_ONLY));
        let why = Why::OutputAddressContents;
        assert_eq!(need(from, to, Level::L3), BbmNeed::BreakBeforeMake { why });
    });
}

/// A block and a table replace each other at once where they translate alike and FEAT_BBM level 2 is there. One page
/// with other rights is enough for a refusal.
#[test]
fn translations_are_compared() {
    let size = BbmNeed::BreakBeforeMake { why: Why::Size };
    let levels = [
        (BbmLevel::Level0, size),
        (BbmLevel::Level1, size),
        (BbmLevel::Level2, BbmNeed::FlushAfter),
        (BbmLevel::Level3, BbmNeed::FlushAfter),
    ];
    for (bbm, alike) in levels {
        on(bbm, |mm| {
            let (huge, table) = (MachineDesc::DEFAULT.ram_base, frame(mm));
            let set = |n, flags| Machine::write_desc(table.add(8 * n), page(huge.add(n * PAGE_SIZE), flags));
            (0..ENTRIES_PER_TABLE as u64).for_each(|n| set(n, RW));
            let (block, link) = (Desc::leaf(huge, Level::L2, RW), Desc::table(table));
            let ask = || [need(block, link, Level::L2), need(link, block, Level::L2)];
            assert_eq!(ask(), [alike; 2], "{bbm:?}");
            set(77, RO);
            assert_eq!(ask(), [size; 2], "{bbm:?}");
        });
    }
}
