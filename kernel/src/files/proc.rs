//! `/proc/meminfo`, `/proc/vmstat`, `/proc/buddyinfo`, with Linux's names where Linux has one, and `/proc/stops`.
#![forbid(unsafe_code)]

use core::fmt;

use arch::Order;
use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::hugetlb::HugeSize;
use mm::stats::Counter;

use super::{Content, File};
use crate::stop;

pub(super) const FILES: &[File] = &[
    File {
        path: "/proc/buddyinfo",
        what: "free blocks of each order",
        content: Content::Text(buddyinfo),
        write: None,
    },
    File {
        path: "/proc/meminfo",
        what: "memory, by what it is used for",
        content: Content::Text(meminfo),
        write: None,
    },
    File {
        path: "/proc/stops",
        what: "how often CPUs were asked to stand still or to be seen, and for how long they stood",
        content: Content::Text(stops),
        write: None,
    },
    File {
        path: "/proc/vmstat",
        what: "counters of memory management",
        content: Content::Text(vmstat),
        write: None,
    },
];

const KIB_PER_PAGE: u64 = PAGE_SIZE / 1024;
const KIB_PER_HUGE_PAGE: u64 = Order::PMD.bytes() / 1024;

/// The number of free blocks of orders 0 to 10. Pages on the CPUs' lists are not among them.
fn buddyinfo(mm: &Mm, out: &mut dyn fmt::Write) -> fmt::Result {
    for zone in mm.zones() {
        write!(out, "Node 0, zone {:>8} ", zone.name())?;
        zone.free_blocks().iter().try_for_each(|count| write!(out, "{count:>6} "))?;
        writeln!(out)?;
    }
    Ok(())
}

fn vmstat(mm: &Mm, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(out, "nr_free_pages {}", mm.free_page_count())?;
    Counter::ALL.iter().try_for_each(|&counter| writeln!(out, "{} {}", counter.name(), mm.stats.get(counter)))
}

/// Requests of all CPUs and the interrupts that they sent; times that a CPU stood still, in all and the longest.
fn stops(_: &Mm, out: &mut dyn fmt::Write) -> fmt::Result {
    let (asked, ipis, pauses) = (stop::asked(), stop::ipis(), stop::pauses());
    for (name, asked, ipis) in [
        ("stop", asked.stop, ipis.stop),
        ("pause", asked.pause, ipis.pause),
        ("each", asked.each, ipis.each),
        ("grace", asked.grace, ipis.grace),
    ] {
        writeln!(out, "{name} {asked}\n{name}_ipis {ipis}")?;
    }
    writeln!(out, "stood_still {}\nstood_still_ns {}", pauses.count, pauses.total_ns)?;
    writeln!(out, "stood_still_longest_ns {}", pauses.longest_ns)
}

/// All numbers are read before the first is printed.
fn meminfo(mm: &Mm, out: &mut dyn fmt::Write) -> fmt::Result {
    let pages = |counter| mm.stats.get(counter) * KIB_PER_PAGE;
    let pool = mm.hugetlb.counts(HugeSize::M2);
    let free = mm.free_page_count();
    let reserved = mm.stats.get(Counter::NrThpReserved);
    let available = mm.available_pages();
    let memory = [
        ("MemTotal", mm.managed_pages() * KIB_PER_PAGE),
        ("MemFree", free * KIB_PER_PAGE),
        ("MemAvailable", available * KIB_PER_PAGE),
        ("AnonPages", pages(Counter::NrAnon)),
        ("PageTables", pages(Counter::NrPageTable)),
        ("AnonHugePages", mm.stats.get(Counter::NrAnonThp) * KIB_PER_HUGE_PAGE),
        ("ThpReserved", reserved * KIB_PER_PAGE),
        ("HvoFreed", pages(Counter::NrVmemmapFreed)),
        ("HardwareCorrupted", mm.failed_frames() * KIB_PER_PAGE),
    ];
    memory.into_iter().try_for_each(|(name, kib)| row(out, name, kib, " kB"))?;
    row(out, "HugePages_Total", pool.nr, "")?;
    row(out, "HugePages_Free", pool.free, "")?;
    row(out, "HugePages_Rsvd", pool.reserved, "")?;
    row(out, "HugePages_Surp", pool.surplus, "")?;
    row(out, "Hugepagesize", KIB_PER_HUGE_PAGE, " kB")?;
    row(out, "Hugetlb", mm.hugetlb.bytes() / 1024, " kB")
}

fn row(out: &mut dyn fmt::Write, name: &str, value: u64, unit: &str) -> fmt::Result {
    writeln!(out, "{name}:{value:>width$}{unit}", width = 24 - name.len())
}
