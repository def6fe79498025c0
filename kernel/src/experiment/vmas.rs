//! What a space with many VMAs costs more than one with few: a mapping more, its end, and a page fault.
//!
//! The VMAs lie apart, so that none of them are one. What is measured goes round among them by a stride that has no
//! factor in common with their number, as the last one that was looked for is found at once.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::kalloc::KArc;
use mm::space::{AddressSpace, Advice, MapFlags, MapProt, MmapRequest};

use super::Run;
use super::times::Times;
use crate::time;

/// How many VMAs, and what the rows of each are called.
const SIZES: [(u64, [&str; 3]); 2] = [
    (10, ["vma_mmap_10", "vma_munmap_10", "vma_fault_4k_10"]),
    (10_000, ["vma_mmap_10k", "vma_munmap_10k", "vma_fault_4k_10k"]),
];

/// Pages of a VMA; as many are free behind it.
const PAGES: u64 = 16;
const STRIDE: u64 = 3_331;
const ROUNDS: u64 = 50;
const FIRST: u64 = 0x10_0000_0000;

/// Prints the rows.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    SIZES.into_iter().try_for_each(|(vmas, names)| {
        let Ok(space) = mm.new_space() else { return run.fail("there is no memory for a space of VMAs") };
        let measured = measure(mm, &space, vmas);
        mm.destroy_space(&space);
        let Some(times) = measured else {
            return run.fail(format_args!("there is too little memory for a space of {vmas} VMAs"));
        };
        times.iter().zip(names).for_each(|(times, name)| times.say(name, run));
        Some(())
    })
}

/// mmap and munmap of a page between others, and a first write to a page whose table is there. `None`: memory is out.
fn measure(mm: &'static Mm, space: &KArc<AddressSpace>, vmas: u64) -> Option<[Times; 3]> {
    let at = |n: u64| FIRST + (n * STRIDE % vmas) * 2 * PAGES * PAGE_SIZE;
    let map = |addr: u64, pages: u64| {
        let request = MmapRequest::anonymous(pages * PAGE_SIZE, MapProt::READ | MapProt::WRITE);
        mm.mmap(space, &MmapRequest { addr, ..request }.with(MapFlags::FIXED)).ok()
    };
    for n in 0..vmas {
        map(at(n), PAGES)?;
        mm.madvise(space, at(n), PAGES * PAGE_SIZE, Advice::NoHugePage).ok()?;
    }
    let [mut mmap, mut munmap, mut fault] = [(); 3].map(|()| Times::default());
    for n in 0..ROUNDS {
        let between = at(n) + (PAGES + 2) * PAGE_SIZE;
        let began = time::now_ns();
        map(between, 1)?;
        let mapped = time::now_ns();
        mm.munmap(space, between, PAGE_SIZE).ok()?;
        mmap.add(mapped - began);
        munmap.add(time::now_ns() - mapped);
    }
    for page in 0..PAGES {
        for n in 0..10 {
            let va = VirtAddr::new(at(n) + page * PAGE_SIZE);
            let began = time::now_ns();
            mm.write_user(space, va, &[1]).ok()?;
            if page != 0 {
                fault.add(time::now_ns() - began);
            }
        }
    }
    Some([mmap, munmap, fault])
}
