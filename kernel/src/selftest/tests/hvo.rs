//! HVO on the machine: a folio gives back its struct pages and gets them again, while others look.

use core::sync::atomic::{AtomicU64, Ordering};

use arch::contract::{Cpu, FaultStatus, Privilege};
use arch::layout::STRUCT_PAGE_BYTES;
use arch::pte::PteFlags;
use arch::{Access, Level, Machine, Mmu, Order};
use mm::Mm;
use mm::config::HvoStrategy;
use mm::hugetlb::HugeSize;
use mm::hvo::layout::Layout;
use mm::hvo::{self, HvoError, describe};
use mm::page::{FolioRef, PageKind, PageRef};
use mm::stats::Counter;
use mm::steps::{Step, StepKind};

use super::kit::comes;
use crate::selftest::{Failure, NotPassed, Verdict, check, check_eq, require, selftest};
use crate::walkers::{Looks, Walkers};
use crate::{env, time};

selftest!("hvo::round_trip", round_trip);
selftest!("hvo::only_the_head_can_be_written", only_the_head_can_be_written);
selftest!("hvo::every_cpu_reads_the_right_head", every_cpu_reads_the_right_head);
selftest!("hvo::walkers_get_on_during_remaps", walkers_get_on_during_remaps);
selftest!("hvo::walkers_find_what_is_wrong", walkers_find_what_is_wrong);
selftest!("hvo::walkers_wait_for_broken_entries", walkers_wait_for_broken_entries);
selftest!("hvo::wrong_folios_are_refused", wrong_folios_are_refused);
selftest!("hvo::the_free_folios_of_the_pool", the_free_folios_of_the_pool);

/// A folio as it stands in the pool: hugetlb, count 0. Restored and given back when dropped.
struct Folio {
    mm: &'static Mm,
    owned: Option<FolioRef>,
    head: PageRef,
}

impl Folio {
    fn new(mm: &'static Mm) -> Result<Folio, NotPassed> {
        let failed = |what| NotPassed::from(Failure::new(file!(), line!(), format_args!("{what}")));
        let owned = mm.alloc_pages(Order::PMD, PageKind::Hugetlb).map_err(|_| failed("no block of 2 MiB"))?;
        let head = owned.page();
        head.prep_compound(PageKind::Hugetlb, Order::PMD, mm.config.tails);
        let folio = Folio { mm, owned: Some(owned), head };
        // A walker may hold a reference for a moment.
        if comes(|| head.freeze(1)) { Ok(folio) } else { Err(failed("a new folio is not frozen")) }
    }
    fn optimise(&self) -> Verdict {
        hvo::optimize_folio(self.mm, self.head).map_err(|error| hvo_failed("optimise", error))
    }
    fn restore(&self) -> Verdict {
        hvo::restore_folio(self.mm, self.head).map_err(|error| hvo_failed("restore", error))
    }
    /// The first page that does not lead to the head.
    fn astray(&self) -> Option<PageRef> {
        let encoding = self.mm.config.tails;
        (0..512).map(|n| self.head.nth(n)).find(|page| page.head(encoding) != self.head)
    }
}

impl Drop for Folio {
    fn drop(&mut self) {
        if self.head.flags().contains(mm::page::Flags::HVO) {
            // A folio that cannot be restored is lost, which the count of free pages shows.
            if hvo::restore_folio(self.mm, self.head).is_err() {
                return;
            }
        }
        if let Some(owned) = self.owned.take() {
            self.mm.free_pages(owned, Order::PMD);
        }
    }
}

fn hvo_failed(what: &str, error: HvoError) -> NotPassed {
    Failure::new(file!(), line!(), format_args!("{what}: {error}")).into()
}

/// A walker for each CPU.
pub(super) fn walkers(mm: &Mm) -> Result<Walkers, NotPassed> {
    let walkers = Walkers::start(mm.env.online_cpus());
    walkers.map_err(|error| Failure::new(file!(), line!(), format_args!("{error}")).into())
}

pub(super) fn nothing_wrong(looks: Looks) -> Verdict {
    check_eq!(looks.wrong, 0, "wrong answers of walkers");
    Ok(())
}

fn is_on(mm: &Mm) -> bool {
    mm.hvo.strategy() != HvoStrategy::Off
}

/// Seven of eight vmemmap pages go to the buddy allocator and come back; entries, rights, tails as they must be.
fn round_trip(mm: &'static Mm) -> Verdict {
    require!(is_on(mm), "HVO");
    let folio = Folio::new(mm)?;
    let walkers = walkers(mm)?;
    walkers.name_frozen(folio.head);
    let free = || mm.free_page_count() + mm.hvo.kept_pages(mm);
    // A page that is freed while a walker holds it is free a moment later.
    let frees = |pages| comes(|| free() == pages);
    let pfn = folio.head.pfn();
    let (before, pages) = (describe(mm, pfn), free());
    folio.optimise()?;
    let (during, seven) = (describe(mm, pfn), frees(pages + 7));
    let astray = folio.astray();
    folio.restore()?;
    let (after, none) = (describe(mm, pfn), frees(pages));
    walkers.name_nobody();
    nothing_wrong(walkers.end())?;
    check!(seven && none, "not seven pages were freed, or they are not back: {pages} before, {} now", free());
    check!(astray.is_none(), "{astray:?} does not lead to its head while optimised");
    check_eq!(during[0].output(), before[0].output(), "the head's frame");
    for n in 1..8 {
        let read_only = during[n].flags().contains(PteFlags::READ_ONLY);
        check!(read_only && during[n].level == Level::L3, "entry {n}, optimised: {}", during[n]);
        check_eq!(during[n].output(), during[1].output(), "the shared frame");
        check!(!after[n].flags().contains(PteFlags::READ_ONLY), "entry {n}, restored: {}", after[n]);
        let own = (0..n).all(|m| after[m].output() != after[n].output());
        check!(own && after[n].output().is_some(), "entry {n}, restored, shares: {}", after[n]);
    }
    let astray = folio.astray();
    check!(astray.is_none(), "{astray:?} does not lead to its head after the restore");
    Ok(())
}

/// The head's struct page can be written while the folio is optimised; the tails of the shared page can only be
/// read, and the hardware calls a write a permission fault.
fn only_the_head_can_be_written(mm: &'static Mm) -> Verdict {
    require!(is_on(mm), "HVO");
    let folio = Folio::new(mm)?;
    let _walkers = walkers(mm)?;
    folio.optimise()?;
    folio.head.set_private(0x5eed);
    let stored = folio.head.private();
    folio.head.set_private(0);
    check_eq!(stored, 0x5eed, "the head's word");
    for n in 1..8 {
        let tail = folio.head.nth(n * (4096 / STRUCT_PAGE_BYTES)).address();
        let write = Machine::translate(tail, Access::Write, Privilege::Kernel);
        check_eq!(write, Err(FaultStatus::Permission(Level::L3)), "a write to a tail");
        let read = Machine::translate(tail, Access::Read, Privilege::Kernel);
        check!(read.is_ok(), "a read of the tail at {tail}: {read:?}");
    }
    Ok(())
}

/// On every CPU all 512 pages lead to the head: before, while optimised, and after the restore.
fn every_cpu_reads_the_right_head(mm: &'static Mm) -> Verdict {
    require!(is_on(mm), "HVO");
    let folio = Folio::new(mm)?;
    let walkers = walkers(mm)?;
    let (astray, looked) = (AtomicU64::new(0), AtomicU64::new(0));
    let look = || {
        let wrong = (0..512).filter(|&n| folio.head.nth(n).head(mm.config.tails) != folio.head).count();
        astray.fetch_add(wrong as u64, Ordering::Relaxed);
        looked.fetch_add(1, Ordering::Relaxed);
    };
    mm.env.run_on_each_cpu(&look);
    folio.optimise()?;
    mm.env.run_on_each_cpu(&look);
    folio.restore()?;
    mm.env.run_on_each_cpu(&look);
    check_eq!(looked.load(Ordering::Relaxed), 3 * mm.env.online_cpus() as u64, "looks");
    check_eq!(astray.load(Ordering::Relaxed), 0, "pages that led astray");
    nothing_wrong(walkers.end())
}

/// Threads that try to get every frame get on while a folio is remapped again and again, and get no reference to it.
fn walkers_get_on_during_remaps(mm: &'static Mm) -> Verdict {
    require!(is_on(mm), "HVO");
    let folio = Folio::new(mm)?;
    let walkers = walkers(mm)?;
    walkers.name_frozen(folio.head);
    let mut progress = true;
    for _ in 0..8 {
        for remap in [Folio::optimise, Folio::restore] {
            let asked = walkers.looks().asked;
            remap(&folio)?;
            progress &= comes(|| walkers.looks().asked > asked + 1000);
        }
    }
    walkers.name_nobody();
    let looks = walkers.end();
    check!(progress, "the walkers stood still: {looks}");
    check!(looks.got > 0, "the walkers got no reference at all: {looks}");
    nothing_wrong(looks)
}

/// A folio that can be got, though it was named as one that cannot, is found, and so is where it is.
fn walkers_find_what_is_wrong(mm: &'static Mm) -> Verdict {
    let walkers = walkers(mm)?;
    let block = mm.alloc_pages(Order::PMD, PageKind::Kernel);
    let block = block.map_err(|error| Failure::new(file!(), line!(), format_args!("{error:?}")))?;
    let first = block.pfn();
    walkers.name_frozen(*block);
    let found = comes(|| walkers.looks().wrong > 0);
    walkers.name_nobody();
    let looks = walkers.end();
    mm.free_pages(block, Order::PMD);
    check!(found, "nobody found it: {looks}");
    check_eq!(looks.wrong_at, Some(first), "the frame with a wrong answer");
    Ok(())
}

/// For how long entries stay broken, for others to find them so.
const BROKEN_NS: u64 = 5_000_000;

fn linger_while_broken(step: &Step) {
    if matches!(step.kind, StepKind::HvoBreak | StepKind::RestoreBreak) {
        let until = time::now_ns() + BROKEN_NS;
        while time::now_ns() < until {
            Machine::relax();
        }
    }
}

/// Who touches a struct page whose entry is broken waits in the fault, whatever it holds (a walker has its interrupts
/// masked where it gets a folio), and goes on when the entry is made.
fn walkers_wait_for_broken_entries(mm: &'static Mm) -> Verdict {
    require!(mm.hvo.strategy() == HvoStrategy::Fault, "hvo=fault");
    require!(mm.env.online_cpus() > 1, "two CPUs");
    let folio = Folio::new(mm)?;
    let walkers = walkers(mm)?;
    walkers.name_frozen(folio.head);
    let waits = || mm.stats.get(Counter::HvoFaultWait);
    let before = waits();
    env::listen(Some(linger_while_broken));
    let mut remapped = Ok(());
    for _ in 0..200 {
        remapped = folio.optimise().and_then(|()| folio.restore());
        if remapped.is_err() || waits() > before {
            break;
        }
    }
    env::listen(None);
    remapped?;
    let (asked, waited) = (walkers.looks().asked, waits() - before);
    let progress = comes(|| walkers.looks().asked > asked + 1000);
    walkers.name_nobody();
    check!(waited > 0, "nobody met a broken entry");
    check!(progress, "who met one did not get on: {}", walkers.looks());
    nothing_wrong(walkers.end())
}

/// A folio that is optimised, not optimised, in use, or none, is refused with the reason and stays as it is.
fn wrong_folios_are_refused(mm: &'static Mm) -> Verdict {
    require!(is_on(mm), "HVO");
    let folio = Folio::new(mm)?;
    let (head, pfn) = (folio.head, folio.head.pfn());
    check_eq!(hvo::restore_folio(mm, head), Err(HvoError::NotOptimized(pfn)), "restore of a whole folio");
    head.set_refcount(1);
    let in_use = hvo::optimize_folio(mm, head);
    head.set_refcount(0);
    check_eq!(in_use, Err(HvoError::NotFrozen(pfn, 1)), "a folio in use");
    check_eq!(hvo::optimize_folio(mm, head.nth(1)), Err(HvoError::NotHugetlb(pfn.add(1))), "a tail");
    folio.optimise()?;
    check_eq!(hvo::optimize_folio(mm, head), Err(HvoError::Optimized(pfn)), "optimise twice");
    Ok(())
}

/// The folios of all pools are restored and optimised as they lie there, those of boot among them that were optimised
/// before they had struct pages.
fn the_free_folios_of_the_pool(mm: &'static Mm) -> Verdict {
    require!(is_on(mm), "HVO");
    let counts = mm.hugetlb.counts(HugeSize::M2);
    require!(counts.free > 0, "a folio in the pool");
    let sizes = HugeSize::ALL.into_iter().filter(|size| Layout::of(size.order()).is_ok());
    let free: u64 = sizes.map(|size| mm.hugetlb.counts(size).free).sum();
    let walkers = walkers(mm)?;
    let optimized = || mm.stats.get(Counter::NrHvoOptimized);
    let before = optimized();
    let restored = mm.hugetlb.restore_free(mm);
    let now = optimized();
    let again = mm.hugetlb.optimize_free(mm);
    nothing_wrong(walkers.end())?;
    check_eq!((restored.first_error, again.first_error), (None, None), "errors");
    check_eq!((now, restored.done), (0, before), "folios still optimised, folios restored");
    check_eq!((again.done, optimized()), (free, free), "folios optimised");
    check_eq!(mm.hugetlb.counts(HugeSize::M2), counts, "the pool's numbers");
    Ok(())
}
