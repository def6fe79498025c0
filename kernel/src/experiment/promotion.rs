//! What one huge page costs, by the road to it: promotion in place of a reservation of which so many pages are
//! populated, and collapse by copy of 512 small pages. Beside the time: how long the page-table lock and the mmap lock
//! were held for it, and the longest of these, stores to descriptors, operations on the TLB, and the bytes that were
//! zeroed and copied.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::config::ThpMode;
use mm::kalloc::KArc;
use mm::space::{AddressSpace, Advice, MapProt, MmapRequest};
use mm::stats::Counter;
use mm::thp::promote::promote_range;

use super::Run;
use super::times::Times;
use crate::time;

const ROUNDS: u64 = 8;
const BLOCK: u64 = 2 << 20;
const START: u64 = 0x40_0000_0000;

/// A road to a huge page.
struct Road {
    name: &'static str,
    /// The mode under which pages are touched.
    mode: ThpMode,
    /// Pages that are populated before.
    pages: u64,
    take: fn(&Mm, &KArc<AddressSpace>, VirtAddr) -> bool,
}

const ROADS: [Road; 4] = [
    Road { name: "promote_512", mode: ThpMode::Reserve, pages: 512, take: promote },
    Road { name: "promote_256", mode: ThpMode::Reserve, pages: 256, take: promote },
    Road { name: "promote_64", mode: ThpMode::Reserve, pages: 64, take: promote },
    Road { name: "collapse_512", mode: ThpMode::Never, pages: 512, take: collapse },
];

fn promote(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> bool {
    promote_range(mm, space, va).is_ok()
}

fn collapse(mm: &Mm, space: &KArc<AddressSpace>, va: VirtAddr) -> bool {
    mm.madvise(space, va.raw(), BLOCK, Advice::Collapse).is_ok()
}

/// Counters whose sum is measured beside the time, as the mean of all rounds; how much one is of which unit; and what
/// the row is called. Each sum has what is counted on either road.
const COUNTED: [(&[Counter], u64, &str, &str); 8] = [
    (&[Counter::ThpPtlHeld], 1, "ns", "ptl_held"),
    (&[Counter::ThpMmapReadHeld], 1, "ns", "mmap_read_held"),
    (&[Counter::ThpMmapWriteHeld], 1, "ns", "mmap_write_held"),
    (&[Counter::PteStore], 1, "count", "stores"),
    (&[Counter::TlbiVa], 1, "count", "tlbi_va"),
    (&[Counter::TlbiAsid], 1, "count", "tlbi_asid"),
    (&[Counter::ResPagesFilled, Counter::ThpCollapseFilled], PAGE_SIZE, "bytes", "zeroed"),
    (&[Counter::ResPagesBroughtBack, Counter::ThpCollapseCopied], PAGE_SIZE, "bytes", "copied"),
];

/// Counters of the most that there was in all rounds, in nanoseconds, and what the row is called.
const LONGEST: [(Counter, &str); 3] = [
    (Counter::ThpPtlHeldLongest, "ptl_longest"),
    (Counter::ThpMmapReadHeldLongest, "mmap_read_longest"),
    (Counter::ThpMmapWriteHeldLongest, "mmap_write_longest"),
];

/// Prints the rows. What there is no memory for is said, and ends it.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let (mode, threshold) = (mm.thp.mode(), mm.thp.threshold());
    let measured = ROADS.into_iter().try_for_each(|road| {
        let Ok(space) = mm.new_space() else { return run.fail("there is no memory for a space") };
        let measured = measure(mm, &space, &road);
        mm.destroy_space(&space);
        match measured {
            Some(measured) => say(&road, &measured, run),
            None => return run.fail(format_args!("{}: there is too little memory for its pages", road.name)),
        }
        Some(())
    });
    mm.thp.set_mode(mode);
    let restored = mm.thp.set_threshold(u64::from(threshold));
    debug_assert!(restored.is_ok(), "{threshold} pages were the threshold before");
    measured
}

/// What was measured on one road.
struct Measured {
    times: Times,
    sums: [u64; COUNTED.len()],
    longest: [u64; LONGEST.len()],
}

/// The rows of a road; one that says so where it led nowhere, as each range was a huge page already, or could not be one.
fn say(road: &Road, measured: &Measured, run: &mut Run<'_>) {
    let rounds = measured.times.count();
    if rounds == 0 {
        return run.line(format_args!("{} -1 none", road.name));
    }
    measured.times.say(road.name, run);
    for (sum, (_, each, unit, what)) in measured.sums.iter().zip(COUNTED) {
        run.line(format_args!("{}.{what} {} {unit}", road.name, sum * each / rounds));
    }
    for (longest, (_, what)) in measured.longest.iter().zip(LONGEST) {
        run.line(format_args!("{}.{what} {longest} ns", road.name));
    }
}

/// `None`: memory is out.
fn measure(mm: &'static Mm, space: &KArc<AddressSpace>, road: &Road) -> Option<Measured> {
    let mut times = Times::default();
    let mut sums = [0; COUNTED.len()];
    mm.thp.set_mode(road.mode);
    for (counter, _) in LONGEST {
        mm.stats.take(counter);
    }
    for n in 0..ROUNDS {
        let start = VirtAddr::new(START + n * BLOCK);
        let request = MmapRequest::anonymous(BLOCK, MapProt::READ | MapProt::WRITE).fixed(start.raw());
        mm.mmap(space, &request).ok()?;
        mm.thp.set_threshold(512).ok()?;
        for page in 0..road.pages {
            mm.write_user(space, start.add(page * PAGE_SIZE), &[1]).ok()?;
        }
        mm.thp.set_threshold(road.pages).ok()?;
        let sum = |counters: &[Counter]| counters.iter().map(|&counter| mm.stats.get(counter)).sum::<u64>();
        let count = || COUNTED.map(|(counters, ..)| sum(counters));
        let (before, began) = (count(), time::now_ns());
        let done = (road.take)(mm, space, start);
        let took = time::now_ns() - began;
        if done {
            times.add(took);
            let after = count();
            (0..sums.len()).for_each(|i| sums[i] += after[i] - before[i]);
        }
    }
    Some(Measured { times, sums, longest: LONGEST.map(|(counter, _)| mm.stats.get(counter)) })
}
