//! Random things done to mappings, one after the other: the same ones for every scheme.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Level, Order, VirtAddr};

use super::{Clear, Dice, FOLIOS, Lab, LabFolio, SPACES};
use crate::Mm;
use crate::config::Mapcount;
use crate::error::OutOfMemory;
use crate::page::PageKind;

/// Where VMAs begin.
const START: VirtAddr = VirtAddr::new(1 << 30);
/// How many level-3 tables a space can have.
const TABLES: u64 = 4;
const HUGE: u64 = Order::PMD.bytes();

/// The orders and kinds of the folios: private ones, and those of an object, which a space may map more than once.
const STOCK: [(u8, PageKind); FOLIOS] = [
    (0, PageKind::Anon),
    (4, PageKind::Anon),
    (9, PageKind::Anon),
    (9, PageKind::Anon),
    (9, PageKind::Kernel),
    (4, PageKind::Kernel),
];

impl<'m> Lab<'m> {
    /// A lab with one space and folios of orders 0, 4 and 9.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn furnished(mm: &'m Mm, scheme: Mapcount) -> Result<Self, OutOfMemory> {
        let mut lab = Lab::new(mm, scheme, (START, START.add(TABLES * HUGE)));
        let stocked = STOCK.iter().try_for_each(|&(order, kind)| {
            let folio = LabFolio::alloc(mm, Order::new(order), kind)?;
            lab.put_folio(folio);
            Ok(())
        });
        match stocked.and_then(|()| lab.bear()) {
            Ok(_) => Ok(lab),
            Err(OutOfMemory) => {
                lab.end();
                Err(OutOfMemory)
            }
        }
    }

    /// A space that is there.
    fn any_space(&self, dice: &mut Dice) -> Option<usize> {
        let first = dice.below(SPACES as u64) as usize;
        (first..first + SPACES).map(|n| n % SPACES).find(|&n| self.spaces[n].is_some())
    }

    /// An address on a page; often one that is aligned for a block.
    fn any_va(&self, dice: &mut Dice) -> VirtAddr {
        let table = START.add(dice.below(TABLES) * HUGE);
        if dice.one_in(2) { table } else { table.add(dice.below(512) * PAGE_SIZE) }
    }

    /// A range of pages `0..pages`: one, some, or all.
    fn any_part(dice: &mut Dice, pages: u64) -> (u64, u64) {
        match dice.below(4) {
            0 => (0, pages),
            1 => (dice.below(pages), 1),
            _ => {
                let first = dice.below(pages);
                (first, 1 + dice.below(pages - first))
            }
        }
    }

    /// Does one thing.
    ///
    /// # Errors
    /// [`OutOfMemory`]; a part may be done.
    pub fn step(&mut self, dice: &mut Dice) -> Result<(), OutOfMemory> {
        let Some(s) = self.any_space(dice) else { return self.bear().map(drop) };
        let (va, f) = (self.any_va(dice), dice.below(FOLIOS as u64) as usize);
        let huge = va.align_down(HUGE);
        match dice.below(16) {
            0..4 => self.map_part(s, va, f, dice).map(drop),
            4 => self.map_block(s, huge, f, 0, Level::L2).map(drop),
            5..8 => {
                let (first, pages) = Self::any_part(dice, TABLES * HUGE / PAGE_SIZE);
                let start = START.add(first * PAGE_SIZE);
                self.clear(s, start, start.add(pages.min(700) * PAGE_SIZE), Clear::Remove);
                if dice.one_in(2) {
                    (0..TABLES).for_each(|n| self.prune(s, START.add(n * HUGE)));
                }
                Ok(())
            }
            8 => {
                let (first, pages) = Self::any_part(dice, self.folios[f].as_ref().map_or(1, LabFolio::pages));
                self.zap(f, first, pages);
                Ok(())
            }
            9 => self.split(s, va).map(drop),
            10 => {
                self.join(s, huge, Level::L2);
                Ok(())
            }
            11 => self.cut(s, va),
            12 => {
                self.join_vmas(s, dice.below(4) as usize);
                Ok(())
            }
            13 if dice.one_in(2) => self.fork(s).map(drop),
            13 => {
                self.exit(s);
                Ok(())
            }
            14 => {
                let to = self.any_va(dice);
                self.move_pages(s, va, 1 + dice.below(300), to)
            }
            _ => self.renew_or_fold(s, huge, f, dice),
        }
    }

    /// Maps a part of a folio, in line with where the folio would lie as its size asks, or anywhere.
    fn map_part(&mut self, s: usize, va: VirtAddr, f: usize, dice: &mut Dice) -> Result<u64, OutOfMemory> {
        let Some(pages) = self.folios[f].as_ref().map(LabFolio::pages) else { return Ok(0) };
        let (first, pages) = Self::any_part(dice, pages);
        let at = if dice.one_in(3) { va } else { va.align_down(HUGE).add(first * PAGE_SIZE) };
        self.map(s, at, f, first, pages)
    }

    /// A folio that nothing maps is freed and used again, or made of single pages.
    fn renew_or_fold(
        &mut self,
        s: usize,
        huge: VirtAddr,
        f: usize,
        dice: &mut Dice,
    ) -> Result<(), OutOfMemory> {
        let Some(folio) = self.folios[f].as_ref().filter(|folio| folio.is_unplaced()) else { return Ok(()) };
        // Of an object's page a space may have lost one mapping and kept another.
        if folio.is_private() {
            self.forget(folio);
            folio.renew(self.mm, folio.head.kind());
        }
        self.fold(s, huge, f, 1 + dice.below(5) as usize).map(drop)
    }
}
