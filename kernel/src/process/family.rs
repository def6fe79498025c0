//! Numbers of processes, parents and children, zombies.
//!
//! A process has a place in a table; its number says which, and which tenant of the place it is, so that it is found
//! at once and numbers come round again late. A parent has two lists: children that live, and zombies, which have
//! ended and keep their place until `wait4` has told of them.
//!
//! ```text
//!   reserve -> Reserved -> fill -> Lives --depart--> Zombie --reap--> free
//!                 |                   |                 `- at once, where nobody can wait for it
//!                 `---- dropped ------+--forget--> free
//! ```
//! Children of a process that ends become children of the first of the family. The lock ([`RANK`]) is below all of
//! memory management's, so that references may be dropped under it; nothing sleeps under it.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering};

use arch::aarch64::percpu::STACK_BYTES;
use arch::addr::PAGE_SIZE;
use arch::sync::{Rank, SpinLock};
use mm::kalloc::KArc;

use super::{ExitStatus, ForkError, Killed, Process, Signal};
use crate::list::{Linked, Links, List};
use crate::{sched, the_mm};

/// Places: processes that can exist at a time, zombies among them.
pub const MAX_PROCESSES: usize = sched::MAX_THREADS;
/// The lock's place in the order of `mm::locks`.
const RANK: Rank = Rank(4);
/// Numbers are below this one, as with Linux's largest pid_max.
const PID_END: u32 = 1 << 22;
/// The part of memory that kernel stacks of processes may take, as with Linux's threads-max: one of so many.
const STACK_SHARE: u64 = 8;

static FAMILIES: SpinLock<Families> = SpinLock::new(RANK, Families::EMPTY);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Free,
    Reserved,
    Lives,
    Zombie,
}

struct Place {
    stage: Stage,
    pid: u32,
    parent: Option<u16>,
    process: Option<KArc<Process>>,
    /// In the list of free places, or in one of its parent's.
    links: Links,
    living: List,
    zombies: List,
}

impl Linked for Place {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

struct Families {
    places: [Place; MAX_PROCESSES],
    /// Places below this one have been used.
    used: u16,
    free: List,
    /// Places that are not free.
    count: usize,
}

/// Whose child a process becomes.
pub(super) enum Parent<'a> {
    /// Nobody's: the kernel waits for it.
    Kernel,
    /// This one's.
    Process(&'a KArc<Process>),
}

/// A place, not filled yet.
pub(super) struct Reserved {
    place: u16,
    pid: u32,
}

/// Which children `wait4` means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// All.
    Any,
    /// The one with this number.
    Pid(u32),
}

/// What `wait4` finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waited {
    /// This child has ended so, and is gone.
    Ended(u32, ExitStatus),
    /// There are children, and none has ended.
    NotYet,
    /// There is no such child.
    NoChild,
}

const fn place_of(pid: u32) -> u16 {
    (pid.wrapping_sub(1) % MAX_PROCESSES as u32) as u16
}

/// How many processes there can be on this machine, zombies among them.
pub fn limit() -> usize {
    let stacks = the_mm().managed_pages() / STACK_SHARE / (STACK_BYTES / PAGE_SIZE);
    MAX_PROCESSES.min(stacks as usize)
}

/// A place for a new process; `None` where there are as many as there can be.
pub(super) fn reserve() -> Option<Reserved> {
    let limit = limit();
    FAMILIES.lock().reserve(limit)
}

impl Reserved {
    /// The number of the process that will have the place.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Gives the place to a process, which lives from now on.
    ///
    /// # Errors
    /// [`ForkError::Ending`]: parent or family are about to end.
    pub(super) fn fill(self, process: &KArc<Process>, parent: Parent<'_>) -> Result<(), ForkError> {
        let mut families = FAMILIES.lock();
        let parent = match parent {
            Parent::Kernel => None,
            Parent::Process(parent) => {
                let first_ends = process.first.as_ref().is_some_and(|first| first.verdict().is_some());
                if first_ends || parent.verdict().is_some() {
                    drop(families);
                    return Err(ForkError::Ending);
                }
                Some(place_of(parent.pid))
            }
        };
        let place = families.place(self.place);
        (place.stage, place.parent, place.process) = (Stage::Lives, parent, Some(process.clone()));
        families.enlist(self.place);
        core::mem::forget(self);
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        FAMILIES.lock().release(self.place);
    }
}

/// A process that was given its place never ran: the place is free again.
pub(super) fn forget(process: &Process) {
    let gone = {
        let mut families = FAMILIES.lock();
        let place = place_of(process.pid);
        families.delist(place);
        families.release(place)
    };
    drop(gone);
    process.tell_first();
}

/// A process has ended: its children have another parent, its own parent is told, and it is a zombie where that one can
/// wait for it.
pub(super) fn depart(process: &Process) {
    let me = place_of(process.pid);
    let heir = process.first.as_ref().filter(|first| !first.ends()).map(|first| place_of(first.pid));
    FAMILIES.lock().pass_on(me, heir);
    if heir.is_none() {
        // Nobody waits for these any more.
        let one = || FAMILIES.lock().take_zombie(me);
        core::iter::from_fn(one).for_each(drop);
    } else if let Some(first) = &process.first {
        first.tell();
    }
    let (gone, parent) = FAMILIES.lock().become_zombie(me, heir);
    drop(gone);
    if let Some(parent) = parent {
        parent.tell();
    }
    process.tell_first();
}

/// Ends every other process of the family whose first this is, and waits until they are gone. The first has left EL0,
/// so that there will be no new ones.
pub(super) fn end_all_others(first: &Process) {
    loop {
        let seen = first.events.load(Ordering::Acquire);
        let mut living = 0;
        for_each(|process| {
            let of_family =
                process.first.as_ref().is_some_and(|other| core::ptr::eq(&raw const **other, first));
            if of_family {
                process.kill(Signal::Kill);
                living += 1;
            }
        });
        if living == 0 {
            return;
        }
        sched::park(first.events_key(), &|| first.events.load(Ordering::Acquire) == seen);
    }
}

/// Looks for an ended child of `parent`; one that is found is gone.
pub(super) fn look(parent: &Process, which: Which) -> Waited {
    let (waited, gone) = FAMILIES.lock().look(place_of(parent.pid), which);
    drop(gone);
    waited
}

/// The number of the parent; 0 where that is the kernel.
pub fn parent_of(process: &Process) -> u32 {
    let mut families = FAMILIES.lock();
    families.place(place_of(process.pid)).parent.map_or(0, |parent| families.place(parent).pid)
}

/// The process with this number, until somebody has waited for it.
pub fn find(pid: u32) -> Option<KArc<Process>> {
    let mut families = FAMILIES.lock();
    let place = families.place(place_of(pid));
    let is_there = matches!(place.stage, Stage::Lives | Stage::Zombie);
    (place.pid == pid && is_there).then(|| place.process.clone()).flatten()
}

/// Tells `each` of every process that has not ended. No lock is held while `each` runs.
pub fn for_each(mut each: impl FnMut(&KArc<Process>)) {
    let at = |place| {
        let mut families = FAMILIES.lock();
        (place < families.used).then(|| families.living(place))
    };
    (0..=u16::MAX).map_while(at).flatten().for_each(|process| each(&process));
}

impl Process {
    /// Looks for a child that has ended, and waits for one.
    ///
    /// # Errors
    /// [`Killed`]: this process is to end.
    pub fn wait_for_child(&self, which: Which) -> Result<Waited, Killed> {
        loop {
            let seen = self.events.load(Ordering::Acquire);
            match look(self, which) {
                Waited::NotYet => {}
                waited => return Ok(waited),
            }
            self.park(self.events_key(), &|| self.events.load(Ordering::Acquire) == seen)?;
        }
    }

    /// Looks for a child that has ended.
    pub fn poll_child(&self, which: Which) -> Waited {
        look(self, which)
    }

    /// Something happened that this process may wait for.
    fn tell(&self) {
        self.events.fetch_add(1, Ordering::AcqRel);
        sched::unpark_all(self.events_key());
    }

    /// Tells the first of the family, where that waits for all others to go.
    fn tell_first(&self) {
        if let Some(first) = self.first.as_ref().filter(|first| first.ends()) {
            first.tell();
        }
    }

    fn events_key(&self) -> usize {
        core::ptr::from_ref::<AtomicU32>(&self.events).addr()
    }
}

impl Families {
    const EMPTY: Families = Families {
        places: [const {
            Place {
                stage: Stage::Free,
                pid: 0,
                parent: None,
                process: None,
                links: Links::NONE,
                living: List::EMPTY,
                zombies: List::EMPTY,
            }
        }; MAX_PROCESSES],
        used: 0,
        free: List::EMPTY,
        count: 0,
    };

    fn place(&mut self, place: u16) -> &mut Place {
        &mut self.places[usize::from(place)]
    }

    /// Places that were never used come first, then the one that is free for the longest.
    fn reserve(&mut self, limit: usize) -> Option<Reserved> {
        if self.count >= limit {
            return None;
        }
        let place = if usize::from(self.used) < MAX_PROCESSES {
            self.used += 1;
            self.used - 1
        } else {
            self.free.pop(&mut self.places)?
        };
        self.count += 1;
        let slot = self.place(place);
        let next = slot.pid + MAX_PROCESSES as u32;
        slot.pid = if slot.pid == 0 || next >= PID_END { u32::from(place) + 1 } else { next };
        slot.stage = Stage::Reserved;
        Some(Reserved { place, pid: slot.pid })
    }

    /// The place is free; what stood in it is the caller's, to be dropped without the lock.
    fn release(&mut self, place: u16) -> Option<KArc<Process>> {
        let slot = self.place(place);
        (slot.stage, slot.parent) = (Stage::Free, None);
        let process = slot.process.take();
        self.free.push(&mut self.places, place);
        self.count -= 1;
        process
    }

    fn living(&mut self, place: u16) -> Option<KArc<Process>> {
        let slot = self.place(place);
        if slot.stage == Stage::Lives { slot.process.clone() } else { None }
    }

    /// The list of its parent that a place belongs to by its stage.
    fn with_list(&mut self, place: u16, change: fn(&mut List, &mut [Place], u16)) {
        let (Some(parent), stage) = (self.place(place).parent, self.place(place).stage) else { return };
        let lists = self.place(parent);
        let mut list = if stage == Stage::Zombie { lists.zombies } else { lists.living };
        change(&mut list, &mut self.places, place);
        let lists = self.place(parent);
        if stage == Stage::Zombie {
            lists.zombies = list;
        } else {
            lists.living = list;
        }
    }

    fn enlist(&mut self, place: u16) {
        self.with_list(place, |list, places, place| list.push(places, place));
    }

    fn delist(&mut self, place: u16) {
        self.with_list(place, |list, places, place| list.remove(places, place));
    }

    /// All children become those of `heir`; without one the living are nobody's, and the zombies stay.
    fn pass_on(&mut self, place: u16, heir: Option<u16>) {
        while let Some(child) = self.place(place).living.first() {
            self.delist(child);
            self.place(child).parent = heir;
            self.enlist(child);
        }
        while let Some((child, heir)) = self.place(place).zombies.first().zip(heir) {
            self.delist(child);
            self.place(child).parent = Some(heir);
            self.enlist(child);
        }
    }

    fn take_zombie(&mut self, parent: u16) -> Option<KArc<Process>> {
        let zombie = self.place(parent).zombies.first()?;
        self.delist(zombie);
        self.release(zombie)
    }

    /// An ended process becomes a zombie of its parent, or of `heir` where that one is about to end. It goes at once
    /// where neither can wait for it. Returns what is gone, and who is to be told.
    fn become_zombie(
        &mut self,
        place: u16,
        heir: Option<u16>,
    ) -> (Option<KArc<Process>>, Option<KArc<Process>>) {
        self.delist(place);
        let own = self.place(place).parent;
        let mut waits = |parent| self.living(parent).filter(|parent| !parent.ends()).zip(Some(parent));
        let parent = own.and_then(&mut waits).or_else(|| heir.and_then(&mut waits));
        match parent {
            Some((process, parent)) => {
                let slot = self.place(place);
                (slot.stage, slot.parent) = (Stage::Zombie, Some(parent));
                self.enlist(place);
                (None, Some(process))
            }
            None => (self.release(place), None),
        }
    }

    fn look(&mut self, parent: u16, which: Which) -> (Waited, Option<KArc<Process>>) {
        let lists = self.place(parent);
        let (zombie, living) = match which {
            Which::Any => (lists.zombies.first(), lists.living.first().is_some()),
            Which::Pid(pid) => {
                let child = place_of(pid);
                let slot = self.place(child);
                let ours = slot.pid == pid && slot.parent == Some(parent);
                ((ours && slot.stage == Stage::Zombie).then_some(child), ours && slot.stage == Stage::Lives)
            }
        };
        match zombie {
            Some(zombie) => {
                self.delist(zombie);
                let pid = self.place(zombie).pid;
                let process = self.release(zombie);
                let status = process.as_ref().and_then(|process| process.status());
                (Waited::Ended(pid, status.unwrap_or(ExitStatus::Exited(0))), process)
            }
            None if living => (Waited::NotYet, None),
            None => (Waited::NoChild, None),
        }
    }
}
