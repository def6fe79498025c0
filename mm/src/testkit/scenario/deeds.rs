//! What a vCPU does with an object that it maps.
#![forbid(unsafe_code)]

use std::sync::Arc;

use arch::addr::PAGE_SIZE;
use arch::contract::Cpu;
use arch::{Access, Machine};

use super::area::{Change, RW};
use super::hold::Hold;
use super::home::{any_change, stretch};
use super::memory::By;
use super::object::PAGES;
use super::stage::CPUS;
use super::view::View;
use super::words::{Place, Unit, Whose};
use crate::Mm;
use crate::kalloc::KArc;
use crate::space::{AddressSpace, Advice};
use crate::testkit::Random;

fn any_page(random: &mut Random) -> usize {
    random.below(PAGES as u64) as usize
}

impl View {
    /// One random thing: an access, mostly; a use of the page that the vCPU has pinned; a change.
    pub(super) fn use_any(
        self: &Arc<Self>,
        mm: &Mm,
        space: &KArc<AddressSpace>,
        hold: &mut Option<Hold>,
        random: &mut Random,
    ) {
        let huge = self.book.unit() != Unit::Page;
        match random.below(16) {
            0 if huge => self.treat_pages(mm, space, random),
            1 if huge => drop(self.change(mm, space, stretch(random, PAGES), Change::Move)),
            0..11 => self.access_any(mm, space, hold, random),
            11 | 12 => self.use_pinned(mm, space, hold, random),
            _ => self.change_any(mm, space, random),
        }
    }

    /// One access of the vCPU, or of the device for it.
    pub(super) fn access_any(
        self: &Arc<Self>,
        mm: &Mm,
        space: &KArc<AddressSpace>,
        hold: &mut Option<Hold>,
        random: &mut Random,
    ) {
        let (cpu, page) = (Machine::id().index(), any_page(random));
        let by = if random.below(8) == 0 { By::Kernel(mm, space) } else { By::User };
        match random.below(8) {
            0..3 => self.store(cpu, page, by),
            3..6 => {
                let whose = if random.below(3) == 0 { Whose::Copy } else { Whose::Object };
                let writer = if random.below(3) == 0 { cpu } else { random.below(CPUS as u64) as usize };
                self.load(cpu, Place { page, cpu: writer, whose }, by);
            }
            6 => self.use_pinned(mm, space, hold, random),
            _ => self.book.by_descriptor(mm, cpu, random),
        }
    }

    /// Pins a page, lets the device use it, or unpins it.
    pub(super) fn use_pinned(
        self: &Arc<Self>,
        mm: &Mm,
        space: &KArc<AddressSpace>,
        hold: &mut Option<Hold>,
        random: &mut Random,
    ) {
        match hold.take() {
            Some(mut held) if random.below(4) != 0 => {
                held.step(random);
                *hold = Some(held);
            }
            Some(held) => held.let_go(mm, random),
            None => {
                let access = if random.below(4) == 0 { Access::Read } else { Access::Write };
                *hold = Hold::new(mm, self, space, Machine::id().index(), any_page(random), access);
            }
        }
    }

    /// Changes rights, or what is mapped, or takes something away.
    pub(super) fn change_any(&self, mm: &Mm, space: &KArc<AddressSpace>, random: &mut Random) {
        if random.below(3) == 0 {
            self.change(mm, space, stretch(random, PAGES), any_change(random));
        } else {
            self.take_any(mm, space, random);
        }
    }

    /// Takes something of it away, from everybody or from this space. Afterwards all is mapped that was.
    pub(super) fn take_any(&self, mm: &Mm, space: &KArc<AddressSpace>, random: &mut Random) {
        let pages = stretch(random, PAGES);
        match random.below(7) {
            0..3 => self.book.resize_any(mm, random),
            3 => self.book.punch(pages.clone(), || {
                let index = |page: usize| page as u64 * self.book.unit().bytes() / PAGE_SIZE;
                mm.punch_object(self.book.object(), index(pages.start)..index(pages.end));
                true
            }),
            4 => {
                let len = pages.len() as u64 * self.book.unit().bytes();
                let start = self.va(pages.start).raw();
                self.book.punch(pages, || mm.madvise(space, start, len, Advice::Remove).is_ok());
            }
            5 => drop(self.change(mm, space, pages, Change::Discard)),
            _ => drop(self.change(mm, space, pages, Change::Map(RW))),
        }
    }
}
