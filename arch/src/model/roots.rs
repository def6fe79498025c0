//! Which roots are installed where, under which ASID, and which have been.
//!
//! A vCPU that has left a root may still hold what it walked there, tagged with the ASID of that time, until
//! a TLBI by that ASID or of everything. An ASID passes from one root to another only after such a TLBI:
//! otherwise what is held of the first is used for the second.

use super::cpus::Cpus;
use super::stale::NumberMap;
use crate::addr::{Asid, PhysAddr};
use crate::contract::{CpuId, MAX_CPUS, Tlbi};

/// A root as one vCPU has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Presence {
    /// Nothing of it can be held.
    #[default]
    Never,
    /// It is installed.
    Here(Asid),
    /// It was installed until this moment.
    Left(Asid, u64),
}

#[derive(Clone, Copy, Default)]
struct Root {
    on: [Presence; MAX_CPUS],
    /// The ASID that it was last installed with.
    latest: Asid,
}

/// Whose the translations are that a vCPU holds under one ASID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Owner {
    Root(PhysAddr),
    /// A root whose page has been given back.
    Gone,
}

/// All roots of a machine.
#[derive(Default)]
pub(super) struct Roots {
    roots: NumberMap<PhysAddr, Root>,
    /// By vCPU (upper half) and ASID.
    owners: NumberMap<u64, Owner>,
}

fn owner_key(cpu: CpuId, asid: Asid) -> u64 {
    (cpu.index() as u64) << 32 | u64::from(asid.raw())
}

impl Roots {
    /// Installs a root on `cpu`; the one it had there before, of the same half, is left with `leave`.
    pub(super) fn install(&mut self, cpu: CpuId, root: PhysAddr, asid: Asid) {
        let known = self.roots.entry(root).or_default();
        known.on[cpu.index()] = Presence::Here(asid);
        known.latest = asid;
    }

    /// Makes the ASID that of a user root on `cpu`.
    ///
    /// # Errors
    /// What is held under it there belongs to another root: that one, or `None` where it is gone.
    pub(super) fn claim(&mut self, cpu: CpuId, root: PhysAddr, asid: Asid) -> Result<(), Option<PhysAddr>> {
        match self.owners.insert(owner_key(cpu, asid), Owner::Root(root)) {
            None => Ok(()),
            Some(Owner::Root(other)) if other == root => Ok(()),
            Some(Owner::Root(other)) => Err(Some(other)),
            Some(Owner::Gone) => Err(None),
        }
    }

    /// `cpu` leaves a root.
    pub(super) fn leave(&mut self, cpu: CpuId, root: PhysAddr, now: u64) {
        if let Some(known) = self.roots.get_mut(&root)
            && let Presence::Here(asid) = known.on[cpu.index()]
        {
            known.on[cpu.index()] = Presence::Left(asid, now);
        }
    }

    /// A TLBI has completed on `on`.
    pub(super) fn flushed(&mut self, op: &Tlbi, on: Cpus) {
        let covers = |asid: Asid| match *op {
            Tlbi::All => true,
            Tlbi::Asid(flushed) => flushed == asid,
            Tlbi::Va { .. } | Tlbi::Range { .. } => false,
        };
        if matches!(op, Tlbi::Va { .. } | Tlbi::Range { .. }) {
            return;
        }
        let mut running = Vec::new();
        for (root, known) in &mut self.roots {
            for cpu in on.iter() {
                match &mut known.on[cpu.index()] {
                    Presence::Here(asid) => running.push((owner_key(cpu, *asid), *root)),
                    left @ Presence::Left(..) if matches!(*left, Presence::Left(asid, _) if covers(asid)) => {
                        *left = Presence::Never;
                    }
                    Presence::Left(..) | Presence::Never => {}
                }
            }
        }
        self.owners.retain(|key, owner| {
            let (cpu, asid) = (CpuId::new((key >> 32) as usize), Asid::new(*key as u16));
            let runs = |(k, root): &(u64, PhysAddr)| k == key && *owner == Owner::Root(*root);
            !on.has(cpu) || !covers(asid) || running.iter().any(runs)
        });
    }

    /// The root's page has been given back.
    pub(super) fn gone(&mut self, root: PhysAddr) {
        if self.roots.remove(&root).is_some() {
            for owner in self.owners.values_mut().filter(|owner| **owner == Owner::Root(root)) {
                *owner = Owner::Gone;
            }
        }
    }

    /// All roots that are known.
    pub(super) fn iter(&self) -> impl Iterator<Item = PhysAddr> {
        self.roots.keys().copied()
    }

    pub(super) fn is_known(&self, root: PhysAddr) -> bool {
        self.roots.contains_key(&root)
    }

    /// The vCPUs on which the root is installed.
    pub(super) fn here(&self, root: PhysAddr) -> Cpus {
        self.filter(root, |presence| matches!(presence, Presence::Here(_)))
    }

    /// The vCPUs on which it is, or was installed at `since` or later.
    pub(super) fn since(&self, root: PhysAddr, since: u64) -> Cpus {
        self.filter(root, |presence| match presence {
            Presence::Here(_) => true,
            Presence::Left(_, at) => at >= since,
            Presence::Never => false,
        })
    }

    fn filter(&self, root: PhysAddr, which: impl Fn(Presence) -> bool) -> Cpus {
        let Some(known) = self.roots.get(&root) else { return Cpus::NONE };
        let all = (0..MAX_CPUS).filter(|&n| which(known.on[n])).map(CpuId::new);
        all.fold(Cpus::NONE, |cpus, cpu| cpus | Cpus::only(cpu))
    }

    /// The ASID under which `cpu` holds what it walked from the root.
    pub(super) fn asid(&self, root: PhysAddr, cpu: CpuId) -> Asid {
        match self.roots.get(&root).map(|known| known.on[cpu.index()]) {
            Some(Presence::Here(asid) | Presence::Left(asid, _)) => asid,
            Some(Presence::Never) | None => Asid::NONE,
        }
    }

    /// Whether translations from this root are tagged with `asid`, on any vCPU that runs it or from now on.
    pub(super) fn uses(&self, root: PhysAddr, asid: Asid) -> bool {
        let Some(known) = self.roots.get(&root) else { return false };
        known.latest == asid || known.on.contains(&Presence::Here(asid))
    }
}
