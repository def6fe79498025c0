//! Walk B: the process `hugetlb` maps a page of the pool; afterwards its folio gives back its struct pages, and gets
//! them again.
//!
//! HVO treats folios as they enter the pool, so the tour's folio enters it with HVO switched off, as the last one, and
//! is the first to be taken: the process gets it whole. Then HVO is switched on and treats it in the pool.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, Ordering};

use arch::sync::{Rank, SpinLock};
use arch::{Level, Order, Pfn, VirtAddr};
use mm::Mm;
use mm::config::{HvoSplit, HvoStrategy, VmemmapMap};
use mm::hugetlb::{Counts, HugeSize};
use mm::hvo::{Switch, describe};
use mm::page::{Flags, PageKind, page_of};

use super::remap;
use super::stop::Stop;
use super::walk_a::{check_hardware, parse, walk};
use crate::process::{self, Observer, Process};
use crate::{println, show, the_mm};

/// The pool before the process began.
static POOL: SpinLock<Counts> =
    SpinLock::new(Rank(1), Counts { nr: 0, free: 0, reserved: 0, surplus: 0, overcommit: 0 });
/// The folio that the process got; 0: none.
static FOLIO: AtomicU64 = AtomicU64::new(0);

/// Performs the walk.
pub(super) fn run(mm: &'static Mm) {
    println!("\nWalk B: hugetlb page, HVO");
    FOLIO.store(0, Ordering::Relaxed);
    let size = mm.hugetlb.counts(HugeSize::M2).nr;
    if let Some(error) = grow_by_whole_folio(mm) {
        Stop::begin("B", "one more folio for the pool").check(false, format_args!("{error}"));
        return;
    }
    *POOL.lock() = mm.hugetlb.counts(HugeSize::M2);
    let status = process::run("hugetlb", &["hugetlb", "1"], Some(Observer::Stops(observe)))
        .map(|process| process.wait());
    let mut stop = Stop::begin("B", "the process verified the page's contents, and ended");
    match status {
        Ok(status) => stop.check(status.shell_code() == 0, format_args!("it ended with {status}")),
        Err(error) => stop.check(false, format_args!("hugetlb: {error}")),
    }
    drop(stop);
    let folio = FOLIO.load(Ordering::Relaxed);
    if mm.hvo.strategy() == HvoStrategy::Off {
        println!("    B.4 to B.9 are left out: the kernel was booted with hvo=off");
    } else if (mm.config.vmemmap, mm.hvo.split()) == (VmemmapMap::Pmd, HvoSplit::Refuse) {
        println!("    B.4 to B.9 are left out: with hvo_split=refuse the blocks of vmemmap stay");
    } else if folio != 0 {
        let head = page_of(Pfn::new(folio));
        let before = describe(mm, head.pfn());
        remap::optimise(mm, head, &before);
        remap::restore(mm, head, size);
    }
    let back = mm.hugetlb.set_nr(mm, HugeSize::M2, size);
    if back.persistent != size {
        Stop::begin("B", "the pool").check(false, format_args!("{} folios, {size} before", back.persistent));
    }
}

/// One folio more, with struct pages of its own, in front of the free list.
fn grow_by_whole_folio(mm: &Mm) -> Option<&'static str> {
    let switch = mm.hvo.switch();
    // Off is always possible, and so is what was in force.
    let _ = mm.hvo.set_switch(mm, Switch::Off);
    let nr = mm.hugetlb.counts(HugeSize::M2).nr;
    let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, nr + 1).persistent > nr;
    let _ = mm.hvo.set_switch(mm, switch);
    (!grown).then_some("there is no free block of 2 MiB")
}

fn observe(process: &Process, line: &str) {
    let mm = the_mm();
    match parse(line) {
        Some(("hugetlb-reserved", va)) => reserved(mm, process, va),
        Some(("hugetlb-mapped", va)) => mapped(mm, process, va),
        _ => {}
    }
}

fn print_pool(when: &str, counts: &Counts) {
    println!("    pool {when}: {} folios, {} free, {} promised", counts.nr, counts.free, counts.reserved);
}

/// mmap has returned.
fn reserved(mm: &Mm, process: &Process, va: VirtAddr) {
    let (before, now) = (*POOL.lock(), mm.hugetlb.counts(HugeSize::M2));
    let mut stop =
        Stop::begin("B.1", "syscall mmap(MAP_HUGETLB): a page of the pool is promised, nothing is mapped");
    if let Some(vma) = process.space().vma_at(va) {
        println!("    {vma}");
    }
    print_pool("before", &before);
    print_pool("now   ", &now);
    stop.check(
        now == Counts { reserved: before.reserved + 1, ..before },
        format_args!("one more promise was expected"),
    );
    stop.check(walk(process, va).leaf().is_none(), format_args!("{va} is mapped already"));
}

/// Every byte of the page is written.
fn mapped(mm: &Mm, process: &Process, va: VirtAddr) {
    let (before, now) = (*POOL.lock(), mm.hugetlb.counts(HugeSize::M2));
    let walk = walk(process, va);
    let mut stop = Stop::begin("B.2", "hugetlb::fault: the first touch mapped it by one block");
    show::walk(&walk);
    let Some(leaf) = walk.leaf() else {
        return stop.check(false, format_args!("{va} is not mapped"));
    };
    let frame = leaf.desc.output(leaf.level);
    check_hardware(&mut stop, va, frame);
    stop.check(leaf.level == Level::L2, format_args!("the leaf is of level {}", leaf.level));
    drop(stop);
    let mut stop =
        Stop::begin("B.3", "hugetlb::pool: the folio came from the free list, the promise is kept");
    print_pool("now   ", &now);
    let head = page_of(frame.pfn());
    show::struct_page(head, head.head(mm.config.tails));
    let kept = now.free + 1 == before.free && now.reserved == before.reserved;
    stop.check(kept, format_args!("one free folio fewer was expected"));
    stop.check(
        head.kind() == PageKind::Hugetlb && head.order() == Order::PMD,
        format_args!("it is no hugetlb folio"),
    );
    stop.check(!head.flags().contains(Flags::HVO), format_args!("it is not the folio that entered last"));
    FOLIO.store(frame.pfn().raw(), Ordering::Relaxed);
}
