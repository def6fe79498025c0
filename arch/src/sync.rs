//! Spinlocks whose order is checked.
//!
//! A [`SpinLock`] masks interrupts on its CPU while it is held, so an interrupt handler never meets a
//! lock of its own CPU. Each lock has a [`Rank`]; a CPU takes locks in strictly rising rank. Debug
//! builds and every host build check that at each acquisition and panic with both ranks, so an order that
//! could deadlock is found on the first run that takes it, not on the first that loses the race.
//!
//! The lock under it is `spin`'s test-and-test-and-set mutex, not its ticket lock: with more virtual CPUs
//! than host cores a ticket is often handed to a CPU that is not running.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

use spin::RelaxStrategy;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::Machine;
use crate::contract::{Cpu, IrqState, LockStep};

/// A lock's place in the order; see `mm::locks` for the list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank(pub u8);

struct Turn;

impl RelaxStrategy for Turn {
    #[inline]
    fn relax() {
        Machine::relax();
    }
}

/// A spinlock with a rank. Holding it masks interrupts on this CPU; its holder must not sleep.
pub struct SpinLock<T: ?Sized> {
    rank: Rank,
    inner: SpinMutex<T, Turn>,
}

impl<T> SpinLock<T> {
    /// A free lock around `value`.
    pub const fn new(rank: Rank, value: T) -> Self {
        SpinLock { rank, inner: SpinMutex::new(value) }
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Takes the lock.
    ///
    /// # Panics
    /// Where ranks are checked: this CPU holds a lock of the same or a higher rank.
    #[cfg_attr(not(target_os = "none"), track_caller)]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        let irq = Machine::mask_irqs();
        held::push(self.rank);
        Machine::at_lock(LockStep::Take, self.rank.0);
        SpinGuard { inner: ManuallyDrop::new(self.inner.lock()), rank: self.rank, irq }
    }

    /// Takes the lock if nobody holds it. The order of ranks is checked as for [`Self::lock`].
    #[cfg_attr(not(target_os = "none"), track_caller)]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        let irq = Machine::mask_irqs();
        Machine::at_lock(LockStep::Try, self.rank.0);
        if let Some(guard) = self.inner.try_lock() {
            held::push(self.rank);
            return Some(SpinGuard { inner: ManuallyDrop::new(guard), rank: self.rank, irq });
        }
        Machine::restore_irqs(irq);
        None
    }

    /// Releases a lock that was taken by a context which this CPU has left meanwhile. Interrupts stay masked.
    ///
    /// # Safety
    /// 1. This CPU holds the lock.
    /// 2. The guard that it was taken with is not dropped while the lock is free or held by another.
    pub unsafe fn release_handed_over(&self) {
        held::pop(self.rank);
        // SAFETY: `force_unlock` asks that the lock is held and that no guard will unlock it again: items 1 and 2.
        unsafe { self.inner.force_unlock() };
    }

    /// Whether somebody holds the lock at this moment.
    pub fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }

    /// The value, without locking: nobody else can hold the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

/// The right to use what a [`SpinLock`] protects; releases it when dropped.
pub struct SpinGuard<'a, T: ?Sized> {
    inner: ManuallyDrop<SpinMutexGuard<'a, T, Turn>>,
    rank: Rank,
    irq: IrqState,
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: `inner` is dropped here only, and nothing uses the guard afterwards.
        unsafe { ManuallyDrop::drop(&mut self.inner) };
        held::pop(self.rank);
        Machine::restore_irqs(self.irq);
        Machine::at_lock(LockStep::Release, self.rank.0);
    }
}

/// Panics where this CPU holds a spinlock, in builds that check ranks: the caller is about to sleep.
pub fn assert_may_sleep(what: &str) {
    if let Some(rank) = held::highest() {
        panic!("{what} may sleep, but a spinlock of rank {} is held", rank.0);
    }
}

/// Panics where this CPU holds no spinlock of `rank`, in builds that check ranks: `what` needs one.
pub fn assert_held(rank: Rank, what: impl fmt::Display) {
    assert!(held::holds(rank), "{what} without a lock of rank {}", rank.0);
}

/// The ranks that each CPU holds.
#[cfg(any(debug_assertions, not(target_os = "none")))]
pub(crate) mod held {
    use super::Rank;

    /// Deepest nesting of spinlocks.
    const DEPTH: usize = 16;

    #[derive(Clone, Copy)]
    pub(crate) struct Stack {
        ranks: [u8; DEPTH],
        len: usize,
    }

    impl Stack {
        pub(crate) const EMPTY: Stack = Stack { ranks: [0; DEPTH], len: 0 };

        fn top(&self) -> Option<Rank> {
            self.ranks[..self.len].iter().max().map(|&r| Rank(r))
        }

        fn push(&mut self, rank: Rank) {
            if let Some(top) = self.top() {
                assert!(rank > top, "lock order: rank {} taken while rank {} is held", rank.0, top.0);
            }
            assert!(self.len < DEPTH, "lock order: more than {DEPTH} spinlocks held");
            self.ranks[self.len] = rank.0;
            self.len += 1;
        }

        fn pop(&mut self, rank: Rank) {
            let held = self.ranks[..self.len].iter().rposition(|&r| r == rank.0);
            let at = held.expect("a guard that is dropped was taken on this CPU");
            self.ranks.copy_within(at + 1..self.len, at);
            self.len -= 1;
        }
    }

    pub(super) fn push(rank: Rank) {
        with(|stack| stack.push(rank));
    }
    pub(super) fn pop(rank: Rank) {
        with(|stack| stack.pop(rank));
    }
    pub(super) fn highest() -> Option<Rank> {
        with(|stack| stack.top())
    }
    pub(super) fn holds(rank: Rank) -> bool {
        with(|stack| stack.ranks[..stack.len].contains(&rank.0))
    }

    #[cfg(not(target_os = "none"))]
    use crate::model::with_ranks as with;

    #[cfg(target_os = "none")]
    fn with<R>(f: impl FnOnce(&mut Stack) -> R) -> R {
        use core::cell::UnsafeCell;

        use crate::Machine;
        use crate::contract::{Cpu, MAX_CPUS};

        struct PerCpu(UnsafeCell<[Stack; MAX_CPUS]>);
        // SAFETY: each CPU touches its own element only, with interrupts masked.
        unsafe impl Sync for PerCpu {}
        static HELD: PerCpu = PerCpu(UnsafeCell::new([Stack::EMPTY; MAX_CPUS]));

        let irq = Machine::mask_irqs();
        // SAFETY: the element of this CPU; interrupts are masked, so no other code of this CPU comes
        // between, and `f` does not call back into this module.
        let result = f(unsafe { &mut (*HELD.0.get())[Machine::id().index()] });
        Machine::restore_irqs(irq);
        result
    }
}

/// Release builds on the machine do not check.
#[cfg(not(any(debug_assertions, not(target_os = "none"))))]
mod held {
    use super::Rank;

    pub(super) fn push(_: Rank) {}
    pub(super) fn pop(_: Rank) {}
    pub(super) fn highest() -> Option<Rank> {
        None
    }
    pub(super) fn holds(_: Rank) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;

    /// Rising ranks are accepted, and a released rank may be taken again.
    #[test]
    fn rising_order_is_accepted() {
        model::with_default_machine(|| {
            let (low, high) = (SpinLock::new(Rank(10), 1), SpinLock::new(Rank(20), 2));
            for _ in 0..2 {
                let a = low.lock();
                assert_eq!(*a + *high.lock(), 3);
            }
        });
    }

    /// A falling order is refused, even though nobody contends.
    #[test]
    #[should_panic(expected = "lock order: rank 10 taken while rank 20 is held")]
    fn falling_order_is_refused() {
        model::with_default_machine(|| {
            let (low, high) = (SpinLock::new(Rank(10), ()), SpinLock::new(Rank(20), ()));
            let _outer = high.lock();
            let _inner = low.lock();
        });
    }

    /// A lock of the rank that is asked for is held, whatever else is held beside it.
    #[test]
    fn a_held_rank_is_found() {
        model::with_default_machine(|| {
            let (low, high) = (SpinLock::new(Rank(10), ()), SpinLock::new(Rank(20), ()));
            let outer = low.lock();
            let inner = high.lock();
            assert_held(Rank(10), "this test");
            assert_held(Rank(20), "this test");
            drop((inner, outer));
        });
    }

    /// A lock of another rank is not the lock that is asked for, nor is one that was released.
    #[test]
    #[should_panic(expected = "this test without a lock of rank 10")]
    fn a_rank_that_is_not_held_is_missed() {
        model::with_default_machine(|| {
            let (low, high) = (SpinLock::new(Rank(10), ()), SpinLock::new(Rank(20), ()));
            drop(low.lock());
            let _other = high.lock();
            assert_held(Rank(10), "this test");
        });
    }

    /// Sleeping under a spinlock is refused.
    #[test]
    #[should_panic(expected = "may sleep, but a spinlock of rank 7 is held")]
    fn sleeping_under_a_spinlock_is_refused() {
        model::with_default_machine(|| {
            let lock = SpinLock::new(Rank(7), ());
            let _guard = lock.lock();
            assert_may_sleep("this test");
        });
    }
}
