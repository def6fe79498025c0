//! The hugetlb pool and HVO's switch.
#![forbid(unsafe_code)]

use arch::Order;
use mm::Mm;
use mm::hvo::Switch;

use super::{Content, File, Refused, Written, number};

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
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.hugetlb.counts().nr)),
        write: Some(write_nr),
    },
];

pub(super) const SYSFS: &[File] = &[
    File {
        path: "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
        what: "pages of the pool that nobody uses",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.hugetlb.counts().free)),
        write: None,
    },
    File {
        path: "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        what: "pages of the pool",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.hugetlb.counts().nr)),
        write: Some(write_nr),
    },
    File {
        path: "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages",
        what: "free pages of the pool that are promised",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.hugetlb.counts().reserved)),
        write: None,
    },
    File {
        path: "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages",
        what: "pages in use beyond the size that was asked for",
        content: Content::Text(|mm, out| writeln!(out, "{}", mm.hugetlb.counts().surplus)),
        write: None,
    },
];

fn write_switch(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let to = if number(value, 0, 1)? == 1 { Switch::On } else { Switch::Off };
    mm.hvo.set_switch(mm, to).map_err(Refused::Hvo)?;
    Ok(Written::Exactly)
}

/// Grows or shrinks the pool, as on Linux as far as possible: memory may be short, and what is in use stays.
fn write_nr(mm: &Mm, value: &str) -> Result<Written, Refused> {
    let asked = number(value, 0, mm.managed_pages() / Order::PMD.pages())?;
    let nr = mm.hugetlb.set_nr(mm, asked).nr;
    Ok(if nr == asked { Written::Exactly } else { Written::AsFarAs(nr) })
}
