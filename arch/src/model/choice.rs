//! The one stream of choices of a machine.
//!
//! Whatever a machine leaves open is decided here and nowhere else: which vCPU runs next, which of the
//! translations that a TLB may hold is used. So the seed of the stream, or the list of its choices, is the whole
//! of a run, and the same seed makes the same run again, step by step.
//!
//! **Protocol.** Choice 0 always means that nothing out of the ordinary happens: the vCPU runs on, the
//! freshest translation is used. An exploration ([`super::explore`]) takes 0 wherever it was not told
//! otherwise, and counts the other choices.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::machine::State;
use super::random::Random;
use super::seed::{Seed, SeedError, from_environment};

thread_local! {
    /// The path for the next machine, while a run of an exploration goes on.
    static EXPLORED: RefCell<Option<Rc<Path>>> = const { RefCell::new(None) };
}

/// A choice that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pick {
    pub(super) choice: usize,
    /// How many there were to choose from; 0 where that is not known yet.
    pub(super) options: usize,
}

/// A list of choices to be made, and those that were.
pub(super) struct Path {
    given: Vec<Pick>,
    made: RefCell<Vec<Pick>>,
    taken: Cell<bool>,
    /// Steps of the machine that took it.
    steps: Cell<u64>,
}

impl Path {
    pub(super) fn new(given: Vec<Pick>) -> Self {
        Path { given, made: RefCell::default(), taken: Cell::new(false), steps: Cell::new(0) }
    }

    /// Steps of the machine that took the path, once that has ended.
    pub(super) fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// The choices made so far.
    pub(super) fn made(&self) -> Vec<Pick> {
        self.made.borrow().clone()
    }

    fn choose(&self, options: usize) -> usize {
        let mut made = self.made.borrow_mut();
        let n = made.len();
        let given = self.given.get(n).copied().unwrap_or(Pick { choice: 0, options });
        assert!(
            given.options == 0 || given.options == options,
            "model: choice {n} has {options} options, and had {} when the same choices were made before it; \
             something outside the machine decides what happens",
            given.options
        );
        assert!(given.choice < options, "model: choice {n} is {}, only {options} are possible", given.choice);
        made.push(Pick { choice: given.choice, options });
        given.choice
    }
}

/// Where a machine's choices come from.
pub(super) enum Choices {
    Random { seed: u64, stream: Cell<Random> },
    Path(Rc<Path>),
}

impl Choices {
    /// The choices of the next machine of this thread: of the exploration that goes on, else as `MMU_SEED` says,
    /// else from `seed`.
    pub(super) fn for_machine(seed: u64) -> Result<Self, SeedError> {
        if let Some(path) = EXPLORED.with_borrow(Clone::clone) {
            assert!(!path.taken.replace(true), "model: a run of an exploration makes one machine, not two");
            return Ok(Choices::Path(path));
        }
        Ok(match from_environment()? {
            None => Self::random(seed),
            Some(Seed::Number(seed)) => Self::random(seed),
            Some(Seed::Path(choices)) => {
                let given = choices.into_iter().map(|choice| Pick { choice, options: 0 });
                Choices::Path(Rc::new(Path::new(given.collect())))
            }
        })
    }

    pub(super) fn random(seed: u64) -> Self {
        Choices::Random { seed, stream: Cell::new(Random::spread(seed)) }
    }

    /// What makes these choices again.
    pub(super) fn seed(&self) -> Seed {
        match self {
            Choices::Random { seed, .. } => Seed::Number(*seed),
            Choices::Path(path) => {
                let mut choices: Vec<_> = path.made.borrow().iter().map(|pick| pick.choice).collect();
                while choices.pop_if(|last| *last == 0).is_some() {}
                Seed::Path(choices)
            }
        }
    }

    /// The machine has ended after so many steps.
    pub(super) fn end(&self, steps: u64) {
        if let Choices::Path(path) = self {
            let (given, made) = (path.given.len(), path.made.borrow().len());
            assert!(given <= made, "model: MMU_SEED lists {given} choices, and the machine makes {made}");
            path.steps.set(steps);
        }
    }

    /// Whether the choices are random numbers, not listed.
    pub(super) fn are_random(&self) -> bool {
        matches!(self, Choices::Random { .. })
    }

    pub(super) fn choose(&self, options: usize) -> usize {
        assert!(options != 0, "model: nothing to choose from");
        match self {
            _ if options == 1 => 0,
            Choices::Random { stream, .. } => {
                let mut random = stream.get();
                let bits = random.bits();
                stream.set(random);
                ((bits >> 32) as usize * options) >> 32
            }
            Choices::Path(path) => path.choose(options),
        }
    }
}

impl State {
    /// One of `options` possibilities, 0..options; at least one, and at most 2^32. The choice among one is no
    /// choice, and leaves the stream as it is.
    pub(super) fn choose(&self, options: usize) -> usize {
        self.choices.choose(options)
    }

    /// Whether something happens that happens about once in `one_in` times (at least 2).
    pub(super) fn seldom(&self, one_in: usize) -> bool {
        if self.choices.are_random() { self.choose(one_in) == 1 } else { self.choose(2) == 1 }
    }
}

/// Runs `f`, whose one machine takes `path`.
pub(super) fn along<R>(path: &Rc<Path>, f: impl FnOnce() -> R) -> R {
    /// Puts the outer path back, also when `f` panics.
    struct Outer(Option<Rc<Path>>);
    impl Drop for Outer {
        fn drop(&mut self) {
            EXPLORED.set(self.0.take());
        }
    }
    let _outer = Outer(EXPLORED.replace(Some(path.clone())));
    f()
}
