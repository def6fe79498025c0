//! A set of vCPUs.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign};

use crate::contract::CpuId;

/// A set of vCPUs, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cpus(u32);

impl Cpus {
    pub(super) const NONE: Cpus = Cpus(0);

    pub(super) const fn only(cpu: CpuId) -> Self {
        Cpus(1 << cpu.index())
    }
    pub(super) const fn first(n: usize) -> Self {
        Cpus((1 << n) - 1)
    }
    pub(super) const fn has(self, cpu: CpuId) -> bool {
        self.0 & 1 << cpu.index() != 0
    }
    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
    pub(super) const fn without(self, others: Cpus) -> Self {
        Cpus(self.0 & !others.0)
    }
    /// The vCPUs, lowest first.
    pub(super) fn iter(self) -> impl Iterator<Item = CpuId> {
        (0..u32::BITS as usize).filter(move |n| self.0 >> n & 1 != 0).map(CpuId::new)
    }
}

impl BitOr for Cpus {
    type Output = Cpus;
    fn bitor(self, other: Cpus) -> Cpus {
        Cpus(self.0 | other.0)
    }
}

impl BitOrAssign for Cpus {
    fn bitor_assign(&mut self, other: Cpus) {
        self.0 |= other.0;
    }
}

impl BitAnd for Cpus {
    type Output = Cpus;
    fn bitand(self, other: Cpus) -> Cpus {
        Cpus(self.0 & other.0)
    }
}

impl FromIterator<CpuId> for Cpus {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        cpus.into_iter().fold(Cpus::NONE, |all, cpu| all | Cpus::only(cpu))
    }
}

/// `vCPU 1`, `vCPUs 0 and 2`, ...
impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.iter().map(|cpu| cpu.to_string()).collect();
        match all.as_slice() {
            [] => f.write_str("no vCPU"),
            [one] => write!(f, "vCPU {one}"),
            [most @ .., last] => write!(f, "vCPUs {} and {last}", most.join(", ")),
        }
    }
}
