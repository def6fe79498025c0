//! The order of sleeping locks.
//!
//! A thread takes sleeping locks in strictly rising rank, and with no spinlock held. So their order and that of the
//! spinlocks are two: a spinlock of any rank may be taken under a sleeping lock. It is checked where the other is, when
//! a lock is asked for, whether or not anybody has it.
//!
//! A thread that sleeps goes on elsewhere, with what it holds. While it runs its ranks stand with its CPU; the
//! scheduler puts them aside with the thread:
//!
//! ```text
//!   thread a   take 10 ... leave_cpu --> kept with a                          enter_cpu ... let_go 10
//!   thread b                             enter_cpu ... leave_cpu --> kept with b
//! ```
//! On the model a vCPU is a thread, and nothing is put aside.
#![forbid(unsafe_code)]

use super::held::{self, Sort::Sleep};
use super::{Rank, assert_may_sleep};

/// The ranks of the sleeping locks that a thread holds while it has no CPU.
#[derive(Clone, Copy)]
pub struct Ranks(held::Ranks);

impl Ranks {
    /// A thread that holds none.
    pub const NONE: Ranks = Ranks(held::Ranks::NONE);
}

/// The thread that runs here is about to take a sleeping lock.
///
/// # Panics
/// Where ranks are checked: it holds a sleeping lock of the same or a higher rank, or this CPU a spinlock.
#[inline]
pub fn take(rank: Rank) {
    assert_may_sleep("a sleeping lock");
    held::push(Sleep, rank);
}

/// The thread that runs here lets go of a sleeping lock.
///
/// # Panics
/// Where ranks are checked: it holds none of this rank.
#[inline]
pub fn let_go(rank: Rank) {
    held::pop(Sleep, rank);
}

/// The thread that runs here leaves its CPU. Interrupts are masked until the next one has entered.
#[must_use]
pub fn leave_cpu() -> Ranks {
    Ranks(held::swap(Sleep, held::Ranks::NONE))
}

/// A thread comes to run here that left its CPU with these, or has not run yet.
pub fn enter_cpu(ranks: Ranks) {
    held::swap(Sleep, ranks.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use crate::sync::SpinLock;

    /// Rising ranks are accepted, whatever the ranks of the spinlocks that are taken under them; and a rank that was
    /// let go may be taken again.
    #[test]
    fn rising_order_is_accepted() {
        model::with_default_machine(|| {
            for _ in 0..2 {
                take(Rank(10));
                take(Rank(20));
                drop(SpinLock::new(Rank(5), ()).lock());
                let_go(Rank(10));
                take(Rank(30));
                let_go(Rank(30));
                let_go(Rank(20));
            }
        });
    }

    /// A falling order is refused.
    #[test]
    #[should_panic(expected = "lock order: sleeping rank 10 taken while sleeping rank 20 is held")]
    fn falling_order_is_refused() {
        model::with_default_machine(|| {
            take(Rank(20));
            take(Rank(10));
        });
    }

    /// So is the same rank twice.
    #[test]
    #[should_panic(expected = "lock order: sleeping rank 20 taken while sleeping rank 20 is held")]
    fn a_rank_is_not_taken_twice() {
        model::with_default_machine(|| {
            take(Rank(20));
            take(Rank(20));
        });
    }

    /// What a thread holds goes with it and comes back with it: the next one on its CPU holds nothing of it.
    #[test]
    #[should_panic(expected = "lock order: sleeping rank 15 taken while sleeping rank 20 is held")]
    fn ranks_follow_their_thread() {
        model::with_default_machine(|| {
            take(Rank(20));
            let first = leave_cpu();
            enter_cpu(Ranks::NONE);
            take(Rank(10));
            take(Rank(15));
            let second = leave_cpu();
            enter_cpu(first);
            let_go(Rank(20));
            let _first = leave_cpu();
            enter_cpu(second);
            let_go(Rank(10));
            let_go(Rank(15));
            let _second = leave_cpu();
            enter_cpu(first);
            take(Rank(15));
        });
    }
}
