//! Reservations against struct pages, counters, VMAs and tables. Nothing else runs meanwhile, so no page is in hand:
//! where a bit of a popmap is set, the space maps the page, or had it shared by fork and has another now.
#![forbid(unsafe_code)]

use arch::{Level, Order};

use super::popmap::PAGES;
use super::promoter;
use super::queue::{self, Place};
use super::record::{END, Queued, Record};
use super::reservation;
use super::table::BUCKETS;
use crate::Mm;
use crate::check::{Inconsistency, Report, agree};
use crate::page::PageKind;
use crate::space::{AddressSpace, VmaKind};
use crate::stats::Counter;

impl Mm {
    /// Calls `f` for every reservation, and says whether the table finds it by its key. No lock is held meanwhile.
    fn for_each_reservation(
        &self,
        mut f: impl FnMut(Record) -> Result<(), Inconsistency>,
    ) -> Result<(), Inconsistency> {
        for n in 0..BUCKETS {
            let nth = |place| self.thp.table.lock_nth(n).iter().nth(place);
            for record in (0..).map_while(nth) {
                let block = record.block().pfn();
                agree(
                    "a reservation's block is aligned",
                    Some(block),
                    1,
                    block.is_aligned(Order::PMD).into(),
                )?;
                let found = self.thp.table.lock(record.key()).find(record.key()) == Some(record);
                agree("the table finds a reservation", Some(block), 1, found.into())?;
                f(record)?;
            }
        }
        Ok(())
    }

    /// Every reservation: its pages, its space, its entries; and their sum against the counter and against all pages of
    /// RAM that say they are reserved.
    pub(crate) fn check_reservations(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let (mut unused, mut full, mut partial) = (0, 0, 0);
        self.for_each_reservation(|record| {
            let populated = record.popmap().count();
            unused += PAGES as u64 - populated;
            let (place, pfn) = (Place::of(populated), Some(record.block().pfn()));
            full += u64::from(place == Place::Full);
            partial += u64::from(place == Place::Partial);
            agree(
                "a reservation's place is by its pages",
                pfn,
                place as u64,
                record.standing().place as u64,
            )?;
            agree("populated pages that a reservation counts", pfn, populated, record.populated())?;
            agree("an empty reservation", pfn, 0, u64::from(place == Place::Outside))?;
            check_pages(record)?;
            let space = self.spaces.find(record.key().space);
            let block = Some(record.block().pfn());
            let lost = record.queued() == Queued::Yes && !promoter::is_queued(self, record.key());
            agree("a reservation that waits for its promotion in no queue", block, 0, lost.into())?;
            agree("the space of a reservation is alive", block, 1, space.is_some().into())?;
            space.map_or(Ok(()), |space| {
                check_range(&space, record).and_then(|()| check_entries(&space, record))
            })
        })?;
        self.check_queue(partial)?;
        agree("nr_thp_res_fullpop", None, full, self.stats.get(Counter::NrThpResFullpop))?;
        agree("nr_thp_res_partpop", None, partial, self.stats.get(Counter::NrThpResPartpop))?;
        self.check_holes()?;
        agree("pages of kind thp-reserved", None, unused, report.pages_of(PageKind::ThpReserved))?;
        agree("nr_thp_reserved", None, unused, self.stats.get(Counter::NrThpReserved))
    }

    /// The queue of partially populated reservations, of which there are so many: links, length, and whether the table
    /// has each of them.
    fn check_queue(&self, partial: u64) -> Result<(), Inconsistency> {
        let in_queue = queue::with_queue(self, |queue| {
            let broken = queue.broken_link().map(|page| page.pfn());
            agree("a link back in the queue of reservations", broken, 0, broken.is_some().into())?;
            let linked = queue.iter().take(1 + partial as usize).count() as u64;
            agree("reservations in the queue", None, partial, linked)?;
            agree("reservations in the queue", None, partial, queue.len())?;
            Ok(queue.len() as usize)
        })?;
        for n in 0..in_queue {
            let Some(record) = queue::with_queue(self, |queue| queue.iter().nth(n).map(Record::of_link))
            else {
                break;
            };
            let found = self.thp.table.lock(record.key()).find(record.key()) == Some(record);
            agree("a reservation in the queue is in the table", Some(record.block().pfn()), 1, found.into())?;
        }
        Ok(())
    }
}

impl Mm {
    /// The notes of every space: in order, counted in its family tree, and in the queue where they say so.
    fn check_holes(&self) -> Result<(), Inconsistency> {
        self.spaces.try_for_each(|space| {
            let (sound, queued) = {
                let notes = space.holes.lock();
                (notes.is_sound(), notes.queued())
            };
            let lost = queued == Queued::Yes && !promoter::awaits_holes(self, space);
            agree("a space's ranges with holes are in order", None, 1, sound.into())?;
            let mut noted = space.holes.count();
            space.lineage.hold().for_each_relative(|relative| noted += relative.holes.count());
            agree("notes of a family tree", None, noted as u64, space.lineage.notes() as u64)?;
            agree("a space whose holes wait in no queue", None, 0, lost.into())
        })
    }
}

/// Populated pages and pieces tile the block; kind and references of each, and nobody's words in what is not populated
/// but the record's.
fn check_pages(record: Record) -> Result<(), Inconsistency> {
    let map = record.popmap();
    let mut i = 0;
    while i < PAGES {
        let (page, populated) = (record.page(i), map.contains(i));
        let pfn = Some(page.pfn());
        let kind = if populated { PageKind::Anon } else { PageKind::ThpReserved };
        agree("kind of a page of a reservation", pfn, kind as u64, page.kind() as u64)?;
        if populated {
            i += 1;
            continue;
        }
        // Alignment and what lies inside are as of every block that was given out.
        let end = i + page.order().pages() as usize;
        agree("a page of a piece is populated", pfn, 0, (!map.is_clear(i, end - i)).into())?;
        agree("references to a piece", pfn, 1, page.refcount().into())?;
        agree("mappings of a piece", pfn, 0, page.raw_mapcount().into())?;
        for page in (i.max(END as usize)..end).map(|n| record.page(n)) {
            agree("the owner's word of a page of a piece", Some(page.pfn()), 0, page.private())?;
        }
        i = end;
    }
    Ok(())
}

/// The range lies in one anonymous VMA.
fn check_range(space: &AddressSpace, record: Record) -> Result<(), Inconsistency> {
    let range = record.key().range;
    let fits = space.vma_at(range).is_some_and(|vma| vma.kind == VmaKind::Anon && vma.fits_block(range));
    agree("a VMA holds the range of a reservation", Some(record.block().pfn()), 1, fits.into())
}

/// Page `i` is mapped at page `i` of the range where bit `i` is set, or another page. Where the bit is clear page `i`
/// is not mapped; a page of its own may be, from a fault that found no block for a reservation while another made one.
fn check_entries(space: &AddressSpace, record: Record) -> Result<(), Inconsistency> {
    let (map, key) = (record.popmap(), record.key());
    for i in 0..PAGES {
        let page = record.page(i).pfn();
        let leaf = space.ptl.lock().walk(key.va(i)).leaf();
        let mapped = leaf.is_some_and(|leaf| {
            let small = leaf.level == Level::L3 && reservation::maps_a_page(leaf.desc);
            small && (map.contains(i) || leaf.desc.output(leaf.level) == page.phys())
        });
        agree(
            "a page of a reservation is mapped where it is populated",
            Some(page),
            map.contains(i).into(),
            mapped.into(),
        )?;
    }
    Ok(())
}
