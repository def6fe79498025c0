//! The translation regime (EL1&0, stage 1): what all vCPUs of a machine know and may still hold of tables.
//!
//! Tables are as RAM has them; this is what comes beside: who has which root, which pages are tables,
//! which overwritten descriptors may still be held, which new ones may not be seen yet.

use super::cpus::Cpus;
use super::frames::Frames;
use super::ram::Ram;
use super::roots::Roots;
use super::stale::{HeldBy, NEVER, Stale, StaleSet, Written};
use super::tables::{Table, Tables, entries, points_to};
use super::tlbi::{Pending, Reach, reach, reached};
use super::unseen::Unseen;
use crate::addr::{Asid, Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{CpuId, Dsb, FlushScope, Tlbi};
use crate::layout::LINEAR_BASE;
use crate::pte::{Desc, HwDirty, Kind, PteFlags};

/// A virtual CPU.
#[derive(Default)]
pub(super) struct Vcpu {
    pub(super) kernel_root: Option<PhysAddr>,
    pub(super) user_root: Option<(PhysAddr, Asid)>,
    /// TLBIs issued and not completed.
    pub(super) pending: Vec<Pending>,
    /// Descriptor stores that no DSB ISH or ISHST has followed.
    pub(super) unordered: Vec<Written>,
}

impl Vcpu {
    /// The ASID in TTBR0.
    pub(super) fn asid(&self) -> Asid {
        self.user_root.map_or(Asid::NONE, |(_, asid)| asid)
    }
}

/// See the [module](self).
pub(super) struct Regime {
    pub(super) vcpus: Vec<Vcpu>,
    pub(super) tables: Tables,
    pub(super) roots: Roots,
    pub(super) stale: StaleSet,
    pub(super) unseen: Unseen,
    pub(super) frames: Frames,
    pub(super) hw_dirty: HwDirty,
    ttl: bool,
    clock: u64,
}

/// Who may get somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    /// By a walk from now on.
    Now,
    /// By a walk at this moment or any later one.
    Since(u64),
}

impl Regime {
    pub(super) fn new(desc: &super::MachineDesc) -> Self {
        Regime {
            vcpus: (0..desc.cpus).map(|_| Vcpu::default()).collect(),
            tables: Tables::new(desc.ram_base, desc.ram_bytes),
            roots: Roots::default(),
            stale: StaleSet::default(),
            unseen: Unseen::default(),
            frames: Frames::default(),
            hw_dirty: desc.hw_dirty,
            ttl: desc.features.ttl,
            clock: 0,
        }
    }

    pub(super) fn vcpu(&mut self, cpu: CpuId) -> &mut Vcpu {
        &mut self.vcpus[cpu.index()]
    }

    pub(super) fn asid(&self, cpu: CpuId) -> Asid {
        self.vcpus[cpu.index()].asid()
    }

    /// A moment later than all before.
    pub(super) fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn all(&self) -> Cpus {
        Cpus::first(self.vcpus.len())
    }

    /// Whether a descriptor may be held at all: tables, and leaves whose access flag is set or may be set by
    /// hardware at any moment (D8.4.6).
    pub(super) fn cacheable(&self, desc: Desc, level: Level) -> bool {
        let accessed = desc.flags(level).contains(PteFlags::ACCESSED) || self.hw_dirty == HwDirty::Enabled;
        match desc.kind(level) {
            Kind::Invalid => false,
            Kind::Table => true,
            Kind::Block | Kind::Page => accessed,
        }
    }

    /// The vCPUs that may get to the table in `page`.
    pub(super) fn reach(&self, ram: &Ram, page: PhysAddr, when: When) -> Cpus {
        let Some(table) = self.tables.of(page) else { return Cpus::NONE };
        let held = self.stale.of_table(page).fold(Cpus::NONE, |cpus, e| cpus | self.walkers(e, when));
        let through = match (table.parent, self.parent(ram, page, &table), when) {
            (None, _, When::Now) => self.roots.here(page),
            (None, _, When::Since(moment)) => self.roots.since(page, moment),
            (Some(_), Some(parent), _) => self.reach(ram, parent, when),
            (Some(_), None, _) => Cpus::NONE,
        };
        held | through
    }

    /// The table whose descriptor points to the one in `page`, if it still does.
    fn parent(&self, ram: &Ram, page: PhysAddr, table: &Table) -> Option<PhysAddr> {
        let (at, above) = (table.parent?, table.level.previous()?);
        let parent = at.align_down(PAGE_SIZE);
        let known = self.tables.of(parent).is_some_and(|parent| parent.level == above);
        (known && points_to(ram, at, above, page)).then_some(parent)
    }

    /// Whether a root that is known leads to the table in `page`.
    pub(super) fn is_linked(&self, ram: &Ram, page: PhysAddr) -> bool {
        let Some(table) = self.tables.of(page) else { return false };
        match table.parent {
            Some(_) => self.parent(ram, page, &table).is_some_and(|parent| self.is_linked(ram, parent)),
            None => self.roots.is_known(page),
        }
    }

    /// The vCPUs that may go on from a stale table: of those that hold it, which run under its ASID, or have since.
    fn walkers(&self, stale: &Stale, when: When) -> Cpus {
        let runs = |&cpu: &CpuId| match (stale.by, when) {
            (HeldBy::Global | HeldBy::AnyAsid, _) => true,
            (HeldBy::Asid(asid), _) if self.asid(cpu) == asid => true,
            (HeldBy::Asid(_), When::Now) => false,
            (HeldBy::Asid(asid), When::Since(moment)) => self.roots.ran_since(stale.root, cpu, asid, moment),
        };
        stale.holders.iter().filter(runs).collect()
    }

    /// Takes notice of a root that is installed.
    pub(super) fn adopt_root(&mut self, ram: &Ram, root: PhysAddr, va: VirtAddr) {
        if self.tables.of(root).is_none_or(|table| table.parent.is_some()) {
            let since = self.now();
            self.adopt(ram, root, Table { level: Level::L0, va, parent: None, root, since });
        }
    }

    /// `cpu` has installed `root` under `asid`, and walks as long as a store is not visible what stood there before.
    pub(super) fn joins(&mut self, cpu: CpuId, root: PhysAddr, asid: Asid) {
        for entry in self.stale.invisible(root) {
            let by = HeldBy::of(entry.desc, entry.level, entry.va, asid);
            self.stale.add(Stale { by, ..entry }.held_by(Cpus::only(cpu)));
        }
    }

    /// Takes notice of the table descriptor `desc` at `at` in `above`, and of all tables below it.
    pub(super) fn link(&mut self, ram: &Ram, above: &Table, at: PhysAddr, desc: Desc) {
        let page = desc.output(above.level);
        if let Some(level) = above.level.next().filter(|_| desc.kind(above.level) == Kind::Table)
            && ram.contains(page, PAGE_SIZE)
        {
            let since = self.now();
            let table = Table { level, va: above.va_of(at), parent: Some(at), root: above.root, since };
            self.adopt(ram, page, table);
        }
    }

    fn adopt(&mut self, ram: &Ram, page: PhysAddr, table: Table) {
        self.tables.insert(page, table);
        for (at, desc) in entries(ram, page) {
            match desc.kind(table.level) {
                Kind::Table => self.link(ram, &table, at, desc),
                Kind::Block | Kind::Page => self.frames.add(desc, table.level, table.va_of(at), at),
                Kind::Invalid => {}
            }
        }
    }

    /// Makes `desc`, which stood at `at` in `table`, stale for `holders`, as overwritten by `storer`.
    pub(super) fn make_stale(
        &mut self,
        table: &Table,
        at: PhysAddr,
        desc: Desc,
        holders: Cpus,
        storer: CpuId,
    ) {
        let va = table.va_of(at);
        let when = When::Since(self.tables.since(table, at));
        let mut groups: Vec<((HeldBy, PhysAddr), Cpus)> = Vec::new();
        for cpu in holders.iter() {
            for (asid, root) in self.ways(table, at.align_down(PAGE_SIZE), cpu, when) {
                let way = (HeldBy::of(desc, table.level, va, asid), root);
                match groups.iter_mut().find(|(known, _)| *known == way) {
                    Some((_, cpus)) => *cpus |= Cpus::only(cpu),
                    None => groups.push((way, Cpus::only(cpu))),
                }
            }
        }
        for ((by, root), holders) in groups {
            let entry = Stale {
                desc,
                level: table.level,
                va,
                source: at,
                root,
                by,
                holders: Cpus::NONE,
                group_holders: Cpus::NONE,
                storer,
                visible: NEVER,
                visible_to_storer: NEVER,
                gone: false,
            };
            self.stale.add(entry.held_by(holders));
        }
    }

    /// By which ASIDs and roots `cpu` may walk the table in `page`: by the table's own root, and by stale
    /// descriptors that lead to the page since it was a table of another root, or to a table above it.
    fn ways(&self, table: &Table, page: PhysAddr, cpu: CpuId, when: When) -> Vec<(Asid, PhysAddr)> {
        let own = self.roots.asid(table.root, cpu).map(|asid| (asid, table.root));
        let way = |e: &Stale| (e.by.asid(), e.root);
        let walks = |e: &&Stale| self.walkers(e, when).has(cpu);
        let mut ways: Vec<_> =
            own.into_iter().chain(self.stale.of_table(page).filter(walks).map(way)).collect();
        if ways.is_empty() {
            let above = self.stale.iter().filter(|e| e.is_table() && e.level < table.level);
            let above = above.filter(|e| e.va == table.va.align_down(e.level.entry_bytes()));
            ways.extend(above.filter(walks).map(way));
        }
        ways
    }

    /// A barrier of `cpu`.
    pub(super) fn dsb(&mut self, ram: &Ram, cpu: CpuId, barrier: Dsb) {
        let now = self.now();
        let storer_only = barrier == Dsb::Nsh;
        let stores = std::mem::take(&mut self.vcpu(cpu).unordered);
        for store in &stores {
            self.stale.publish(store, now, barrier);
            self.unseen.ordered(store.slot, cpu, if storer_only { Cpus::only(cpu) } else { self.all() });
        }
        if storer_only {
            let seen = stores.into_iter().map(|store| Written { seen_by_self: true, ..store });
            self.vcpu(cpu).unordered = seen.collect();
        }
        if barrier != Dsb::IshSt {
            self.complete(ram, cpu, |tlbi| !storer_only || tlbi.scope == FlushScope::Local);
        }
    }

    /// Completes those of this vCPU's TLBIs that `which` names.
    fn complete(&mut self, ram: &Ram, cpu: CpuId, which: impl Fn(&Pending) -> bool) {
        let all = std::mem::take(&mut self.vcpu(cpu).pending);
        let (done, open): (Vec<_>, Vec<_>) = all.into_iter().partition(which);
        self.vcpu(cpu).pending = open;
        for tlbi in &done {
            let on = reached(tlbi.scope, Cpus::only(cpu), self.all());
            let mut gone = self.remove(tlbi, cpu, on);
            while let Some(table) = gone.pop() {
                gone.extend(self.orphan(ram, &table, tlbi));
            }
        }
    }

    /// Removes what a TLBI covers on the vCPUs `on`; returns the tables that left.
    fn remove(&mut self, tlbi: &Pending, issuer: CpuId, on: Cpus) -> Vec<Stale> {
        let Regime { stale, roots, vcpus, .. } = self;
        let walks = |e: &Stale, cpu: CpuId| match e.by {
            HeldBy::Global | HeldBy::AnyAsid => true,
            HeldBy::Asid(asid) => {
                vcpus[cpu.index()].asid() == asid || roots.ran_since(e.root, cpu, asid, tlbi.issued)
            }
        };
        let gone = stale.complete(tlbi, issuer, on, self.ttl, walks);
        self.roots.flushed(&tlbi.op, on, tlbi.issued);
        gone
    }

    /// A stale table has left the walk caches of its holders by `tlbi`: what they may hold of the entries in it
    /// is stale now by itself, as far as the TLBI does not cover it too. Returns the tables in it that are
    /// covered as well.
    fn orphan(&mut self, ram: &Ram, stale: &Stale, tlbi: &Pending) -> Vec<Stale> {
        let page = stale.desc.output(stale.level);
        let mut covered = Vec::new();
        let Some(table) = self.tables.of(page).filter(|table| table.va == stale.va) else { return covered };
        for (at, desc) in entries(ram, page) {
            if !self.cacheable(desc, table.level) {
                continue;
            }
            let va = table.va_of(at);
            let by = match stale.by {
                HeldBy::AnyAsid => HeldBy::of(desc, table.level, va, Asid::NONE),
                HeldBy::Global => HeldBy::Global,
                HeldBy::Asid(asid) => HeldBy::of(desc, table.level, va, asid),
            };
            let when = When::Since(self.tables.since(&table, at));
            let holders = self.walkers(stale, when);
            if holders.is_empty() {
                continue;
            }
            let entry = Stale { desc, level: table.level, va, source: at, by, ..*stale }.held_by(holders);
            match reach(&tlbi.op, &entry, self.ttl) {
                Reach::All if entry.is_table() => covered.push(entry),
                Reach::All => {}
                Reach::Group => self.stale.add(Stale { group_holders: Cpus::NONE, ..entry }),
                Reach::Nothing => self.stale.add(entry),
            }
        }
        covered
    }

    /// What a local flush of everything does, done at once.
    pub(super) fn forget_all(&mut self, cpu: CpuId) {
        let tlbi = Pending { op: Tlbi::All, scope: FlushScope::Local, issued: NEVER };
        self.remove(&tlbi, cpu, Cpus::only(cpu));
    }

    /// A context synchronisation of `cpu`: an ISB, an exception taken or returned from.
    pub(super) fn synchronise(&mut self, cpu: CpuId) {
        self.unseen.synchronised(cpu);
    }

    /// A vCPU comes up: it has the kernel's root of the first one, if it has none.
    pub(super) fn start(&mut self, cpu: CpuId) {
        let boot = self.vcpu(CpuId::BOOT).kernel_root;
        if let Some(root) = boot.filter(|_| self.vcpu(cpu).kernel_root.is_none()) {
            self.roots.install(cpu, root, Asid::NONE);
            self.vcpu(cpu).kernel_root = Some(root);
        }
    }

    /// The first address of the half that `root` of the kernel translates.
    pub(super) const KERNEL_HALF: VirtAddr = LINEAR_BASE;
}
