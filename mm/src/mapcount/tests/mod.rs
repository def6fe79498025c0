//! Every scheme against the truth of the tables, and the flaws that are known.

mod conformance;
mod contract;
mod experiment;
mod flaws;
mod lockless;
mod overflow;
mod races;

use crate::Mm;
use crate::config::{HugePages, HvoStrategy};
use crate::testkit::Builder;

/// A small machine. Tails must be writable for thp-like; the schemes are tried on folios of the test's own.
fn machine() -> Builder {
    Builder::new().ram_mib(32).cpus(1).config(|config| {
        config.hvo = HvoStrategy::Off;
        config.hugepages = HugePages::NONE;
    })
}

/// A machine that has 1 GiB in one piece.
fn with_gigabyte(f: impl FnOnce(&Mm)) {
    let machine = machine().ram_mib(2048 + 64).machine(|desc| desc.max_steps = 2_000_000_000);
    machine.boot(|mm, _| f(mm));
}
