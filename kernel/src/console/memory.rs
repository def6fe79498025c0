//! The pool, HVO, and the files.
#![forbid(unsafe_code)]

use arch::Order;
use mm::Mm;
use mm::hugetlb::{Counts, HugeSize};
use mm::hvo::layout::Layout;
use mm::hvo::{BatchOutcome, Switch};
use mm::page::PageKind;
use mm::stats::Counter;

use super::commands::{Complaint, none};
use super::words::number;
use crate::files::{self, FileError, Written};
use crate::log::Printer;
use crate::{println, session};

/// A week.
const LONGEST_SOAK: u64 = 7 * 86400;
const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

fn show(mm: &Mm, path: &str) -> Result<(), Complaint> {
    files::print(mm, path, &mut Printer).map_err(|error| Complaint::new(format_args!("{path}: {error}")))
}

/// `meminfo`
pub(super) fn meminfo(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    show(mm, "/proc/meminfo")
}

/// `buddyinfo`
pub(super) fn buddyinfo(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    show(mm, "/proc/buddyinfo")
}

/// `vmstat`
pub(super) fn vmstat(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    show(mm, "/proc/vmstat")
}

/// `check`
pub(super) fn check(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    let report = crate::settle::check(mm).map_err(Complaint::new)?;
    println!("{} pages and {} address spaces: all that is counted agrees", report.all_pages(), report.spaces);
    for &kind in PageKind::ALL.iter().filter(|&&kind| report.pages_of(kind) != 0) {
        println!("  {:<12} {:>8} pages", kind.name(), report.pages_of(kind));
    }
    Ok(())
}

/// `ls [path]`
pub(super) fn ls(_: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let prefix = match *args {
        [] => "",
        [prefix] => prefix,
        _ => return Err(Complaint::Usage),
    };
    let mut files = files::all().filter(|file| file.path.starts_with(prefix)).peekable();
    if files.peek().is_none() {
        return Err(Complaint::new(format_args!("{prefix}: {}", FileError::NotFound)));
    }
    files.for_each(|file| println!("{}\n    {}", file.path, file.what));
    if "/proc/".starts_with(prefix) {
        files::OF_PROCESS.iter().for_each(|file| println!("/proc/<pid>/{}\n    {}", file.name, file.what));
    }
    Ok(())
}

/// `cat <path>`
pub(super) fn cat(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    match *args {
        [path] => show(mm, path),
        _ => Err(Complaint::Usage),
    }
}

/// `echo <value> > <path>`; blanks around `>` may be left out. Without `>` it prints its arguments.
pub(super) fn echo(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let Some(at) = args.iter().position(|word| word.contains('>')) else {
        args.iter().for_each(|word| crate::print!("{word} "));
        println!();
        return Ok(());
    };
    let (before, after) = args[at].split_once('>').unwrap_or((args[at], ""));
    let mut values = args[..at].iter().copied().chain([before]).filter(|word| !word.is_empty());
    let mut paths = [after].into_iter().chain(args[at + 1..].iter().copied()).filter(|word| !word.is_empty());
    match (values.next(), values.next(), paths.next(), paths.next()) {
        (Some(value), None, Some(path), None) => write(mm, path, value),
        _ => Err(Complaint::Usage),
    }
}

fn write(mm: &Mm, path: &str, value: &str) -> Result<(), Complaint> {
    match files::write(mm, path, value) {
        Ok(Written::Exactly) => {}
        Ok(Written::AsFarAs(now)) => println!("{path} is {now} now: no more was possible"),
        Err(error) => return Err(Complaint::new(format_args!("{path}: `{value}`: {error}"))),
    }
    Ok(())
}

/// `hugetlb [pages]`
pub(super) fn hugetlb(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    match *args {
        [] => {}
        [pages] => write(mm, NR_HUGEPAGES, pages)?,
        _ => return Err(Complaint::Usage),
    }
    println!("    size   pages    free  promised  surplus  overcommit");
    for size in HugeSize::ALL {
        let Counts { nr, free, reserved, surplus, overcommit } = mm.hugetlb.counts(size);
        println!("    {:<4} {nr:>7} {free:>7} {reserved:>9} {surplus:>8} {overcommit:>11}", size.word());
    }
    println!("    optimised by HVO, of 2M: {}", mm.stats.get(Counter::NrHvoOptimized));
    Ok(())
}

/// `hvo [optimise|restore|soak <seconds>]`
pub(super) fn hvo(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    match *args {
        [] => {}
        ["optimise" | "optimize"] => report("optimised", mm.hugetlb.optimize_free(mm))?,
        ["restore"] => report("restored", mm.hugetlb.restore_free(mm))?,
        ["soak", seconds] => {
            let seconds =
                number(seconds).filter(|seconds| (1..=LONGEST_SOAK).contains(seconds)).ok_or_else(|| {
                    Complaint::new(format_args!(
                        "`{seconds}`: must be a number of seconds from 1 to {LONGEST_SOAK}"
                    ))
                })?;
            session::soak_hvo(mm, seconds);
            return Ok(());
        }
        _ => return Err(Complaint::Usage),
    }
    let freed = mm.stats.get(Counter::NrVmemmapFreed);
    let switch = if mm.hvo.switch() == Switch::On { "on" } else { "off" };
    println!("    strategy {}, tails={}, vmemmap={}", mm.hvo.strategy(), mm.config.tails, mm.config.vmemmap);
    println!("    new folios are optimised  {switch:>6}");
    println!("    folios in the pool        {:>6}", mm.hugetlb.counts(HugeSize::M2).nr);
    println!("    of them optimised         {:>6}", mm.stats.get(Counter::NrHvoOptimized));
    println!("    vmemmap pages freed       {freed:>6}  ({} KiB)", freed * 4);
    if let Ok(layout) = Layout::of(Order::PMD) {
        let (pages, kept, bytes) = (layout.pages(), layout.kept(), layout.bytes_freed());
        println!("    a folio has {pages} vmemmap pages, keeps {kept} and frees {bytes} bytes");
    }
    println!("    pages kept for good       {:>6}", mm.hvo.kept_pages(mm));
    Ok(())
}

fn report(verb: &str, outcome: BatchOutcome) -> Result<(), Complaint> {
    println!("    {} folios {verb}", outcome.done);
    match outcome.first_error {
        Some((_, error)) => Err(Complaint::new(error)),
        None => Ok(()),
    }
}
