//! Every scheme against the truth of the tables, and the flaws that are known.

mod conformance;
mod contract;
mod flaws;
mod overflow;

use crate::config::HvoStrategy;
use crate::testkit::Builder;

/// A small machine. Tails must be writable for thp-like; the schemes are tried on folios of the test's own.
fn machine() -> Builder {
    Builder::new().ram_mib(32).cpus(1).config(|config| {
        config.hvo = HvoStrategy::Off;
        config.hugepages = 0;
    })
}
