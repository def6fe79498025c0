//! Reservations and promotion on the model: users fault as on the machine, and the judge looks at every store.

mod collapse;
mod direct;
mod exhaust;
mod filled;
mod group;
mod held;
mod huge;
mod khugepaged;
mod pieces;
mod pressure;
mod promote;
mod races;
mod release;
mod reserve;
mod rests;
mod review;
mod scans;
mod settings;
mod snapshot;
mod snapshot_races;
mod split;
mod sync;
mod told;
mod zeros;

use arch::addr::PAGE_SIZE;
use arch::contract::{FaultStatus, Privilege};
use arch::{Access, Cpu, Level, Machine, Order, PageSize, PhysAddr, PhysMem, VirtAddr, model};

use super::{again, promoter};
use crate::Mm;
use crate::fault::FaultInfo;
use crate::kalloc::KArc;
use crate::page::PageKind;
use crate::space::{AddressSpace, MapProt, MmapRequest};
use crate::stats::Counter;
use crate::testkit::{self, Builder, HostEnv};

/// Ranges of 2 MiB that are mapped.
const RANGES: u64 = 4;
/// The first of them.
const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
const RANGE_BYTES: u64 = PageSize::Size2M.bytes();
const RANGE_PAGES: u64 = Order::PMD.pages();

/// A space with one writable VMA of [`RANGES`] ranges, active on vCPU 0.
struct Site<'t> {
    mm: &'t Mm,
    env: &'static HostEnv,
    space: KArc<AddressSpace>,
}

/// Boots, maps, runs `f`, and holds the number of free pages against that of before. All free memory holds junk, so
/// whoever forgets to zero a page shows it.
fn with_site(builder: Builder, f: impl FnOnce(&Site<'_>)) {
    builder.boot(|mm, env| {
        spoil(mm);
        let before = mm.free_page_count();
        let site = Site { mm, env, space: mm.new_space().unwrap() };
        let request = MmapRequest::anonymous(RANGES * RANGE_BYTES, MapProt::READ | MapProt::WRITE);
        mm.mmap(&site.space, &request.fixed(BASE.raw())).unwrap();
        let fault = |va, access, status| site.fault(va, access, status);
        model::with_fault_handler(&fault, || {
            mm.activate_space(Some(&site.space));
            f(&site);
            site.check();
            mm.activate_space(None);
        });
        mm.destroy_space(&site.space);
        assert_eq!(mm.stats.get(Counter::NrThpReserved), 0, "pages stay reserved after the space's end");
        let free = mm.free_page_count() + mm.huge_zero.kept_pages();
        assert_eq!(free, before, "free pages at the end");
    });
}

/// 64 MiB of RAM and a threshold.
fn threshold(pages: u64) -> Builder {
    Builder::new()
        .ram_mib(64)
        .cpus(4)
        .config(|config| config.promotion_threshold = crate::config::PromotionThreshold::new(pages).unwrap())
}

/// Fills every block of 2 MiB that is free with junk.
fn spoil(mm: &Mm) {
    let blocks: Vec<_> = std::iter::from_fn(|| mm.alloc_pages(Order::PMD, PageKind::Kernel).ok()).collect();
    for block in blocks {
        for n in 0..Order::PMD.bytes() / PAGE_SIZE {
            Machine::write_bytes(block.pfn().phys().add(n * PAGE_SIZE), &[0xa5; PAGE_SIZE as usize]);
        }
        mm.free_pages(block, Order::PMD);
    }
}

/// What the test stores in a page: never 0.
fn word(page: u64) -> u64 {
    0x5afe_0000_0000_0001 + page
}

/// Address of page `page`, counted from [`BASE`] over all ranges.
fn va(page: u64) -> VirtAddr {
    BASE.add(page * PAGE_SIZE)
}

impl Site<'_> {
    fn fault(&self, va: VirtAddr, access: Access, status: FaultStatus) -> bool {
        let info = FaultInfo { va, access, privilege: Privilege::User, status };
        self.mm.handle_mm_fault(&self.space, &info).is_ok()
    }
    /// Stores [`word`] in a page, as the user.
    fn store(&self, page: u64) {
        model::user_store(va(page), word(page)).unwrap();
    }
    fn store_all(&self, pages: impl IntoIterator<Item = u64>) {
        pages.into_iter().for_each(|page| self.store(page));
    }
    /// First and last word of a page, as the user sees them.
    fn load(&self, page: u64) -> (u64, u64) {
        let last = va(page).add(PAGE_SIZE - 8);
        (model::user_load(va(page)).unwrap(), model::user_load(last).unwrap())
    }
    /// Every page of the first range reads as stored where `stored` says so, and as zeros elsewhere.
    fn assert_contents(&self, stored: impl Fn(u64) -> bool) {
        for page in 0..RANGE_PAGES {
            let expected = if stored(page) { word(page) } else { 0 };
            assert_eq!(self.load(page), (expected, 0), "page {page}");
        }
    }
    fn get(&self, counter: Counter) -> u64 {
        self.mm.stats.get(counter)
    }
    /// Level and output address of the leaf for a page.
    fn leaf(&self, page: u64) -> Option<(Level, PhysAddr)> {
        let leaf = self.space.ptl.lock().walk(va(page)).leaf()?;
        Some((leaf.level, leaf.desc.output(leaf.level)))
    }
    fn is_block(&self, page: u64) -> bool {
        self.leaf(page).is_some_and(|(level, _)| level == Level::L2)
    }
    /// Everything against a full scan.
    fn check(&self) {
        testkit::check(self.mm);
    }
    fn drain(&self) -> u64 {
        promoter::drain(self.mm)
    }
}
