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

impl Presence {
    /// The ASID of a root that was left before a moment.
    fn ended(self, moment: u64) -> Option<Asid> {
        match self {
            Presence::Left(asid, at) if at < moment => Some(asid),
            _ => None,
        }
    }
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
    /// What is held under it there belongs to another root, or to this one from before it was run under another
    /// ASID: that root, or `None` where it is gone.
    pub(super) fn claim(&mut self, cpu: CpuId, root: PhysAddr, asid: Asid) -> Result<(), Option<PhysAddr>> {
        match self.owners.insert(owner_key(cpu, asid), Owner::Root(root)) {
            None => Ok(()),
            Some(Owner::Root(other)) if other == root && self.is_latest(root, asid) => Ok(()),
            Some(Owner::Root(other)) => Err(Some(other)),
            Some(Owner::Gone) => Err(None),
        }
    }

    /// Whether the root was last installed, anywhere, with `asid`.
    fn is_latest(&self, root: PhysAddr, asid: Asid) -> bool {
        self.roots.get(&root).is_some_and(|known| known.latest == asid)
    }

    /// `cpu` leaves a root.
    pub(super) fn leave(&mut self, cpu: CpuId, root: PhysAddr, now: u64) {
        if let Some(known) = self.roots.get_mut(&root)
            && let Presence::Here(asid) = known.on[cpu.index()]
        {
            known.on[cpu.index()] = Presence::Left(asid, now);
        }
    }

    /// A TLBI that was issued at that moment has completed on `on`.
    pub(super) fn flushed(&mut self, op: &Tlbi, on: Cpus, issued: u64) {
        let covers = |asid: Asid| match *op {
            Tlbi::All => true,
            Tlbi::Asid(flushed) => flushed == asid,
            Tlbi::Va { .. } | Tlbi::Range { .. } => false,
        };
        if matches!(op, Tlbi::Va { .. } | Tlbi::Range { .. }) {
            return;
        }
        // What is held under an ASID all the same: by who runs a root under it, or left one too late.
        let mut kept = Vec::new();
        for (root, known) in &mut self.roots {
            for cpu in on.iter() {
                match &mut known.on[cpu.index()] {
                    Presence::Here(asid) => kept.push((owner_key(cpu, *asid), *root)),
                    left @ Presence::Left(..) if left.ended(issued).is_some_and(covers) => {
                        *left = Presence::Never;
                    }
                    Presence::Left(asid, _) => kept.push((owner_key(cpu, *asid), *root)),
                    Presence::Never => {}
                }
            }
        }
        self.owners.retain(|key, owner| {
            let (cpu, asid) = (CpuId::new((key >> 32) as usize), Asid::new(*key as u16));
            let runs = |(k, root): &(u64, PhysAddr)| k == key && *owner == Owner::Root(*root);
            !on.has(cpu) || !covers(asid) || kept.iter().any(runs)
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
        (0..MAX_CPUS).filter(|&n| which(known.on[n])).map(CpuId::new).collect()
    }

    /// The ASID under which `cpu` holds what it walked from the root; `None`: it never did.
    pub(super) fn asid(&self, root: PhysAddr, cpu: CpuId) -> Option<Asid> {
        match self.roots.get(&root)?.on[cpu.index()] {
            Presence::Here(asid) | Presence::Left(asid, _) => Some(asid),
            Presence::Never => None,
        }
    }

    /// Whether `cpu` ran the root under `asid` at `since` or later.
    pub(super) fn ran_since(&self, root: PhysAddr, cpu: CpuId, asid: Asid, since: u64) -> bool {
        match self.roots.get(&root).map(|known| known.on[cpu.index()]) {
            Some(Presence::Here(own)) => own == asid,
            Some(Presence::Left(own, at)) => own == asid && at >= since,
            Some(Presence::Never) | None => false,
        }
    }

    /// Whether `cpu` runs the root under `asid`, or may do so again without a flush: nobody has run it under another
    /// one since.
    pub(super) fn may_run(&self, root: PhysAddr, cpu: CpuId, asid: Asid) -> bool {
        let Some(known) = self.roots.get(&root) else { return false };
        match known.on[cpu.index()] {
            Presence::Here(own) => own == asid,
            Presence::Left(own, _) => own == asid && known.latest == asid,
            Presence::Never => false,
        }
    }
}
