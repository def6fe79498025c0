//! A folio of 1 GiB that is mapped by pages, and its collapse into one block.
//!
//! ```text
//!   one step     512 tables of 512 pages  --------------------------->  1 block of 1 GiB
//!   two steps    512 tables of 512 pages  -->  512 blocks of 2 MiB -->  1 block of 1 GiB
//! ```
//! In the discussion of 2023 the two-step collapse of a folio with counters for each page took a second, most of it for
//! 262,144 atomic decrements.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::addr::PAGE_SIZE;
use arch::{Desc, Level, Machine, Order, PhysMem, VirtAddr};

use super::overflow::fits;
use super::{Meter, Row};
use crate::Mm;
use crate::config::Mapcount;
use crate::error::OutOfMemory;
use crate::kalloc::KAlloc;
use crate::mapcount::Run;
use crate::mapcount::lab::{Lab, LabFolio};
use crate::mapcount::leaving::Leaving;
use crate::page::{FolioRef, PageKind, PageRef};

const START: VirtAddr = VirtAddr::new(1 << 30);
const HUGE: u64 = Order::PMD.bytes();
const TABLES: u64 = Order::PUD.bytes() / HUGE;

/// Mappings of 1 GiB by pages at which leaf entries overflow: 2^13, with 2^18 entries each.
const OVERFLOW: u64 = 1 << 13;

/// Measures both ways of collapsing the folio of 1 GiB that is made of `block`, which the caller gives up: that much
/// real memory in one piece, as `Mm::alloc_contig` gives it. Closes with how many mappings by pages fit.
///
/// # Errors
/// [`OutOfMemory`].
pub fn giant_costs(
    mm: &Mm,
    scheme: Mapcount,
    block: FolioRef,
    meter: &mut dyn Meter,
    say: &mut dyn FnMut(&Row),
) -> Result<(), OutOfMemory> {
    let head = block.page();
    let folio = LabFolio::of(mm, block, PageKind::Kernel)?;
    let mut lab = Lab::new(mm, scheme, (START, START.add(Order::PUD.bytes())));
    let result = lab.put_folio(folio).ok_or(OutOfMemory).and_then(|folio| {
        let s = lab.bear()?.ok_or(OutOfMemory)?;
        run(&mut lab, s, folio, head, meter, say)?;
        let value = fits(&mut lab, START, folio, OVERFLOW)?;
        say(&Row { what: "fits_of_8192_mappings_of_1g_by_pages", scheme, part: "", value, unit: "mappings" });
        Ok(())
    });
    lab.end();
    result
}

fn run(
    lab: &mut Lab<'_>,
    s: usize,
    folio: usize,
    head: PageRef,
    meter: &mut dyn Meter,
    say: &mut dyn FnMut(&Row),
) -> Result<(), OutOfMemory> {
    let scheme = lab.scheme;
    let mut measure = |what: &'static str, operation: &mut dyn FnMut()| {
        meter.measure(operation, &mut |part, value, unit| {
            say(&Row { what, scheme, part, value, unit });
        });
    };
    let mut made = Ok(0);
    measure("map_1g_pages_by_table", &mut || made = lab.map(s, START, folio, 0, Order::PUD.pages()));
    made?;
    measure("smaps_1g_pages_sampled", &mut || {
        for n in 0..TABLES {
            let page = head.nth(n * HUGE / PAGE_SIZE);
            core::hint::black_box(scheme.page_sharing(head, page));
        }
    });
    measure("migration_test_1g_pages", &mut || {
        core::hint::black_box(scheme.sharing(head));
    });

    // What counting has to do with it, with the tables as they are.
    let table_of = |lab: &Lab<'_>, n: u64| {
        let va = START.add(n * HUGE);
        lab.run_at(s, va, va.add(HUGE)).ok_or(OutOfMemory)
    };
    let tables = runs(lab, table_of)?;
    let owner = tables.first().ok_or(OutOfMemory)?;
    let space = lab.spaces[s].as_ref().ok_or(OutOfMemory)?;
    let l1 = space.table(START, Level::L1).ok_or(OutOfMemory)?;
    let l2 = space.table(START, Level::L2).ok_or(OutOfMemory)?;
    let giant = Run { first: head, entries: 1, level: Level::L1, table: l1, top: l1, va: START, ..*owner };
    let block = |n: usize| Run { entries: 1, level: Level::L2, table: l2, top: l2, ..tables[n] };
    let blocks = Run { entries: TABLES as u32, level: Level::L2, table: l2, top: l2, ..giant };

    measure("collapse_1g_in_one_step", &mut || {
        scheme.add(&giant);
        let mut leaving = Leaving::of(scheme);
        tables.iter().for_each(|table| leaving.push(table));
        leaving.finish();
    });
    // Back to pages.
    for table in &tables {
        scheme.add(table);
    }
    scheme.remove(&giant);
    let slot = |n: usize| l2.add(8 * n as u64);
    measure("collapse_1g_step_1_of_2", &mut || {
        for (n, table) in tables.iter().enumerate() {
            scheme.add(&block(n));
            let flags = Machine::read_desc(table.table).flags(Level::L3);
            Machine::write_desc(slot(n), Desc::leaf(table.first.pfn().phys(), Level::L2, flags));
            scheme.remove(table);
        }
    });
    measure("collapse_1g_step_2_of_2", &mut || {
        scheme.add(&giant);
        scheme.remove(&blocks);
    });
    for (n, table) in tables.iter().enumerate() {
        Machine::write_desc(slot(n), Desc::table(table.table));
        scheme.add(table);
    }
    scheme.remove(&giant);
    Ok(())
}

/// The run of each table.
fn runs(
    lab: &Lab<'_>,
    of: impl Fn(&Lab<'_>, u64) -> Result<Run, OutOfMemory>,
) -> Result<Vec<Run, KAlloc>, OutOfMemory> {
    let mut runs = Vec::new_in(KAlloc);
    runs.try_reserve_exact(TABLES as usize).map_err(|_| OutOfMemory)?;
    for n in 0..TABLES {
        runs.push(of(lab, n)?);
    }
    Ok(runs)
}
