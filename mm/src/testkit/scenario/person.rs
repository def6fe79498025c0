//! What one vCPU is about while it goes from home to home.
#![forbid(unsafe_code)]

use arch::{Cpu, Machine};

use super::hold::Hold;
use super::home::{Home, Inside};
use super::memory::Memory;
use super::stage::Stage;
use crate::kalloc::KArc;
use crate::space::AddressSpace;
use crate::testkit::Random;

/// One vCPU: where it is, and what it knows.
pub(super) struct Person<'s> {
    stage: &'s Stage<'s>,
    homes: &'s [Home],
    /// What it knows of each home.
    memories: Vec<Vec<Memory>>,
    pub(super) random: Random,
    /// The home that it is in, by number too.
    place: Option<(usize, Inside<'s>)>,
    /// A pinned page.
    hold: Option<Hold>,
}

impl<'s> Person<'s> {
    /// One that is nowhere.
    pub(super) fn new(
        stage: &'s Stage<'s>,
        homes: &'s [Home],
        memories: Vec<Vec<Memory>>,
        random: Random,
    ) -> Self {
        Person { stage, homes, memories, random, place: None, hold: None }
    }

    fn any_home(&mut self) -> usize {
        self.random.below(self.homes.len() as u64) as usize
    }

    /// Enters a home, straight from the one before.
    pub(super) fn move_on(&mut self) {
        let n = self.any_home();
        self.move_to(n);
    }

    /// Enters this home, straight from the one before, unless it is closed.
    pub(super) fn move_to(&mut self, n: usize) {
        match self.homes[n].enter(self.stage) {
            Some(inside) => {
                if let Some((_, before)) = self.place.replace((n, inside)) {
                    before.leave();
                }
            }
            None => Machine::relax(),
        }
    }

    /// Loads or stores a word of a page.
    pub(super) fn access_any(&mut self) {
        match &self.place {
            Some((n, inside)) => inside.access_any(self.stage.mm, &mut self.memories[*n], &mut self.random),
            None => self.move_on(),
        }
    }

    /// Does something to an object of the home that it is in, or to the page that it has pinned, in whatever home.
    pub(super) fn use_object(&mut self) {
        match &self.place {
            Some((_, inside)) => inside.use_object(self.stage.mm, &mut self.hold, &mut self.random),
            None => self.move_on(),
        }
    }

    /// Changes a few pages.
    pub(super) fn change_any(&mut self) {
        match &self.place {
            Some((_, inside)) => inside.change_any(self.stage.mm, &mut self.random),
            None => self.move_on(),
        }
    }

    /// Leaves, and builds a home anew if nobody is in it.
    pub(super) fn rebuild_any(&mut self) {
        self.leave();
        let n = self.any_home();
        self.homes[n].rebuild(self.stage.mm);
    }

    /// Loads every word that it accessed of the home that it is in.
    pub(super) fn look_around(&mut self) {
        if let Some((n, inside)) = &self.place {
            inside.look_at_all(&mut self.memories[*n]);
        }
    }

    /// The space that it runs.
    pub(super) fn space(&self) -> Option<KArc<AddressSpace>> {
        self.place.as_ref().map(|(_, inside)| inside.space())
    }

    /// Leaves for no other home.
    pub(super) fn leave(&mut self) {
        if let Some((_, inside)) = self.place.take() {
            self.stage.go(inside);
        }
    }

    /// Leaves, and says what it knows.
    pub(super) fn end(mut self) -> Vec<Vec<Memory>> {
        if let Some(hold) = self.hold.take() {
            hold.let_go(self.stage.mm, &mut self.random);
        }
        self.leave();
        self.memories
    }
}
