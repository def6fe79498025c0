//! How many hugetlb pages of each size the pools are to have at boot.
//!
//! ```text
//!   hugepages=16 hugepagesz=1G hugepages=2 hugepagesz=64K hugepages=100
//!   `- 2 MiB                   `- 1 GiB                   `- 64 KiB
//! ```
//! As on Linux, `hugepages=` is of the size that the `hugepagesz=` before it names, or of 2 MiB where there is none.
#![forbid(unsafe_code)]

use core::fmt;

use crate::hugetlb::HugeSize;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HugePages {
    counts: [u64; HugeSize::ALL.len()],
    /// What the next `hugepages=` is of.
    size: HugeSize,
}

impl HugePages {
    /// None of any size.
    pub const NONE: HugePages = HugePages::of_default_size(0);

    /// So many of 2 MiB.
    #[must_use]
    pub const fn of_default_size(pages: u64) -> Self {
        let mut counts = [0; HugeSize::ALL.len()];
        counts[HugeSize::DEFAULT.index()] = pages;
        HugePages { counts, size: HugeSize::DEFAULT }
    }
    /// How many of this size.
    #[must_use]
    pub const fn count(&self, size: HugeSize) -> u64 {
        self.counts[size.index()]
    }
    /// `hugepagesz=`.
    pub(super) fn take_size(&mut self, size: HugeSize) {
        self.size = size;
    }
    /// `hugepages=`.
    pub(super) fn take_count(&mut self, pages: u64) {
        self.counts[self.size.index()] = pages;
    }
}

impl fmt::Display for HugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hugepages={}", self.count(HugeSize::DEFAULT))?;
        let others = HugeSize::ALL.into_iter().filter(|&size| size != HugeSize::DEFAULT);
        others
            .filter(|&size| self.count(size) != 0)
            .try_for_each(|size| write!(f, " hugepagesz={size} hugepages={}", self.count(size)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, MmConfig};
    use super::*;

    /// Words are taken in their order; what is printed gives the same when it is taken.
    #[test]
    fn counts_are_of_the_size_before_them() {
        let words = "hugepages=16 hugepagesz=64K hugepages=100 hugepagesz=1G hugepages=2";
        let mut config = MmConfig::default();
        for word in words.split(' ') {
            let (key, value) = word.split_once('=').unwrap();
            config.parse(key, value).unwrap();
        }
        assert_eq!(HugeSize::ALL.map(|size| config.hugepages.count(size)), [100, 16, 0, 2]);
        assert_eq!(config.hugepages.to_string(), words);
    }

    /// A size that does not exist is refused with those that do, and changes nothing.
    #[test]
    fn other_sizes_are_refused() {
        let mut config = MmConfig::default();
        for bad in ["4K", "16M", "2m", "", "2"] {
            let error = config.parse("hugepagesz", bad).unwrap_err();
            assert!(matches!(error, ConfigError::Word { .. }));
            assert_eq!(error.to_string(), format!("hugepagesz={bad}: must be one of 64K 2M 32M 1G"));
        }
        assert_eq!(config.hugepages, MmConfig::default().hugepages);
    }
}
