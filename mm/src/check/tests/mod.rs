//! Everything that the check claims to find, it finds: each row plants one sort of damage in a machine that is
//! otherwise whole, and names the sentence, and the page where there is one.

mod lists;
mod mappings;
mod pools;
mod tables;

use std::collections::BTreeSet;

use arch::contract::{Access, Privilege};
use arch::{Desc, Level, Machine, Mmu, Order, Pfn, PhysMem, VirtAddr};

use crate::Mm;
use crate::config::{ThpMode, VmemmapMap};
use crate::kalloc::KArc;
use crate::page::{PageKind, PageRef};
use crate::pgtable::{Gather, PtRoot, TableStock};
use crate::space::{AddressSpace, MapFlags, MapProt, MmapRequest};
use crate::testkit::{Builder, HostEnv, run_as_user};

/// A sort of damage: the sentence, the machine, and what plants it and says which page it is about.
type Row = (&'static str, fn() -> Builder, fn(&Site<'_>) -> Option<Pfn>);

const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);
/// Where [`Site::map`] begins.
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);

/// 32 MiB of RAM, pages only; vmemmap by pages.
fn small() -> Builder {
    thp(ThpMode::Never)
}

/// As [`small`], with reservations of huge pages.
fn reserving() -> Builder {
    thp(ThpMode::Reserve)
}

fn thp(mode: ThpMode) -> Builder {
    Builder::new().ram_mib(32).config(move |config| {
        config.thp = mode;
        config.vmemmap = VmemmapMap::Pte;
    })
}

/// A machine with one address space.
struct Site<'t> {
    mm: &'t Mm,
    env: &'static HostEnv,
    space: KArc<AddressSpace>,
}

impl Site<'_> {
    /// A given-out block.
    fn block(&self, order: u8, kind: PageKind) -> PageRef {
        self.mm.alloc_pages(Order::new(order), kind).unwrap()
    }
    /// A given-out page of the kernel.
    fn page(&self) -> PageRef {
        self.block(0, PageKind::Kernel)
    }
    /// Maps `bytes` at [`BASE`] + `at`, and returns the address.
    fn map(&self, at: u64, bytes: u64, flags: MapFlags) -> VirtAddr {
        let request = MmapRequest::anonymous(bytes, RW).fixed(BASE.add(at).raw()).with(flags);
        self.mm.mmap(&self.space, &request).unwrap()
    }
    /// Stores into the page at `va` as the user, and returns the page.
    fn touch(&self, va: VirtAddr) -> PageRef {
        run_as_user(self.mm, self.env, &self.space, || arch::model::user_store(va, 1)).unwrap();
        let leaf = self.space.ptl.lock().walk(va).leaf().unwrap();
        crate::page::page_of(leaf.desc.output(leaf.level).pfn())
    }
    /// A mapped anonymous page: its address and the page.
    fn anon(&self) -> (VirtAddr, PageRef) {
        let va = self.map(0, 4 * MIB, MapFlags::empty());
        (va, self.touch(va))
    }
    /// Makes an invalid entry of the space valid.
    fn make_user(&self, va: VirtAddr, level: Level, desc: Desc) {
        let mut stock = TableStock::new(self.mm, 3).unwrap();
        let mut tree = self.space.ptl.lock();
        tree.entry_or_table(self.space.flusher(self.mm), va, level, &mut stock).unwrap().make(desc);
    }
    /// Makes a valid entry of the space invalid.
    fn clear_user(&self, va: VirtAddr, level: Level) {
        let mut gather = Gather::new(self.mm, self.space.tag());
        let mut tree = self.space.ptl.lock();
        let _ = tree.entry(self.space.flusher(self.mm), va, level).unwrap().clear(&mut gather);
        drop(tree);
        gather.finish();
    }
    /// Makes an invalid entry of the kernel's tree valid.
    fn make_kernel(&self, va: VirtAddr, level: Level, desc: Desc) {
        let mut stock = TableStock::new(self.mm, 3).unwrap();
        self.mm.with_kernel_tree(|tree: &mut PtRoot, flusher| {
            tree.entry_or_table(flusher, va, level, &mut stock).unwrap().make(desc);
        });
    }
    /// Writes a 32-bit field of a struct page that has no setter.
    fn poke(&self, page: PageRef, field: u64, value: u32) {
        let at = Machine::translate(page.address(), Access::Write, Privilege::Kernel).unwrap();
        Machine::write_bytes(at.add(field), &value.to_le_bytes());
    }
    /// Lets `page`'s link lead to `next`.
    fn poke_next(&self, page: PageRef, next: Option<PageRef>) {
        self.poke(page, 16, next.map_or(0, |next| next.pfn().raw() as u32 + 1));
    }
}

/// What the check says of the damage.
fn said(machine: Builder, plant: fn(&Site<'_>) -> Option<Pfn>) -> (Option<Pfn>, super::Inconsistency) {
    let outcome = machine.try_boot(|mm, env| {
        let site = Site { mm, env, space: mm.new_space().unwrap() };
        let pfn = plant(&site);
        (pfn, mm.check_all().expect_err("the damage was not found"))
    });
    outcome.unwrap()
}

fn all_rows() -> impl Iterator<Item = &'static Row> {
    [lists::ROWS, mappings::ROWS, pools::ROWS, tables::ROWS].into_iter().flatten()
}

fn run(rows: &[Row]) {
    for &(sentence, machine, plant) in rows {
        println!("{sentence}");
        let (pfn, wrong) = said(machine(), plant);
        assert_eq!((wrong.what, wrong.pfn), (sentence, pfn), "{wrong}");
        assert_ne!(wrong.expected, wrong.found);
        assert!(wrong.to_string().contains(": expected 0x"));
    }
}

/// There is a row for each sentence of each room's check, and none for any other.
#[test]
fn every_sentence_has_its_row() {
    let sources = [
        include_str!("../../buddy/check.rs"),
        include_str!("../../hugetlb/check.rs"),
        include_str!("../../hvo/check.rs"),
        include_str!("../../pgtable/check.rs"),
        include_str!("../../space/check.rs"),
        include_str!("../../thp/check.rs"),
        include_str!("../pages.rs"),
    ];
    let said: BTreeSet<&str> =
        sources.into_iter().flat_map(|source| source.split('"').skip(1).step_by(2)).collect();
    let planted: BTreeSet<&str> = all_rows().map(|row| row.0).collect();
    let missing: Vec<_> = said.symmetric_difference(&planted).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A machine without damage passes, also with all that the rows build before they damage it.
#[test]
fn whole_machines_pass() {
    for machine in [small(), reserving(), thp(ThpMode::Always)] {
        machine.boot(|mm, env| {
            assert_eq!(mm.hugetlb.set_nr(mm, 2).nr, 2);
            let site = Site { mm, env, space: mm.new_space().unwrap() };
            site.anon();
            site.touch(site.map(8 * MIB, 4 * MIB, MapFlags::HUGETLB));
            let stack = mm.alloc_stack(4).unwrap();
            let report = mm.check_all().unwrap();
            assert_eq!((report.all_pages(), report.spaces), (mm.ram_pages(), 1));
            mm.free_stack(stack, 4);
            mm.destroy_space(&site.space);
        });
    }
}
