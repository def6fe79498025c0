//! Where faults sleep for a page that another thread has in hand.
//!
//! Such waits are rare and short, so all of one sort share one place. Whoever settles a page looks whether anybody
//! waits, which costs one load, and wakes all of them.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::Mm;
use crate::env::Killed;

/// The place.
pub(crate) struct Turnstile {
    waiting: AtomicUsize,
    /// Times that somebody was woken.
    turns: AtomicU64,
}

impl Turnstile {
    pub(crate) const fn new() -> Self {
        Turnstile { waiting: AtomicUsize::new(0), turns: AtomicU64::new(0) }
    }

    /// Sleeps until `ready` has an answer. It may take locks: it is asked with none held.
    ///
    /// A settlement that `ready` did not see comes after it by the lock that both take, so its [`Self::wake`] sees
    /// this thread among the waiting, and turns the count that `park` looks at.
    pub(crate) fn wait<T>(&self, mm: &Mm, mut ready: impl FnMut() -> Option<T>) -> T {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let answer = loop {
            let turn = self.turns.load(Ordering::SeqCst);
            if let Some(answer) = ready() {
                break answer;
            }
            mm.env.park(self.key(), &|| self.turns.load(Ordering::SeqCst) == turn);
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    /// As [`Self::wait`], for a settlement that may never come: the end of the process whose thread this is ends it.
    ///
    /// # Errors
    /// [`Killed`].
    pub(crate) fn wait_killable<T>(
        &self,
        mm: &Mm,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, Killed> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let answer = loop {
            let turn = self.turns.load(Ordering::SeqCst);
            if let Some(answer) = ready() {
                break Ok(answer);
            }
            let same = || self.turns.load(Ordering::SeqCst) == turn;
            if let Err(killed) = mm.env.park_killable(self.key(), &same) {
                break Err(killed);
            }
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    /// Something was settled, under a lock that is let go by now.
    pub(crate) fn wake(&self, mm: &Mm) {
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.turns.fetch_add(1, Ordering::SeqCst);
            mm.env.unpark_all(self.key());
        }
    }

    /// How many threads wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn key(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}
