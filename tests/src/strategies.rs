//! The machines on which HVO's own self-tests run: each strategy with each encoding of tails and each granularity of
//! vmemmap, on a CPU without and one with FEAT_BBM, as far as these go together, on four CPUs; and on one CPU, where
//! nobody is to be held or waited for, once for each strategy and encoding.

use arch::features::{BbmLevel, Features};
use mm::config::{HvoStrategy, MmConfig, TailEncoding, VmemmapMap};
use mm::hvo::choice::{BEST_FIRST, fit};
use qemu::Options;

/// One machine with its boot choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `-cpu`.
    pub cpu: &'static str,
    /// The number of CPUs.
    pub smp: u32,
    /// `hvo=`.
    pub strategy: HvoStrategy,
    /// `tails=`.
    pub tails: TailEncoding,
    /// `vmemmap=`.
    pub vmemmap: VmemmapMap,
}

/// The CPUs, and the level of FEAT_BBM that each has.
const CPUS: [(&str, BbmLevel); 2] = [("max", BbmLevel::Level2), ("cortex-a72", BbmLevel::Level0)];

/// All machines.
#[must_use]
pub fn machines() -> Vec<Machine> {
    let mut machines = Vec::new();
    for (cpu, bbm) in CPUS {
        for &vmemmap in VmemmapMap::ALL {
            for &tails in TailEncoding::ALL {
                for strategy in BEST_FIRST {
                    let config = MmConfig { vmemmap, tails, ..MmConfig::default() };
                    if fit(strategy, &config, &Features { bbm, ..Features::BASE }).is_err() {
                        continue;
                    }
                    let machine = Machine { cpu, smp: 4, strategy, tails, vmemmap };
                    machines.push(machine);
                    if (cpu, vmemmap) == ("max", VmemmapMap::Pmd) {
                        machines.push(Machine { smp: 1, ..machine });
                    }
                }
            }
        }
    }
    machines
}

impl Machine {
    /// Its name: `max/smp4/pmd/mask/alias`.
    #[must_use]
    pub fn name(&self) -> String {
        let Machine { cpu, smp, strategy, tails, vmemmap } = self;
        format!("{cpu}/smp{smp}/{vmemmap}/{tails}/{strategy}")
    }

    /// `options` for this machine, with `append` before its boot choices.
    #[must_use]
    pub fn options(&self, options: &Options, append: &str) -> Options {
        let Machine { cpu, smp, strategy, tails, vmemmap } = self;
        let append = format!("{append} hvo={strategy} tails={tails} vmemmap={vmemmap}");
        Options { cpu: (*cpu).to_owned(), smp: *smp, append, ..options.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Each strategy runs with each encoding, granularity and CPU that it goes with, and no other: `alias` needs equal
    /// tails, `bbml2` a CPU that splits blocks directly where there are any.
    #[test]
    fn what_goes_together() {
        let machines = machines();
        let names: BTreeSet<_> = machines.iter().map(Machine::name).collect();
        // 5 strategies x 8 machines of four CPUs, without alias and pointer, and bbml2 with blocks on the a72.
        let four = machines.iter().filter(|machine| machine.smp == 4).count();
        assert_eq!((four, machines.len() - four), (40 - 4 - 2, 9));
        assert_eq!(names.len(), machines.len());
        assert!(
            names.contains("cortex-a72/smp4/pmd/mask/alias") && names.contains("max/smp1/pmd/pointer/bbml2")
        );
        assert!(!names.contains("cortex-a72/smp4/pmd/mask/bbml2"));
        assert!(names.iter().all(|name| !name.ends_with("pointer/alias")));
        let options = machines[0].options(&Options::for_tests().unwrap(), "selftest=hvo");
        assert_eq!(options.append, "selftest=hvo hvo=alias tails=mask vmemmap=pmd");
    }
}
