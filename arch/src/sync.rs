//! Spinlocks whose order is checked.
//!
//! A [`SpinLock`] masks interrupts on its CPU while it is held, so an interrupt handler never meets a
//! lock of its own CPU. Each lock has a [`Rank`]; a CPU takes locks in strictly rising rank. Debug
//! builds and every host build check that at each acquisition and panic with both ranks, so an order that
//! could deadlock is found on the first run that takes it, not on the first that loses the race.
//!
//! Sleeping locks have ranks of their own, which follow the thread that holds them ([`sleeping`]).
//!
//! The lock under it is `spin`'s test-and-test-and-set mutex, not its ticket lock: with more virtual CPUs
//! than host cores a ticket is often handed to a CPU that is not running.

pub(crate) mod held;
pub mod sleeping;

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

use spin::RelaxStrategy;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::Machine;
use crate::contract::{Cpu, IrqState, LockStep};
use held::Sort::Spin;

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
        held::push(Spin, self.rank);
        Machine::at_lock(LockStep::Take, self.rank.0);
        SpinGuard { inner: ManuallyDrop::new(self.inner.lock()), rank: self.rank, irq }
    }

    /// Takes the lock if nobody holds it. The order of ranks is checked as for [`Self::lock`].
    #[cfg_attr(not(target_os = "none"), track_caller)]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        let irq = Machine::mask_irqs();
        Machine::at_lock(LockStep::Try, self.rank.0);
        if let Some(guard) = self.inner.try_lock() {
            held::push(Spin, self.rank);
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
        held::pop(Spin, self.rank);
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
        held::pop(Spin, self.rank);
        Machine::restore_irqs(self.irq);
        Machine::at_lock(LockStep::Release, self.rank.0);
    }
}

/// Panics where this CPU holds a spinlock, in builds that check ranks: the caller is about to sleep.
pub fn assert_may_sleep(what: &str) {
    if let Some(rank) = held::highest(Spin) {
        panic!("{what} may sleep, but a spinlock of rank {} is held", rank.0);
    }
}

/// Whether a lock of `rank` may be taken here, where ranks are checked: for who reports an error and must not fall over
/// another.
#[must_use]
pub fn may_take(rank: Rank) -> bool {
    held::highest(Spin).is_none_or(|highest| highest < rank)
}

/// Panics where this CPU holds no spinlock of `rank`, in builds that check ranks: `what` needs one.
pub fn assert_held(rank: Rank, what: impl fmt::Display) {
    assert!(held::holds(Spin, rank), "{what} without a lock of rank {}", rank.0);
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

    /// Who asks first learns whether a lock would be refused.
    #[test]
    fn a_question_before_the_lock() {
        model::with_default_machine(|| {
            let lock = SpinLock::new(Rank(20), ());
            assert!(may_take(Rank(1)));
            let _guard = lock.lock();
            assert!(may_take(Rank(21)) && !may_take(Rank(20)) && !may_take(Rank(19)));
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
