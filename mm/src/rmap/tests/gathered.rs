//! How much of the free memory can be had in blocks of 2 MiB after long use, with page tables all over it.

use arch::{Machine, Order, PhysMem};

use super::family::*;
use crate::Mm;
use crate::config::ThpMode;
use crate::page::{FolioRef, PageKind};
use crate::space::{Advice, MapFlags};
use crate::testkit::{self, Builder, Random};

/// Blocks of 2 MiB, by moving what is in the way, until there are no more.
fn all_blocks(mm: &Mm) -> Vec<FolioRef> {
    std::iter::from_fn(|| mm.alloc_contig(Order::PMD, PageKind::Kernel).ok()).collect()
}

/// Programs come and go while memory is nearly full, and write pages here and there, each stretch of which needs a
/// table of its own. In the end they give most back. Of what is free then, nearly all can be had in one piece, and what
/// is left of the programs is still there.
#[test]
fn most_of_free_memory_can_be_had_in_one_piece() {
    const SPACES: usize = 6;
    /// Tables' worth of addresses of each.
    const STRETCHES: u64 = 48;
    let mut random = Random::for_test("most_of_free_memory_can_be_had_in_one_piece", 17);
    machine_of(96).boot(|mm, _| {
        let bear = || space(mm, STRETCHES * PAGES, MapFlags::NORESERVE);
        let mut spaces: Vec<_> = (0..SPACES).map(|_| bear()).collect();
        for _ in 0..100_000 {
            let s = random.below(SPACES as u64) as usize;
            if mm.free_page_count() < mm.managed_pages() / 8 {
                let old = std::mem::replace(&mut spaces[s], bear());
                mm.destroy_space(&old);
            }
            let n = random.below(STRETCHES) * PAGES + random.below(256);
            store(mm, &spaces[s], n, n + s as u64);
        }
        for (s, k) in (0..SPACES).flat_map(|s| (0..STRETCHES).map(move |k| (s, k))) {
            store(mm, &spaces[s], k * PAGES, k + s as u64);
            let rest = va(k * PAGES + 1).raw();
            mm.madvise(&spaces[s], rest, (PAGES - 1) * 4096, Advice::DontNeed).unwrap();
        }
        let free = mm.free_page_count();
        let blocks = all_blocks(mm);
        let share = blocks.len() as u64 * Order::PMD.pages() * 100 / free;
        println!("{} blocks of 2 MiB: {share} % of {free} free pages", blocks.len());
        assert!(share >= 95, "{share} % of {free} pages, {} blocks", blocks.len());
        blocks.iter().for_each(|block| Machine::zero(block.pfn().phys(), Order::PMD.bytes()));
        (0..SPACES).for_each(|s| {
            (0..STRETCHES).for_each(|k| assert_eq!(load(mm, &spaces[s], k * PAGES), k + s as u64));
        });
        blocks.into_iter().for_each(|block| mm.free_pages(block, Order::PMD));
        spaces.iter().for_each(|space| mm.destroy_space(space));
        testkit::check(mm);
    });
}

fn machine_of(mib: u64) -> Builder {
    machine(ThpMode::Never).ram_mib(mib).machine(|desc| desc.max_steps = 2_000_000_000)
}
