//! The hugetlb pools and HVO's switch.
#![forbid(unsafe_code)]

use core::fmt;

use mm::Mm;
use mm::hugetlb::{Counts, HugeSize};
use mm::hvo::Switch;

use super::{Content, File, Refused, Written, number};

/// The place in [`HugeSize::ALL`] of the size of files that name none.
const DEFAULT: usize = HugeSize::DEFAULT.index();

pub(super) const SYSCTL: &[File] = &[
    File {
        path: "/proc/sys/vm/hugetlb_optimize_vmemmap",
        what: "1: folios that enter the pool give back their struct pages; 0: they keep them",
        content: Content::Text(|mm, out| writeln!(out, "{}", u8::from(mm.hvo.switch() == Switch::On))),
        write: Some(write_switch),
    },
    File {
        path: "/proc/sys/vm/nr_hugepages",
        what: "2 MiB pages in the hugetlb pool",
        content: Content::Text(|mm, out| show::<DEFAULT>(mm, out, |counts| counts.nr)),
        write: Some(write_nr::<DEFAULT>),
    },
    File {
        path: "/proc/sys/vm/nr_overcommit_hugepages",
        what: "2 MiB pages that the pool may have beyond that while somebody needs them",
        content: Content::Text(|mm, out| show::<DEFAULT>(mm, out, |counts| counts.overcommit)),
        write: Some(write_overcommit::<DEFAULT>),
    },
];

/// The files of one pool: its place in [`HugeSize::ALL`], its directory, and files before the others.
macro_rules! pool {
    ($n:literal, $directory:literal $(, $first:expr)*) => {
        &[
            $($first,)*
            File {
                path: concat!("/sys/kernel/mm/hugepages/", $directory, "/free_hugepages"),
                what: "pages of the pool that nobody uses",
                content: Content::Text(|mm, out| show::<$n>(mm, out, |counts| counts.free)),
                write: None,
            },
            File {
                path: concat!("/sys/kernel/mm/hugepages/", $directory, "/nr_hugepages"),
                what: "pages of the pool",
                content: Content::Text(|mm, out| show::<$n>(mm, out, |counts| counts.nr)),
                write: Some(write_nr::<$n>),
            },
            File {
                path: concat!("/sys/kernel/mm/hugepages/", $directory, "/nr_overcommit_hugepages"),
                what: "pages that the pool may have beyond its size while somebody needs them",
                content: Content::Text(|mm, out| show::<$n>(mm, out, |counts| counts.overcommit)),
                write: Some(write_overcommit::<$n>),
            },
            File {
                path: concat!("/sys/kernel/mm/hugepages/", $directory, "/resv_hugepages"),
                what: "free pages of the pool that are promised",
                content: Content::Text(|mm, out| show::<$n>(mm, out, |counts| counts.reserved)),
                write: None,
            },
            File {
                path: concat!("/sys/kernel/mm/hugepages/", $directory, "/surplus_hugepages"),
                what: "pages in use or promised, beyond the size that was asked for",
                content: Content::Text(|mm, out| show::<$n>(mm, out, |counts| counts.surplus)),
                write: None,
            },
        ]
    };
}

/// As [`pool`], of a size that has a smaller one.
macro_rules! demotable {
    ($n:literal, $directory:literal) => {
        pool!(
            $n,
            $directory,
            File {
                path: concat!("/sys/kernel/mm/hugepages/", $directory, "/demote"),
                what: "written: so many free pages become pages of `demote_size`",
                content: Content::Text(|_, _| Ok(())),
                write: Some(write_demote::<$n>),
            },
            File {
                path: concat!("/sys/kernel/mm/hugepages/", $directory, "/demote_size"),
                what: "what `demote` makes of a page: pages of this size",
                content: Content::Text(show_demote_size::<$n>),
                write: Some(write_demote_size::<$n>),
            }
        )
    };
}

/// A directory for each size, in the order of [`HugeSize::ALL`].
pub(super) const SYSFS: [&[File]; HugeSize::ALL.len()] = [
    pool!(0, "hugepages-64kB"),
    demotable!(1, "hugepages-2048kB"),
    demotable!(2, "hugepages-32768kB"),
    demotable!(3, "hugepages-1048576kB"),
];

fn show<const N: usize>(mm: &Mm, out: &mut dyn fmt::Write, number: fn(Counts) -> u64) -> fmt::Result {
    writeln!(out, "{}", number(mm.hugetlb.counts(HugeSize::ALL[N])))
}

fn write_switch(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let to = if number(value, 0, 1)? == 1 { Switch::On } else { Switch::Off };
    mm.hvo.set_switch(mm, to).map_err(Refused::Hvo)?;
    Ok(Written::Exactly)
}

/// Grows or shrinks the pool, as on Linux as far as possible: memory may be short, and what is in use stays as surplus.
fn write_nr<const N: usize>(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let size = HugeSize::ALL[N];
    let asked = pages(mm, size, value)?;
    let persistent = mm.hugetlb.set_nr(mm, size, asked).persistent;
    Ok(if persistent == asked { Written::Exactly } else { Written::AsFarAs(persistent) })
}

fn write_overcommit<const N: usize>(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let size = HugeSize::ALL[N];
    mm.hugetlb.set_overcommit(size, pages(mm, size, value)?);
    Ok(Written::Exactly)
}

fn show_demote_size<const N: usize>(mm: &Mm, out: &mut dyn fmt::Write) -> fmt::Result {
    match mm.hugetlb.demote_size(HugeSize::ALL[N]) {
        Some(size) => writeln!(out, "{}kB", size.kib()),
        None => Ok(()),
    }
}

/// Divides pages, as on Linux as many as are free and not promised.
fn write_demote<const N: usize>(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let asked = number(value, 0, u64::MAX)?;
    let done = mm.hugetlb.demote(mm, HugeSize::ALL[N], asked).folios;
    Ok(if done == asked { Written::Exactly } else { Written::AsFarAs(done) })
}

/// Takes a size's word, or what the file says of it.
fn write_demote_size<const N: usize>(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let refused = Refused::Word(&HugeSize::WORDS[..N]);
    let kib = value.strip_suffix("kB").and_then(|kib| kib.parse().ok());
    let named = |size: &HugeSize| size.word() == value || Some(size.kib()) == kib;
    let into = HugeSize::ALL.into_iter().find(named).ok_or(refused)?;
    mm.hugetlb.set_demote_size(mm, HugeSize::ALL[N], into).map_err(|_| refused)?;
    Ok(Written::Exactly)
}

/// A number of pages of this size: no more than memory has room for.
fn pages(mm: &Mm, size: HugeSize, value: &str) -> Result<u64, Refused> {
    number(value, 0, mm.managed_pages() / size.order().pages())
}
