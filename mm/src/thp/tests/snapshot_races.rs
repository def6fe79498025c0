//! The way back from a fork, while others fault, unmap, fork, pin and give up; and every allocation failing once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::races::{contend, restless};
use super::*;
use crate::config::ThpMode;
use crate::page::{FolioRef, page_of};
use crate::space::{Advice, MmapError};
use crate::testkit::fail_every_allocation;

/// Passes over all pages that each writer makes.
const PASSES: u64 = 3;

fn machine(seed: u64, mode: ThpMode) -> Builder {
    restless(seed, 256).config(move |config| config.thp = mode)
}

const MODES: [ThpMode; 2] = [ThpMode::Always, ThpMode::Reserve];

impl Site<'_> {
    /// A word of a page as the kernel reads it in a space.
    fn peek(&self, space: &KArc<AddressSpace>, page: u64) -> u64 {
        let mut bytes = [0; 8];
        self.mm.read_user(space, va(page), &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    }
    /// Forks, and looks twice at the child's pages: what it has does not change. There is memory enough.
    fn save(&self) {
        let child = self.mm.fork_space(&self.space).unwrap();
        let look = || -> Vec<u64> { (0..RANGE_PAGES).map(|page| self.peek(&child, page)).collect() };
        let saved = look();
        (0..100).for_each(|_| Machine::relax());
        assert!(look() == saved, "what a child has was changed from outside");
        self.mm.destroy_space(&child);
    }
    /// Each page of the first range has what its last pass has left: `odd` and even pages have different writers.
    fn assert_last_pass(&self) {
        for page in 0..RANGE_PAGES {
            assert_eq!(self.load(page), (word(page) + (PASSES << 32), 0), "page {page}");
        }
    }
}

/// Writes the even or the odd pages of the first range, pass after pass, and sees its own writes.
fn write(first: u64) {
    for pass in 1..=PASSES {
        for page in (first..RANGE_PAGES).step_by(2) {
            let value = word(page) + (pass << 32);
            model::user_store(va(page), value).unwrap();
            assert_eq!(model::user_load(va(page)), Ok(value));
        }
    }
}

/// Two threads write all pages of a huge page while a third forks and ends children and a fourth promotes: strays by
/// the hundred are brought back in rounds between which others write. Nothing that was written is lost, what a child
/// reads does not change, and in the end the range is a block.
#[test]
fn writers_forks_and_promoter() {
    for seed in model::seeds(2) {
        for mode in MODES {
            with_site(machine(seed, mode), |site| {
                site.store_all(0..RANGE_PAGES);
                site.drain();
                let save = || site.save();
                let promote = || {
                    site.drain();
                };
                contend(site, [&|| write(0), &|| write(1)], &[&save, &promote]);
                while promoter::backlog(site.mm) != 0 {
                    site.drain();
                }
                site.assert_last_pass();
                site.check();
                let counts =
                    [Counter::ThpReunited, Counter::ResPagesBroughtBack].map(|counter| site.get(counter));
                assert!(counts.iter().all(|&count| count != 0), "seed {seed} {mode}: {counts:?}");
                assert!(site.is_block(0));
            });
        }
    }
}

/// The same while parts of the range are given up, folios that are mapped in part are split, and a walker holds pages.
#[test]
fn writers_forks_and_everybody() {
    for seed in model::seeds(2) {
        for mode in MODES {
            with_site(machine(seed, mode), |site| {
                site.store_all(0..2 * RANGE_PAGES);
                site.drain();
                let (mm, turn) = (site.mm, AtomicU64::new(seed));
                let disturb = || {
                    let n = turn.fetch_add(1, Ordering::Relaxed);
                    let page = RANGE_PAGES + n * 97 % RANGE_PAGES;
                    let held: Option<FolioRef> =
                        site.space.ptl.lock().walk(va(n * 61 % RANGE_PAGES)).leaf().and_then(|leaf| {
                            page_of(leaf.desc.output(leaf.level).pfn()).head(mm.config.tails).try_get()
                        });
                    match n % 8 {
                        0 => mm.madvise(&site.space, va(page).raw(), PAGE_SIZE, Advice::DontNeed).unwrap(),
                        1 => drop(mm.mprotect(&site.space, va(page).raw(), PAGE_SIZE, MapProt::READ)),
                        2 if n % 64 == 2 => drop(mm.reclaim(u64::MAX)),
                        _ => {
                            site.drain();
                        }
                    }
                    held.into_iter().for_each(|held| mm.put_folio(held));
                };
                let save = || site.save();
                contend(site, [&|| write(0), &|| write(1)], &[&save, &disturb]);
                site.drain();
                site.assert_last_pass();
                site.check();
            });
        }
    }
}

/// A range is unmapped and mapped anew while children that shared it end and the promoter works on its notes: new
/// memory is zeros.
#[test]
fn notes_and_munmap() {
    for mode in MODES {
        with_site(machine(0, mode), |site| {
            let range = RANGE_PAGES;
            let request = MmapRequest::anonymous(RANGE_BYTES, MapProt::READ | MapProt::WRITE);
            let remap = || {
                for turn in 0..6 {
                    site.store_all(range..range + 300);
                    let child = site.mm.fork_space(&site.space).unwrap();
                    site.store_all((range..range + 300).step_by(3 + turn));
                    site.mm.destroy_space(&child);
                    (0..10 * turn).for_each(|_| Machine::relax());
                    site.mm.munmap(&site.space, va(range).raw(), RANGE_BYTES).unwrap();
                    site.mm.mmap(&site.space, &request.fixed(va(range).raw())).unwrap();
                    assert_eq!(site.load(range + 1), (0, 0));
                }
            };
            let promote = || {
                site.drain();
            };
            contend(site, [&|| write(0), &remap], &[&promote]);
            site.drain();
        });
    }
}

/// A parent of huge pages forks, writes, loses its child and is promoted, with every allocation failing in turn: no
/// page is lost, what was written is there or the write has failed, and the child sees what was there at the fork.
#[test]
fn no_failure_loses_a_page() {
    for mode in MODES {
        let machine = threshold(2).config(move |config| config.thp = mode);
        let failed = fail_every_allocation(&machine, |_| (), |mm, ()| life(mm));
        assert!(failed >= 12, "{mode}: only {failed} allocations were failed");
    }
}

fn life(mm: &Mm) -> Result<(), MmapError> {
    let space = mm.new_space()?;
    let request = MmapRequest::anonymous(RANGES * RANGE_BYTES, MapProt::READ | MapProt::WRITE);
    let result = mm.mmap(&space, &request.fixed(BASE.raw())).map(|_| snapshot(mm, &space));
    mm.destroy_space(&space);
    result
}

fn snapshot(mm: &Mm, parent: &KArc<AddressSpace>) {
    let peek = |space: &KArc<AddressSpace>, page: u64| {
        let mut bytes = [0; 8];
        mm.read_user(space, va(page), &mut bytes).ok().map(|()| u64::from_le_bytes(bytes))
    };
    let write = |page: u64, value: u64| mm.write_user(parent, va(page), &value.to_le_bytes()).is_ok();
    let mut values: Vec<_> =
        (0..4).map(|page| if write(page, word(page)) { word(page) } else { 0 }).collect();
    promoter::drain(mm);
    if let Ok(child) = mm.fork_space(parent) {
        let before = values.clone();
        for page in 1..3 {
            if write(page, !word(page)) {
                values[page as usize] = !word(page);
            }
        }
        promoter::drain(mm);
        for (page, &value) in before.iter().enumerate() {
            assert!(peek(&child, page as u64).is_none_or(|read| read == value), "page {page} of the child");
        }
        mm.destroy_space(&child);
    }
    promoter::drain(mm);
    for (page, &value) in values.iter().enumerate() {
        assert!(peek(parent, page as u64).is_none_or(|read| read == value), "page {page}");
    }
    mm.check_all().unwrap();
}
