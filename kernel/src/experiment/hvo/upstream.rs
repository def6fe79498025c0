//! Pools of 1 GiB, with HVO on and off: the table by which a series for Linux was judged in November 2024.
//!
//! | operation | what is done |
//! |---|---|
//! | `allocate` | `nr_hugepages` of 1 GiB goes up to as many as memory has |
//! | `free` | it goes down to 0 |
//! | `demote` | of as many again, all become pages of 2 MiB |
//! | `free_2m` | `nr_hugepages` of 2 MiB goes down to 0 |
//!
//! Off comes first, so the splits of vmemmap are among what is counted when it is on.
#![forbid(unsafe_code)]

use mm::Mm;
use mm::hugetlb::HugeSize;
use mm::hvo::{HvoError, Switch};
use mm::stats::Counter;

use super::reading::Reading;
use super::sheet::Sheet;
use crate::println;

const OPERATIONS: [&str; 4] = ["allocate", "free", "demote", "free_2m"];

/// Prints the four operations; the pools are as before afterwards.
pub(super) fn run(mm: &'static Mm, sheet: &mut Sheet<'_, '_>) -> Option<()> {
    let before = [HugeSize::G1, HugeSize::M2].map(|size| mm.hugetlb.counts(size).persistent());
    let switch = mm.hvo.switch();
    let measured = measure(mm, sheet);
    let _ = mm.hvo.set_switch(mm, switch);
    let _ = mm.hugetlb.set_nr(mm, HugeSize::G1, before[0]);
    let _ = mm.hugetlb.set_nr(mm, HugeSize::M2, before[1]);
    measured
}

fn measure(mm: &'static Mm, sheet: &mut Sheet<'_, '_>) -> Option<()> {
    // What is in the pools of both sizes would be counted among them.
    let _ = (mm.hugetlb.set_nr(mm, HugeSize::G1, 0), mm.hugetlb.set_nr(mm, HugeSize::M2, 0));
    let pages = most(mm)?;
    if pages == 0 {
        sheet.remark(format_args!("pools of 1 GiB are left out: memory has no page of it (MEM=4G has some)"));
        return Some(());
    }
    let off = cycle(mm, Switch::Off, pages)?;
    let on = cycle(mm, Switch::On, pages)?;
    for (name, (on, off)) in OPERATIONS.into_iter().zip(on.into_iter().zip(off)) {
        sheet.add(name, "pages", pages, "count");
        sheet.add(name, "off", off.ns, "ns");
        on.note(name, sheet);
        sheet.add(name, "permille", on.ns * 1000 / off.ns.max(1), "permille");
    }
    Some(())
}

/// How many pages of 1 GiB memory has, found by making them, without HVO.
fn most(mm: &Mm) -> Option<u64> {
    set_switch(mm, Switch::Off)?;
    let pages = mm.hugetlb.set_nr(mm, HugeSize::G1, u64::MAX).persistent;
    resize(mm, HugeSize::G1, 0)?;
    Some(pages)
}

/// The four operations.
fn cycle(mm: &'static Mm, switch: Switch, pages: u64) -> Option<[Reading; 4]> {
    set_switch(mm, switch)?;
    let measure = |work: &dyn Fn() -> Option<()>| {
        let mut done = None;
        let reading = Reading::of(mm, || done = work());
        done.map(|()| reading)
    };
    let optimized = || mm.stats.get(Counter::NrHvoOptimized);
    let before = optimized();
    let allocate = measure(&|| resize(mm, HugeSize::G1, pages))?;
    let expected = if switch == Switch::On { pages } else { 0 };
    if optimized() - before != expected {
        println!("error: {} of {pages} pages of 1 GiB are optimised", optimized() - before);
        return None;
    }
    let free = measure(&|| resize(mm, HugeSize::G1, 0))?;
    resize(mm, HugeSize::G1, pages)?;
    if mm.hugetlb.set_demote_size(mm, HugeSize::G1, HugeSize::M2).is_err() {
        println!("error: pages of 1 GiB cannot be demoted to 2 MiB");
        return None;
    }
    let demote = measure(&|| {
        let demoted = mm.hugetlb.demote(mm, HugeSize::G1, pages);
        good(demoted.unrestored.or(demoted.unoptimized))?;
        if demoted.folios != pages {
            println!("error: {} of {pages} pages of 1 GiB were demoted", demoted.folios);
            return None;
        }
        Some(())
    })?;
    let free_2m = measure(&|| resize(mm, HugeSize::M2, 0))?;
    Some([allocate, free, demote, free_2m])
}

fn set_switch(mm: &Mm, switch: Switch) -> Option<()> {
    good(mm.hvo.set_switch(mm, switch).err())
}

/// Brings the pool to this size; `None` where it has another one then.
fn resize(mm: &Mm, size: HugeSize, pages: u64) -> Option<()> {
    let resized = mm.hugetlb.set_nr(mm, size, pages);
    good(resized.unrestored.or(resized.unoptimized))?;
    if resized.persistent != pages {
        println!("error: the pool of {size} has {} pages, and was to have {pages}", resized.persistent);
        return None;
    }
    Some(())
}

fn good(error: Option<HvoError>) -> Option<()> {
    match error {
        None => Some(()),
        Some(error) => {
            println!("error: {error}");
            None
        }
    }
}
