//! A step: the only place where another vCPU may come between. Every lock, descriptor access, TLBI, barrier and
//! access of the contract passes here first. Between two steps a vCPU is alone.

use std::fmt;

use super::bind::current;
use super::machine::State;
use crate::addr::{Asid, PhysAddr, VirtAddr};
use crate::contract::{Access, CpuId, Depth, Dsb, FlushScope, LockStep, Privilege, Tag, Tlbi};
use crate::pte::Desc;

/// What the vCPU is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Passes a point that the code marks.
    Mark,
    /// Takes or tries a lock of this rank, or has released it.
    Lock(LockStep, u8),
    /// One turn of a spin loop: nothing gets better until another vCPU runs.
    Relax,
    /// Loads a descriptor.
    Read(PhysAddr),
    /// Stores a descriptor.
    Store {
        at: PhysAddr,
        new: Desc,
    },
    /// Compares and swaps a descriptor.
    Cas {
        at: PhysAddr,
        old: Desc,
        new: Desc,
    },
    /// Fills memory with zeros.
    Zero {
        at: PhysAddr,
        bytes: u64,
    },
    /// Copies memory.
    Copy {
        to: PhysAddr,
        from: PhysAddr,
        bytes: u64,
    },
    /// Issues a TLBI.
    Tlbi(Tlbi, FlushScope),
    Dsb(Dsb),
    Isb,
    /// Installs a root of the kernel's half.
    KernelRoot(PhysAddr),
    /// Installs a root of the user's half.
    UserRoot(Option<(PhysAddr, Asid)>),
    /// Accesses memory through the tables.
    Access {
        va: VirtAddr,
        access: Access,
        privilege: Privilege,
    },
    /// Asks for a translation.
    Translate {
        va: VirtAddr,
        access: Access,
        privilege: Privilege,
    },
    /// Sleeps, or wakes who sleeps, at a place.
    Sleep(usize),
    Wake(usize),
    /// Stops the other vCPUs.
    Stop,
    /// Acts as another vCPU.
    ActAs(CpuId),
}

impl Step {
    /// The descriptor that the step replaces.
    pub(super) fn stores_to(self) -> Option<PhysAddr> {
        match self {
            Step::Store { at, .. } | Step::Cas { at, .. } => Some(at),
            _ => None,
        }
    }
}

/// Turns of spin loops that a vCPU takes while a panic ends it, before it is clear that it waits for one of
/// those that run no more.
const LAST_TURNS: u32 = 1 << 16;

/// Comes before each step of `cpu`. Other vCPUs may run before it returns.
///
/// While a panic unwinds nobody else runs, and nothing is counted.
///
/// # Panics
/// The machine is out of steps, or nobody can go on.
pub(super) fn before(state: &State, cpu: CpuId, step: Step) {
    let sched = &state.sched;
    if std::thread::panicking() {
        let waits_in_vain = step == Step::Relax && sched.turn() > LAST_TURNS;
        assert!(!waits_in_vain, "model: vCPU {cpu} panics, and spins for what another vCPU holds");
        return;
    }
    let here = state.trace.here();
    sched.pass(state, step);
    let made = sched.count_step();
    assert!(made <= state.desc.max_steps, "model: {} steps without an end", state.desc.max_steps);
    state.trace.record(state, cpu, step, here);
}

/// What a machine has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Steps {
    /// Calls of [`super::run_on_cpus`].
    pub schedules: u64,
    /// Steps of all vCPUs together.
    pub steps: u64,
    /// Times that one vCPU gave way to another.
    pub switches: u64,
}

/// What the current machine has done so far.
#[must_use]
pub fn steps() -> Steps {
    current(|state, _| state.sched.figures())
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Step::Mark => write!(f, "mark"),
            Step::Lock(LockStep::Take, rank) => write!(f, "lock rank {rank}"),
            Step::Lock(LockStep::Try, rank) => write!(f, "try lock rank {rank}"),
            Step::Lock(LockStep::Release, rank) => write!(f, "unlock rank {rank}"),
            Step::Relax => write!(f, "spin"),
            Step::Read(at) => write!(f, "read descriptor at {at}"),
            Step::Store { at, new } => write!(f, "store {new} at {at}"),
            Step::Cas { at, old, new } => write!(f, "swap {old} for {new} at {at}"),
            Step::Zero { at, bytes } => write!(f, "zero {bytes} bytes at {at}"),
            Step::Copy { to, from, bytes } => write!(f, "copy {bytes} bytes from {from} to {to}"),
            Step::Tlbi(op, scope) => tlbi(f, op, scope),
            Step::Dsb(Dsb::IshSt) => write!(f, "DSB ISHST"),
            Step::Dsb(Dsb::Ish) => write!(f, "DSB ISH"),
            Step::Dsb(Dsb::Nsh) => write!(f, "DSB NSH"),
            Step::Isb => write!(f, "ISB"),
            Step::KernelRoot(root) => write!(f, "kernel root {root}"),
            Step::UserRoot(Some((root, asid))) => write!(f, "user root {root} asid {asid}"),
            Step::UserRoot(None) => write!(f, "no user root"),
            Step::Access { va, access, privilege } => {
                write!(f, "{} {} {va}", who(privilege), verb(access))
            }
            Step::Translate { va, access, privilege } => {
                write!(f, "translate {} {} {va}", who(privilege), verb(access))
            }
            Step::Sleep(place) => write!(f, "sleep at place {place}"),
            Step::Wake(place) => write!(f, "wake place {place}"),
            Step::Stop => write!(f, "stop the others"),
            Step::ActAs(cpu) => write!(f, "act as vCPU {cpu}"),
        }
    }
}

fn who(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::User => "user",
        Privilege::Kernel => "kernel",
    }
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Execute => "execute",
    }
}

/// The instruction and its operand, as in `TLBI VAE1IS 0x… asid 1 level 3`.
fn tlbi(f: &mut fmt::Formatter<'_>, op: Tlbi, scope: FlushScope) -> fmt::Result {
    let shareable = match scope {
        FlushScope::Broadcast => "IS",
        FlushScope::Local => "",
    };
    let kind = |tag, depth| match (tag, depth) {
        (Tag::Asid(_), Depth::AllLevels) => "VAE1",
        (Tag::Asid(_), Depth::LeafOnly) => "VALE1",
        (Tag::AllAsids, Depth::AllLevels) => "VAAE1",
        (Tag::AllAsids, Depth::LeafOnly) => "VAALE1",
    };
    let (tag, level) = match op {
        Tlbi::Va { va, tag, depth, level } => {
            write!(f, "TLBI {}{shareable} {va}", kind(tag, depth))?;
            (Some(tag), level)
        }
        Tlbi::Range { start, pages, tag, depth, level } => {
            write!(f, "TLBI R{}{shareable} {start}, {pages} pages", kind(tag, depth))?;
            (Some(tag), level)
        }
        Tlbi::Asid(asid) => {
            write!(f, "TLBI ASIDE1{shareable}")?;
            (Some(Tag::Asid(asid)), None)
        }
        Tlbi::All => {
            write!(f, "TLBI VMALLE1{shareable}")?;
            (None, None)
        }
    };
    if let Some(Tag::Asid(asid)) = tag {
        write!(f, " asid {asid}")?;
    }
    level.map_or(Ok(()), |level| write!(f, " level {level}"))
}
