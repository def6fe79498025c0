//! The ranks of the locks that are held: of spinlocks by a CPU, of sleeping locks by the thread that runs there.
//!
//! Both stand with the CPU; the second is put aside with its thread ([`super::sleeping`]). Debug builds and every host
//! build check; release builds on the machine keep nothing.

use super::Rank;

/// Which locks: each sort has an order of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    /// Spinlocks.
    Spin,
    /// Sleeping locks.
    Sleep,
}

pub(crate) use checks::*;

#[cfg(any(debug_assertions, not(target_os = "none")))]
mod checks {
    use super::{Rank, Sort};

    /// Deepest nesting of locks of one sort.
    const DEPTH: usize = 16;

    /// Ranks in the order in which they were taken.
    #[derive(Clone, Copy)]
    pub(crate) struct Ranks {
        ranks: [u8; DEPTH],
        len: u8,
    }

    /// What a CPU and its thread hold.
    #[derive(Clone, Copy)]
    pub(crate) struct Held {
        spin: Ranks,
        sleep: Ranks,
    }

    impl Held {
        pub(crate) const NOTHING: Held = Held { spin: Ranks::NONE, sleep: Ranks::NONE };

        fn of(&mut self, sort: Sort) -> &mut Ranks {
            match sort {
                Sort::Spin => &mut self.spin,
                Sort::Sleep => &mut self.sleep,
            }
        }
    }

    impl Ranks {
        pub(crate) const NONE: Ranks = Ranks { ranks: [0; DEPTH], len: 0 };

        fn held(&self) -> &[u8] {
            &self.ranks[..self.len.into()]
        }

        fn top(&self) -> Option<Rank> {
            self.held().iter().max().map(|&rank| Rank(rank))
        }

        fn push(&mut self, sort: Sort, rank: Rank) {
            let what = match sort {
                Sort::Spin => "rank",
                Sort::Sleep => "sleeping rank",
            };
            if let Some(top) = self.top() {
                assert!(rank > top, "lock order: {what} {} taken while {what} {} is held", rank.0, top.0);
            }
            assert!(self.held().len() < DEPTH, "lock order: more than {DEPTH} locks held");
            self.ranks[usize::from(self.len)] = rank.0;
            self.len += 1;
        }

        fn pop(&mut self, rank: Rank) {
            let held = self.held().iter().rposition(|&r| r == rank.0);
            let at = held.expect("a guard that is dropped was taken on this CPU, or by this thread");
            self.ranks.copy_within(at + 1..self.len.into(), at);
            self.len -= 1;
        }
    }

    pub(crate) fn push(sort: Sort, rank: Rank) {
        with(|held| held.of(sort).push(sort, rank));
    }
    pub(crate) fn pop(sort: Sort, rank: Rank) {
        with(|held| held.of(sort).pop(rank));
    }
    pub(crate) fn highest(sort: Sort) -> Option<Rank> {
        with(|held| held.of(sort).top())
    }
    pub(crate) fn holds(sort: Sort, rank: Rank) -> bool {
        with(|held| held.of(sort).held().contains(&rank.0))
    }
    pub(crate) fn swap(sort: Sort, ranks: Ranks) -> Ranks {
        with(|held| core::mem::replace(held.of(sort), ranks))
    }

    #[cfg(not(target_os = "none"))]
    use crate::model::with_held as with;

    #[cfg(target_os = "none")]
    fn with<R>(f: impl FnOnce(&mut Held) -> R) -> R {
        use core::cell::UnsafeCell;

        use crate::Machine;
        use crate::contract::{Cpu, MAX_CPUS};

        struct PerCpu(UnsafeCell<[Held; MAX_CPUS]>);
        // SAFETY: each CPU touches its own element only, with interrupts masked.
        unsafe impl Sync for PerCpu {}
        static HELD: PerCpu = PerCpu(UnsafeCell::new([Held::NOTHING; MAX_CPUS]));

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
mod checks {
    use super::{Rank, Sort};

    #[derive(Clone, Copy)]
    pub(crate) struct Ranks;

    impl Ranks {
        pub(crate) const NONE: Ranks = Ranks;
    }

    pub(crate) fn push(_: Sort, _: Rank) {}
    pub(crate) fn pop(_: Sort, _: Rank) {}
    pub(crate) fn highest(_: Sort) -> Option<Rank> {
        None
    }
    pub(crate) fn holds(_: Sort, _: Rank) -> bool {
        true
    }
    pub(crate) fn swap(_: Sort, _: Ranks) -> Ranks {
        Ranks
    }
}
