//! Every scheme against the truth of the tables, and the flaws that are known.

mod conformance;
mod contract;
mod experiment;
mod flaws;
mod overflow;
mod races;

use arch::PhysAddr;

use crate::Mm;
use crate::config::HvoStrategy;
use crate::page::{PageRef, page_of};
use crate::testkit::Builder;

/// A small machine. Tails must be writable for thp-like; the schemes are tried on folios of the test's own.
fn machine() -> Builder {
    Builder::new().ram_mib(32).cpus(1).config(|config| {
        config.hvo = HvoStrategy::Off;
        config.hugepages = 0;
    })
}

/// A machine with 1 GiB of RAM set aside, as hugetlb's would be, beside the RAM that it runs in.
fn with_gigabyte(f: impl FnOnce(&Mm, PageRef)) {
    const GIB: u64 = 1 << 30;
    let machine = machine().ram_mib(1024 + 64).reserve(GIB, 2 * GIB);
    let machine = machine.machine(|desc| desc.max_steps = 2_000_000_000);
    machine.boot(|mm, _| f(mm, page_of(PhysAddr::new(GIB).pfn())));
}
