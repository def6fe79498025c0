//! A page that one vCPU has pinned, and the device that reads and writes it, whatever becomes of its mapping.
//!
//! As long as nothing has taken the page away since it was pinned, the frame is what the space, or everybody who maps
//! the object, has: a store of the device is a store. Afterwards the frame is nobody's but the device's: what the
//! device stores must be read by the device alone.
#![forbid(unsafe_code)]

use std::sync::Arc;

use arch::{Access, Machine, PhysAddr, PhysMem};

use super::object::Stored;
use super::stage::CPUS;
use super::view::View;
use super::words::{Place, Stamp, Whose};
use crate::Mm;
use crate::kalloc::KArc;
use crate::pin::PinnedPages;
use crate::space::AddressSpace;
use crate::testkit::Random;

/// A pinned page of a view.
pub(super) struct Hold {
    pins: PinnedPages,
    view: Arc<View>,
    page: usize,
    /// Who has it.
    cpu: usize,
    /// The wipes by then; `None`: one was under way.
    at: Option<Stamp>,
    /// What the device has stored since it has the frame alone.
    orphan: Option<u64>,
}

/// Whose the frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Mapped,
    Unknown,
    Orphaned,
}

impl Hold {
    /// vCPU `cpu` pins a page. `None`: it cannot be had.
    pub(super) fn new(
        mm: &Mm,
        view: &Arc<View>,
        space: &KArc<AddressSpace>,
        cpu: usize,
        page: usize,
        access: Access,
    ) -> Option<Self> {
        let before = view.taken(page);
        let pin = || view.access(page, access, || mm.pin_user_pages(space, view.va(page), 1, access).ok());
        let pins = if view.is_private() { view.touching(page, pin, Option::is_some) } else { pin() }?;
        let at = before.is_quiet_until(view.taken(page)).then_some(before);
        Some(Hold { pins, view: view.clone(), page, cpu, at, orphan: None })
    }

    fn state(&self) -> State {
        let now = self.view.taken(self.page);
        match self.at {
            Some(at) if at.begun == now.begun => State::Mapped,
            Some(at) if now.done > at.done => State::Orphaned,
            _ => State::Unknown,
        }
    }
    fn at(&self, place: Place) -> PhysAddr {
        match self.pins.frame(0) {
            Some(frame) => frame.phys().add(place.offset(self.view.book.unit())),
            None => panic!("a pin without a frame"),
        }
    }
    fn read(&self, place: Place) -> u64 {
        let mut bytes = [0; 8];
        Machine::read_bytes(self.at(place), &mut bytes);
        u64::from_le_bytes(bytes)
    }
    fn write(&self, place: Place, number: u64) {
        Machine::write_bytes(self.at(place), &place.word(number).to_le_bytes());
    }

    /// The device loads or stores a word.
    pub(super) fn step(&mut self, random: &mut Random) {
        let (page, cpu, state) = (self.page, self.cpu, self.state());
        let orphan = Place { page, cpu, whose: Whose::Orphan };
        if let Some(number) = self.orphan {
            assert_eq!(self.read(orphan), orphan.word(number), "a pinned frame was given to somebody else");
        }
        let stores = self.pins.access() == Access::Write && random.below(2) == 0;
        if state == State::Orphaned && stores {
            let number = self.view.book.clock.begin(cpu);
            self.write(orphan, number);
            self.view.book.clock.end(cpu, number);
            self.orphan = Some(number);
        } else if stores {
            self.view.put(cpu, page, |place, number| {
                self.write(place, number);
                if self.state() == State::Mapped { Stored::Yes } else { Stored::Perhaps }
            });
        } else if state == State::Mapped {
            let whose = [Whose::Object, Whose::Copy][random.below(2) as usize];
            let place = Place { page, cpu: random.below(CPUS as u64) as usize, whose };
            self.view.judge(cpu, place, || Some(self.read(place)).filter(|_| self.state() == State::Mapped));
        }
    }

    /// Unpins it.
    pub(super) fn let_go(mut self, mm: &Mm, random: &mut Random) {
        self.step(random);
        mm.unpin(self.pins);
    }
}
