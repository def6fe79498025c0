//! What counting costs for a folio of 2 MiB: the scheme's part of each operation, with the entries already in the
//! tables.
#![forbid(unsafe_code)]

use arch::addr::{ENTRIES_PER_TABLE, PAGE_SIZE};
use arch::{Desc, Level, Machine, Order, PhysMem, VirtAddr};

use super::{Meter, Named, Row, in_turn};
use crate::Mm;
use crate::config::Mapcount;
use crate::error::OutOfMemory;
use crate::mapcount::lab::{Lab, LabFolio};
use crate::mapcount::{self, Run};
use crate::page::PageKind;

const START: VirtAddr = VirtAddr::new(1 << 30);
/// How often each operation is measured.
const ROUNDS: u64 = 64;
const PAGES: u64 = ENTRIES_PER_TABLE as u64;

/// Measures each operation of a scheme: the mean of 64 rounds.
///
/// # Errors
/// [`OutOfMemory`].
pub fn costs(
    mm: &Mm,
    scheme: Mapcount,
    meter: &mut dyn Meter,
    say: &mut dyn FnMut(&Row),
) -> Result<(), OutOfMemory> {
    let mut lab = Lab::new(mm, scheme, (START, START.add(Level::L1.entry_bytes())));
    let result = furnish(&mut lab).and_then(|bench| bench.run(&mut lab, meter, say));
    lab.end();
    result
}

/// Where things stand in the lab.
struct Bench {
    /// Two spaces.
    spaces: [usize; 2],
    /// The folio, and a single page.
    folio: usize,
    page: usize,
}

fn furnish(lab: &mut Lab<'_>) -> Result<Bench, OutOfMemory> {
    let put = |lab: &mut Lab<'_>, order| {
        let folio = LabFolio::alloc(lab.mm, order, PageKind::Anon)?;
        lab.put_folio(folio).ok_or(OutOfMemory)
    };
    let (folio, page) = (put(lab, Order::PMD)?, put(lab, Order::PAGE)?);
    let spaces = [lab.bear()?.ok_or(OutOfMemory)?, lab.bear()?.ok_or(OutOfMemory)?];
    Ok(Bench { spaces, folio, page })
}

impl Bench {
    fn run(
        &self,
        lab: &mut Lab<'_>,
        meter: &mut dyn Meter,
        say: &mut dyn FnMut(&Row),
    ) -> Result<(), OutOfMemory> {
        let scheme = lab.scheme;
        let mut measure = |operations: &mut [Named<'_>]| {
            in_turn(meter, ROUNDS, operations, &mut |what, part, value, unit| {
                say(&Row { what, scheme, part, value, unit });
            });
        };
        let ask = |head| {
            core::hint::black_box(scheme.sharing(core::hint::black_box(head)));
        };
        let [first, second] = self.spaces;
        let end = START.add(Order::PMD.bytes());
        let run = |lab: &Lab<'_>, s| lab.run_at(s, START, end).ok_or(OutOfMemory);

        // By a block.
        lab.map_block(first, START, self.folio, 0, Level::L2)?;
        let block = run(lab, first)?;
        measure(&mut [
            ("unmap_2m_block", &mut || remove(scheme, &block)),
            ("map_2m_block", &mut || scheme.add(&block)),
        ]);
        measure(&mut [("migration_test_block", &mut || ask(block.head))]);
        if scheme == mapcount::scheme(lab.mm) {
            // The same by way of the boot choice, or without one in a kernel that has this scheme only.
            measure(&mut [
                ("unmap_2m_block_as_booted", &mut || {
                    mapcount::remove(lab.mm, &block);
                }),
                ("map_2m_block_as_booted", &mut || mapcount::add(lab.mm, &block)),
            ]);
        }

        // The block becomes pages, and a block again.
        let table = lab.mm.alloc_table()?;
        let pieces = block.pieces(table.address());
        measure(&mut [
            ("split_2m", &mut || scheme.split(&block, table.address())),
            ("collapse_2m", &mut || scheme.join(&pieces, &block)),
        ]);
        lab.mm.free_table(table);

        // By pages, all at once and one by one.
        lab.split(first, START)?;
        let pages = run(lab, first)?;
        measure(&mut [
            ("unmap_2m_pages_batch", &mut || remove(scheme, &pages)),
            ("map_2m_pages_batch", &mut || scheme.add(&pages)),
        ]);
        let flags = Machine::read_desc(pages.table).flags(Level::L3);
        let leaf = |n: u64| Desc::leaf(pages.first.nth(n).pfn().phys(), Level::L3, flags);
        let set = |n: u64, desc: Desc| Machine::write_desc(pages.table.add(8 * n), desc);
        let unmap = |n: u64| {
            set(n, Desc::INVALID);
            scheme.remove(&one_of(&pages, n));
        };
        let map = |n: u64| {
            set(n, leaf(n));
            scheme.add(&one_of(&pages, n));
        };
        measure(&mut [
            ("unmap_2m_pages_singly", &mut || (0..PAGES).for_each(unmap)),
            ("map_2m_pages_singly", &mut || (0..PAGES).for_each(map)),
        ]);

        // Questions of one process; then a second space, as by fork, and questions about what is shared.
        measure(&mut [
            ("smaps_2m_pages_private", &mut || ask_pages(scheme, &pages)),
            ("migration_test_pages", &mut || ask(pages.head)),
        ]);
        lab.map(second, START, self.folio, 0, PAGES)?;
        let theirs = run(lab, second)?;
        measure(&mut [
            ("exit_2m_pages", &mut || remove(scheme, &theirs)),
            ("fork_2m_pages", &mut || scheme.add(&theirs)),
        ]);
        measure(&mut [("smaps_2m_pages_shared", &mut || ask_pages(scheme, &pages))]);

        // The second space writes to one page: that leaves the folio, a single page comes.
        let copied = one_of(&theirs, 5);
        let page = lab.folios[self.page].as_ref().map_or(copied.head, |folio| folio.head);
        let copy = Run { head: page, first: page, ..copied };
        let mut copy_back = || {
            scheme.remove(&copy);
            scheme.add(&copied);
        };
        measure(&mut [
            ("cow_4k", &mut || {
                scheme.add(&copy);
                scheme.remove(&copied);
            }),
            ("cow_4k_back", &mut copy_back),
        ]);
        Ok(())
    }
}

fn remove(scheme: Mapcount, run: &Run) {
    scheme.remove(run);
}

/// Entry `n` of a run of pages.
fn one_of(run: &Run, n: u64) -> Run {
    Run { first: run.first.nth(n), entries: 1, va: run.va.add(n * PAGE_SIZE), ..*run }
}

/// What smaps asks of each page that it meets: whether it is shared, and its share.
fn ask_pages(scheme: Mapcount, pages: &Run) {
    for n in 0..PAGES {
        let page = pages.first.nth(n);
        core::hint::black_box(scheme.page_sharing(pages.head, page));
        let entries = scheme.page_entries(pages.head, page).exact();
        core::hint::black_box(entries.unwrap_or_else(|| scheme.average(pages.head)));
    }
}
