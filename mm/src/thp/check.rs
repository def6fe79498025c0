//! Reservations against struct pages, counters and tables. Nothing else runs meanwhile, so no page is in hand: a bit
//! of a popmap is set exactly where an entry maps the page.
#![forbid(unsafe_code)]

use arch::{Level, Order};

use super::popmap::PAGES;
use super::record::Record;
use super::table::BUCKETS;
use crate::Mm;
use crate::check::{Inconsistency, Report, agree};
use crate::page::PageKind;
use crate::space::AddressSpace;
use crate::stats::Counter;

impl Mm {
    /// Calls `f` for every reservation.
    fn for_each_reservation(
        &self,
        mut f: impl FnMut(Record) -> Result<(), Inconsistency>,
    ) -> Result<(), Inconsistency> {
        (0..BUCKETS).try_for_each(|n| self.thp.table.lock_nth(n).iter().try_for_each(&mut f))
    }

    /// The reservations' pages, and their sum against the counter and against all pages of RAM that say they are
    /// reserved.
    pub(crate) fn check_reservations(&self, report: &mut Report) -> Result<(), Inconsistency> {
        let mut unused = 0;
        self.for_each_reservation(|record| {
            unused += PAGES as u64 - record.popmap().count();
            check_pages(record)
        })?;
        agree("nr_thp_reserved", None, unused, self.stats.get(Counter::NrThpReserved))?;
        agree("pages of kind thp-reserved", None, unused, report.pages_of(PageKind::ThpReserved))
    }

    /// The popmaps of a space's reservations against its tables.
    pub(crate) fn check_reservations_of(&self, space: &AddressSpace) -> Result<(), Inconsistency> {
        self.for_each_reservation(|record| {
            if record.key().space == space.id { check_entries(space, record) } else { Ok(()) }
        })
    }
}

/// Kind and references of each page, and that the page leads back to its reservation's key.
fn check_pages(record: Record) -> Result<(), Inconsistency> {
    let (map, block) = (record.popmap(), record.block().pfn());
    agree("a reservation's block is aligned", Some(block), 1, block.is_aligned(Order::PMD).into())?;
    for i in 0..PAGES {
        let page = record.page(i);
        let populated = map.contains(i);
        let kind = if populated { PageKind::Anon } else { PageKind::ThpReserved };
        agree("kind of a page of a reservation", Some(page.pfn()), kind as u64, page.kind() as u64)?;
        let references = 1 + u64::from(populated);
        agree("references to it", Some(page.pfn()), references, page.refcount().into())?;
        agree("mappings of it", Some(page.pfn()), populated.into(), page.raw_mapcount().into())?;
    }
    Ok(())
}

/// Page `i` is mapped at page `i` of the range exactly where bit `i` is set.
fn check_entries(space: &AddressSpace, record: Record) -> Result<(), Inconsistency> {
    let (map, key) = (record.popmap(), record.key());
    for i in 0..PAGES {
        let page = record.page(i).pfn();
        let leaf = space.ptl.lock().walk(key.va(i)).leaf();
        let mapped =
            leaf.is_some_and(|leaf| leaf.level == Level::L3 && leaf.desc.output(leaf.level) == page.phys());
        agree(
            "a page of a reservation is mapped where it is populated",
            Some(page),
            map.contains(i).into(),
            mapped.into(),
        )?;
    }
    Ok(())
}
