//! The machines on which every self-test runs: two CPUs without and with FEAT_BBM, one and two of them, both
//! exception levels of entry, both granularities of vmemmap, both tail encodings.

use qemu::Options;
use qemu::config::Entry;

/// One machine with its boot choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `-cpu`.
    pub cpu: &'static str,
    /// The number of CPUs.
    pub smp: u32,
    /// Where the kernel is entered.
    pub entry: Entry,
    /// `vmemmap=`.
    pub vmemmap: &'static str,
    /// `tails=`.
    pub tails: &'static str,
}

/// The full product.
#[must_use]
pub fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for cpu in ["max", "cortex-a72"] {
        for smp in [2, 1] {
            for entry in [Entry::El1, Entry::El2] {
                for vmemmap in ["pmd", "pte"] {
                    for tails in ["mask", "pointer"] {
                        lines.push(Line { cpu, smp, entry, vmemmap, tails });
                    }
                }
            }
        }
    }
    lines
}

impl Line {
    /// The name that stands before a self-test's: `max/smp2/el1/pmd/mask`.
    #[must_use]
    pub fn name(&self) -> String {
        let entry = match self.entry {
            Entry::El1 => "el1",
            Entry::El2 => "el2",
        };
        format!("{}/smp{}/{entry}/{}/{}", self.cpu, self.smp, self.vmemmap, self.tails)
    }

    /// `options` for this machine, with `append` before its boot choices.
    #[must_use]
    pub fn options(&self, options: &Options, append: &str) -> Options {
        Options {
            cpu: self.cpu.to_owned(),
            smp: self.smp,
            entry: self.entry,
            append: format!("{append} vmemmap={} tails={}", self.vmemmap, self.tails).trim().to_owned(),
            ..options.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every combination is there once, under a name of its own, and its choices reach the machine.
    #[test]
    fn the_whole_product() {
        let lines = lines();
        let names: BTreeSet<_> = lines.iter().map(Line::name).collect();
        assert_eq!((lines.len(), names.len()), (32, 32));
        let last = lines.last().unwrap();
        assert_eq!(last.name(), "cortex-a72/smp1/el2/pte/pointer");
        let options = last.options(&Options::for_tests().unwrap(), "selftest");
        assert_eq!((options.cpu.as_str(), options.smp, options.entry), ("cortex-a72", 1, Entry::El2));
        assert_eq!(options.append, "selftest vmemmap=pte tails=pointer");
    }
}
