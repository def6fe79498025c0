//! The machines on which every self-test runs: two CPUs without and with FEAT_BBM, one and two of them, both
//! exception levels of entry, both granularities of vmemmap, both tail encodings; and beside this product, every other
//! way to count mappings on one machine of each CPU.

use mm::config::{HvoStrategy, Mapcount, MmConfig};
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
    /// `mapcount=`.
    pub mapcount: Mapcount,
}

/// The full product with the way to count that a machine has without a choice, and then the other ways.
#[must_use]
pub fn lines() -> Vec<Line> {
    let mut lines = product();
    let standard = MmConfig::default().mapcount;
    for mapcount in Mapcount::ALL.iter().copied().filter(|&mapcount| mapcount != standard) {
        let corners = [
            Line { cpu: "max", smp: 2, entry: Entry::El1, vmemmap: "pmd", tails: "mask", mapcount },
            Line { cpu: "cortex-a72", smp: 2, entry: Entry::El2, vmemmap: "pte", tails: "pointer", mapcount },
        ];
        lines.extend(corners);
    }
    lines
}

fn product() -> Vec<Line> {
    let mut lines = Vec::new();
    let mapcount = MmConfig::default().mapcount;
    for cpu in ["max", "cortex-a72"] {
        for smp in [2, 1] {
            for entry in [Entry::El1, Entry::El2] {
                for vmemmap in ["pmd", "pte"] {
                    for tails in ["mask", "pointer"] {
                        lines.push(Line { cpu, smp, entry, vmemmap, tails, mapcount });
                    }
                }
            }
        }
    }
    lines
}

impl Line {
    /// The name that stands before a self-test's: `max/smp2/el1/pmd/mask/mm-owner`.
    #[must_use]
    pub fn name(&self) -> String {
        let entry = match self.entry {
            Entry::El1 => "el1",
            Entry::El2 => "el2",
        };
        format!("{}/smp{}/{entry}/{}/{}/{}", self.cpu, self.smp, self.vmemmap, self.tails, self.mapcount)
    }

    /// The boot choices. What counts in tail pages cannot stand beside HVO, which takes them away.
    fn choices(&self) -> String {
        let hvo = match self.mapcount {
            Mapcount::ThpLike => format!(" hvo={}", HvoStrategy::Off),
            _ => String::new(),
        };
        format!("vmemmap={} tails={} mapcount={}{hvo}", self.vmemmap, self.tails, self.mapcount)
    }

    /// `options` for this machine, with `append` before its boot choices.
    #[must_use]
    pub fn options(&self, options: &Options, append: &str) -> Options {
        Options {
            cpu: self.cpu.to_owned(),
            smp: self.smp,
            entry: self.entry,
            append: format!("{append} {}", self.choices()).trim().to_owned(),
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
        let lines = product();
        let names: BTreeSet<_> = lines.iter().map(Line::name).collect();
        assert_eq!((lines.len(), names.len()), (32, 32));
        let last = lines.last().unwrap();
        assert_eq!(last.name(), "cortex-a72/smp1/el2/pte/pointer/mm-owner");
        let options = last.options(&Options::for_tests().unwrap(), "selftest");
        assert_eq!((options.cpu.as_str(), options.smp, options.entry), ("cortex-a72", 1, Entry::El2));
        assert_eq!(options.append, "selftest vmemmap=pte tails=pointer mapcount=mm-owner");
    }

    /// Each way to count runs on a machine of each CPU, and what it cannot stand beside is not chosen.
    #[test]
    fn every_way_to_count() {
        let lines = lines();
        for &mapcount in Mapcount::ALL {
            for cpu in ["max", "cortex-a72"] {
                assert!(
                    lines.iter().any(|line| line.mapcount == mapcount && line.cpu == cpu),
                    "{mapcount} {cpu}"
                );
            }
        }
        let thp_like = lines.iter().find(|line| line.mapcount == Mapcount::ThpLike).unwrap();
        let options = thp_like.options(&Options::for_tests().unwrap(), "selftest");
        assert_eq!(options.append, "selftest vmemmap=pmd tails=mask mapcount=thp-like hvo=off");
    }
}
