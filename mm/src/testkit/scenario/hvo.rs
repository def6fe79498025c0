//! HVO under walkers of physical memory: folios are optimised and restored while others read struct pages, take and
//! drop references, and use the frames that HVO gives away.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::{Cpu, Machine, Order, Pfn, PhysMem};

use super::stage::{self, Stage};
use super::{Ran, Scenario};
use crate::Mm;
use crate::hugetlb::HugeSize;
use crate::page::{FolioRef, PageKind, PageRef, page_of};
use crate::stats::Counter;
use crate::testkit::Random;

/// See [`Scenario`].
pub(super) const SCENARIO: Scenario = Scenario {
    name: "hvo",
    about: "one vCPU optimises and restores folios, two walk all pfns, one uses what is freed",
    run,
};

/// Most folios at a time.
const FOLIOS: u64 = 2;
/// Times that they come and go.
const ROUNDS: u64 = 2;
/// Stretches that a walker walks, at most.
const WALKS: u64 = 200;
/// Struct pages of a stretch.
const STRETCH: u64 = 24;
/// Pages that the user of freed frames holds at a time.
const HELD: usize = 12;
/// Times that a folio is asked back that a walker may hold.
const PATIENCE: u64 = 100_000;

/// What the vCPUs share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The pfn of the hugetlb folio that a walker saw last; 0: none.
    hot: AtomicU64,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

fn run(seed: u64) -> Ran {
    stage::run(seed, 12, |_, _| (), play)
}

fn play(stage: &Stage<'_>, random: &mut Random) {
    let (mm, shared) = (stage.mm, Shared::default());
    let nothing = vec![(); stage::CPUS];
    stage.on_all_cpus(random, nothing, |(), mut random| match Machine::id().index() {
        0 => {
            (0..ROUNDS).for_each(|_| come_and_go(mm, &mut random));
            shared.stop.store(true, Ordering::SeqCst);
        }
        1 => use_frames(mm, &mut random, &shared),
        _ => walk(mm, &mut random, &shared),
    });
    assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 1).unoptimized, None);
    if let Err(wrong) = mm.check_all() {
        panic!("with an optimised folio: {wrong}");
    }
    assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).unrestored, None);
    let stats = |counter| mm.stats.get(counter);
    assert_eq!(stats(Counter::HvoOptimize), stats(Counter::HvoRestore));
}

/// The pool grows, folios are restored and optimised in place at times, and it shrinks to nothing.
fn come_and_go(mm: &Mm, random: &mut Random) {
    let grown = mm.hugetlb.set_nr(mm, HugeSize::M2, 1 + random.below(FOLIOS));
    assert_eq!(grown.unoptimized, None, "{} folios", grown.persistent);
    if random.below(2) == 0 {
        assert_eq!(mm.hugetlb.restore_free(mm).first_error, None);
        assert_eq!(mm.hugetlb.optimize_free(mm).first_error, None);
    }
    for _ in 0..PATIENCE {
        assert_eq!(mm.hugetlb.set_nr(mm, HugeSize::M2, 0).unrestored, None);
        if mm.hugetlb.counts(HugeSize::M2).nr == 0 {
            return;
        }
        Machine::relax();
    }
    panic!("a folio of the pool stays in use, though walkers drop every reference that they take");
}

/// Walks stretches of memory: where a hugetlb folio was seen last, and anywhere.
fn walk(mm: &Mm, random: &mut Random, shared: &Shared) {
    let bank = mm.ram()[0];
    for _ in 0..WALKS {
        if shared.is_over() {
            return;
        }
        let hot = shared.hot.load(Ordering::SeqCst);
        let first = match random.below(4) {
            0 => bank.start.add(random.below(bank.len())),
            _ => Pfn::new(hot.max(bank.start.raw())).add(64 * random.below(8)),
        };
        (0..STRETCH).map(|n| first.add(n)).take_while(|&pfn| pfn < bank.end).for_each(|pfn| {
            visit(mm, pfn, random, shared);
        });
    }
}

/// Takes a reference to the folio of `pfn`, reads what a walker reads, and drops it.
fn visit(mm: &Mm, pfn: Pfn, random: &mut Random, shared: &Shared) {
    let page = page_of(pfn);
    if page.kind() == PageKind::Hugetlb {
        shared.hot.store(pfn.align_down(Order::PMD).raw(), Ordering::SeqCst);
    }
    if let Some(head) = mm.try_get_folio(pfn) {
        (0..random.below(3)).for_each(|_| Machine::relax());
        assert!(head.refcount() != 0, "{head:?} was freed while a walker holds it");
        mm.put_folio(head);
    }
}

/// Takes single pages, so those that HVO gives away too, writes to them, and holds them for a while.
fn use_frames(mm: &Mm, random: &mut Random, shared: &Shared) {
    let mut held: Vec<(FolioRef, u64)> = Vec::new();
    for _ in 0..WALKS {
        if shared.is_over() {
            break;
        }
        if held.len() < HELD && random.below(3) != 0 {
            if let Ok(page) = mm.alloc_pages(Order::PAGE, PageKind::Kernel) {
                let word = random.bits();
                fill(*page, word);
                held.push((page, word));
            }
        } else if let Some((page, word)) = random.take(&mut held) {
            give_back(mm, page, word);
        }
        Machine::relax();
    }
    held.into_iter().for_each(|(page, word)| give_back(mm, page, word));
}

fn fill(page: PageRef, word: u64) {
    let words = [word; 512].map(u64::to_ne_bytes);
    Machine::write_bytes(page.pfn().phys(), words.as_flattened());
}

/// Gives a page back that must still hold what was written to it.
fn give_back(mm: &Mm, page: FolioRef, word: u64) {
    let mut bytes = [0; 4096];
    Machine::read_bytes(page.pfn().phys(), &mut bytes);
    let same = bytes.as_chunks().0.iter().all(|&bytes| u64::from_ne_bytes(bytes) == word);
    assert!(same, "somebody wrote to {page:?}, which is in use as kernel memory");
    mm.free_pages(page, Order::PAGE);
}
