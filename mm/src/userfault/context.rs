//! One context: its faults, who waits for them to be served, and who waits for the next one.
//!
//! A context lives in the table of its space until it is closed ([`crate::Mm::close_userfault`]) or the space ends. Who
//! has a [`KArc`] of it afterwards finds it ended, which is for ever.
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arch::VirtAddr;
use arch::sync::SpinLock;

use super::queue::{Minor, Queue};
use super::table::UserfaultId;
use crate::Mm;
use crate::env::Killed;
use crate::error::OutOfMemory;
use crate::kalloc::KArc;
use crate::locks;
use crate::space::{AddressSpace, Vma};
use crate::turnstile::Turnstile;

/// Whose faults a context serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serves {
    /// Those of the program, and those of the kernel's copies on its behalf.
    All,
    /// Those of the program; one of the kernel fails (UFFD_USER_MODE_ONLY).
    UserOnly,
}

/// A context.
pub struct Userfault {
    /// Whose ranges it may serve.
    pub(super) space: KArc<AddressSpace>,
    pub(crate) id: UserfaultId,
    pub(super) whose: Serves,
    queue: SpinLock<Queue>,
    /// Faults of which nobody knows. Written under the queue's lock, read without it by who decides whether to wait.
    news: AtomicUsize,
    /// Set once, under M of the space, before all that sleep are woken.
    ended: AtomicBool,
    /// Where faults wait.
    turnstile: Turnstile,
}

impl Userfault {
    pub(super) fn new(space: &KArc<AddressSpace>, id: UserfaultId, serves: Serves) -> Self {
        Userfault {
            space: space.clone(),
            id,
            whose: serves,
            queue: SpinLock::new(locks::USERFAULT, Queue::new()),
            news: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            turnstile: Turnstile::new(),
        }
    }

    /// The space whose faults it serves.
    #[must_use]
    pub fn space(&self) -> &KArc<AddressSpace> {
        &self.space
    }

    /// Whether this VMA of its space is registered with it. Stays so while the caller holds M.
    #[must_use]
    pub fn serves(&self, vma: &Vma) -> bool {
        vma.userfault == Some(self.id)
    }

    /// Whether it was closed, or its space has ended: nothing is registered with it any more, and nothing will be.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Takes note of a fault, under this number, and tells who waits for one. M of the space is held.
    ///
    /// # Errors
    /// [`OutOfMemory`]: nothing is noted.
    pub(super) fn push(&self, mm: &Mm, number: u64, fault: Minor) -> Result<(), OutOfMemory> {
        self.with_queue(|queue| queue.push(number, fault))?;
        mm.env.unpark_all(self.news_key());
        Ok(())
    }

    /// The fault does not wait.
    pub(super) fn withdraw(&self, number: u64) {
        self.with_queue(|queue| queue.remove(number));
    }

    /// Sleeps until the fault is woken.
    ///
    /// # Errors
    /// [`Killed`]; the fault does not wait any more.
    pub(super) fn sleep(&self, mm: &Mm, number: u64) -> Result<(), Killed> {
        let woken = || (!self.queue.lock().holds(number)).then_some(());
        self.turnstile.wait_killable(mm, woken).inspect_err(|_| self.withdraw(number))
    }

    /// Faults of pages that begin in this range are tried again. What was changed for them was changed before.
    pub(super) fn wake(&self, mm: &Mm, pages: &Range<VirtAddr>) {
        if self.with_queue(|queue| queue.remove_in(pages)) != 0 {
            self.turnstile.wake(mm);
        }
    }

    /// Takes note of the next fault, in the order in which they came, of a page that begins in this range. It waits
    /// until it is continued or woken. Takes a spinlock of rank 23.
    pub fn next_fault(&self, pages: Range<VirtAddr>) -> Option<Minor> {
        self.with_queue(|queue| queue.next(&pages))
    }

    /// Faults of this page, told by [`Self::next_fault`], are told again: who was told could not pass it on.
    pub fn untell(&self, mm: &Mm, fault: &Minor) {
        self.with_queue(|queue| queue.untell(fault.page));
        mm.env.unpark_all(self.news_key());
    }

    /// Sleeps until there is a fault of which nobody knows, or the context has ended. No spinlock is held.
    ///
    /// # Errors
    /// [`Killed`]: the process of this thread is to end.
    pub fn wait_for_fault(&self, mm: &Mm) -> Result<(), Killed> {
        let quiet = || self.news.load(Ordering::SeqCst) == 0 && !self.is_ended();
        while quiet() {
            mm.env.park_killable(self.news_key(), &quiet)?;
        }
        Ok(())
    }

    /// How many faults wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.lock().len()
    }

    /// It ends. Nothing is registered with it any more, and M of the space is held for writing.
    pub(super) fn end(&self, mm: &Mm) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake(mm, &super::calls::EVERYWHERE);
        mm.env.unpark_all(self.news_key());
    }

    fn with_queue<R>(&self, f: impl FnOnce(&mut Queue) -> R) -> R {
        let mut queue = self.queue.lock();
        let result = f(&mut queue);
        self.news.store(queue.news(), Ordering::SeqCst);
        result
    }

    /// What those park on who wait for a fault.
    fn news_key(&self) -> usize {
        core::ptr::from_ref(&self.news).addr()
    }
}
