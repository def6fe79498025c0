//! `timeline`: memory that is used and memory in huge pages, while a region is touched and given up again, under each
//! policy for huge pages.
//!
//! All pages of the region are touched in random order, in [`TOUCHED`] bursts; then three quarters of each 2 MiB are given
//! up, in [`GIVEN_UP`] bursts. After each burst the kernel threads have [`PAUSE_NS`]; then a sample is taken.
#![forbid(unsafe_code)]

use allocator_api2::vec::Vec;
use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::kalloc::{KAlloc, KArc};
use mm::space::{AddressSpace, Advice, MapProt, MmapRequest};
use mm::stats::Counter;

use super::Run;
use super::policies::{Policy, chosen, under_each};
use crate::{sched, settle, time};

const TOUCHED: usize = 32;
const GIVEN_UP: usize = 16;
const PAUSE_NS: u64 = 20_000_000;
const START: u64 = 0x40_0000_0000;
const BLOCK: u64 = 2 << 20;

/// Prints the samples of the policies that were asked for.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let (bytes, seed) = (run.asked.number("mib") << 20, run.asked.number("seed"));
    let Some(order) = shuffled(bytes / PAGE_SIZE, seed) else {
        return run.fail("there is no memory for the order of pages");
    };
    run.expect(chosen(run.asked).count());
    under_each(mm, run, |policy, run| {
        run.step(policy.name);
        let Ok(space) = mm.new_space() else { return run.fail("there is no memory for a space") };
        let sampled = follow(mm, run, policy, &space, &order);
        mm.destroy_space(&space);
        sampled
    })
}

/// The numbers below `pages`, in an order that depends on the seed alone (Fisher and Yates).
fn shuffled(pages: u64, seed: u64) -> Option<Vec<u64, KAlloc>> {
    let mut order = Vec::new_in(KAlloc);
    order.try_reserve_exact(pages as usize).ok()?;
    order.extend(0..pages);
    let mut state = seed;
    for n in (1..order.len()).rev() {
        // Knuth's constants of MMIX; the high bits are the random ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(n, (state >> 33) as usize % (n + 1));
    }
    Some(order)
}

/// One policy: the bursts, and a sample after each.
fn follow(
    mm: &'static Mm,
    run: &mut Run<'_>,
    policy: &Policy,
    space: &KArc<AddressSpace>,
    order: &[u64],
) -> Option<()> {
    let bytes = order.len() as u64 * PAGE_SIZE;
    let request = MmapRequest::anonymous(bytes, MapProt::READ | MapProt::WRITE).fixed(START);
    let free = settle::free_pages(mm);
    if mm.mmap(space, &request).is_err() {
        return run.fail("the region cannot be mapped");
    }
    let (began, huge) = (time::now_ns(), mm.stats.get(Counter::NrAnonThp));
    let mut touched = 0;
    let sample = |run: &mut Run<'_>, number: usize, touched: u64| {
        sched::sleep_ns(PAUSE_NS);
        let used = free.saturating_sub(mm.free_page_count()) * PAGE_SIZE;
        let promoted = mm.stats.get(Counter::NrAnonThp).saturating_sub(huge) * BLOCK;
        for (what, value, unit) in [
            ("ns", time::now_ns() - began, "ns"),
            ("touched", touched, "bytes"),
            ("used", used, "bytes"),
            ("promoted", promoted, "bytes"),
        ] {
            run.line(format_args!("{}.{number}.{what} {value} {unit}", policy.name));
        }
    };
    for (number, burst) in order.chunks(order.len().div_ceil(TOUCHED)).enumerate() {
        for page in burst {
            if mm.write_user(space, VirtAddr::new(START + page * PAGE_SIZE), &[1]).is_err() {
                return run.fail("memory is out before the region is touched");
            }
        }
        touched += burst.len() as u64 * PAGE_SIZE;
        sample(run, number, touched);
    }
    let blocks = bytes / BLOCK;
    for number in 0..GIVEN_UP as u64 {
        let share = |n: u64| blocks * n / GIVEN_UP as u64;
        for block in share(number)..share(number + 1) {
            let quarter = BLOCK / 4;
            if mm.madvise(space, START + block * BLOCK + quarter, 3 * quarter, Advice::DontNeed).is_err() {
                return run.fail("a part of the region cannot be given up");
            }
            touched -= 3 * quarter;
        }
        sample(run, TOUCHED + number as usize, touched);
    }
    Some(())
}
