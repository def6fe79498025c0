//! Which records are written at all, of the points that are on.
#![forbid(unsafe_code)]

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::VirtAddr;
use arch::contract::{CpuId, MAX_CPUS};

use super::points::Point;
use super::record::{Args, Running};

/// What is let through. Of a slice both ends are asked, by what each says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Of this process alone.
    pub pid: Option<u32>,
    /// Of this CPU alone.
    pub cpu: Option<CpuId>,
    /// Of points that have an address, those with one from the first to before the second.
    pub va: Option<(VirtAddr, VirtAddr)>,
}

impl Filter {
    /// Everything.
    pub const NONE: Filter = Filter { pid: None, cpu: None, va: None };
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Filter::NONE {
            return f.write_str("none");
        }
        let mut space = "";
        if let Some(pid) = self.pid {
            write!(f, "pid={pid}")?;
            space = " ";
        }
        if let Some(cpu) = self.cpu {
            write!(f, "{space}cpu={cpu}")?;
            space = " ";
        }
        if let Some((from, to)) = self.va {
            write!(f, "{space}va={:#x}..{:#x}", from.raw(), to.raw())?;
        }
        Ok(())
    }
}

/// The filter in words that every CPU reads. It changes while no point is on.
pub(super) struct Sieve {
    /// 0: any; else one more than the number.
    pid: AtomicU64,
    /// Likewise.
    cpu: AtomicU64,
    from: AtomicU64,
    to: AtomicU64,
}

const _: () = assert!(MAX_CPUS < u32::MAX as usize);

impl Sieve {
    pub(super) const fn new() -> Self {
        Sieve {
            pid: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            from: AtomicU64::new(0),
            to: AtomicU64::new(0),
        }
    }
    pub(super) fn set(&self, filter: Filter) {
        let (from, to) = filter.va.map_or((0, 0), |(from, to)| (from.raw(), to.raw()));
        self.pid.store(filter.pid.map_or(0, |pid| u64::from(pid) + 1), Ordering::Relaxed);
        self.cpu.store(filter.cpu.map_or(0, |cpu| cpu.index() as u64 + 1), Ordering::Relaxed);
        self.from.store(from, Ordering::Relaxed);
        self.to.store(to, Ordering::Relaxed);
    }
    pub(super) fn get(&self) -> Filter {
        let word = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let (from, to) = (word(&self.from), word(&self.to));
        Filter {
            pid: word(&self.pid).checked_sub(1).map(|pid| pid as u32),
            cpu: word(&self.cpu).checked_sub(1).map(|cpu| CpuId::new(cpu as usize)),
            va: (to != 0).then(|| (VirtAddr::new(from), VirtAddr::new(to))),
        }
    }
    /// Whether the record is written. Changes of threads are, whoever they are of, as without them nobody can tell
    /// where a slice went on.
    pub(super) fn lets(&self, point: Point, cpu: CpuId, running: Running, args: &Args) -> bool {
        let Filter { pid, cpu: only, va } = self.get();
        let here = only.is_none_or(|only| only == cpu);
        if point == Point::Switch {
            return here;
        }
        let there = |(from, to): (VirtAddr, VirtAddr)| (from.raw()..to.raw()).contains(&args[0]);
        here && pid.is_none_or(|pid| pid == running.pid)
            && va.is_none_or(|range| !point.has_va() || there(range))
    }
}
