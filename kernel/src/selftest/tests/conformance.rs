//! The machine keeps the contract: the same checks run on the model.

use arch::addr::PAGE_SIZE;
use arch::conformance::{Arena, CHECKS};
use arch::layout::{VMALLOC_BASE, VMALLOC_BYTES};
use arch::{Asid, Machine, Mmu, Order, PhysAddr};
use mm::Mm;
use mm::page::PageKind;

use crate::selftest::{Failure, NotPassed, Verdict, check, selftest};

selftest!("conformance::the_machine_keeps_the_contract", the_machine_keeps_the_contract);

/// Every check of the contract holds, in the last addresses of the vmalloc area, while the other CPUs are held.
fn the_machine_keeps_the_contract(mm: &'static Mm) -> Verdict {
    const ORDER: Order = Order::new(Arena::PAGES.next_power_of_two().trailing_zeros() as u8);
    let window = VMALLOC_BASE.add(VMALLOC_BYTES - Arena::WINDOW_BYTES);
    let last = (1_u32 << Machine::features().asid_bits) as u16;
    let asids = [Asid::new(last.wrapping_sub(1)), Asid::new(last.wrapping_sub(2))];
    let Ok(block) = mm.alloc_pages(ORDER, PageKind::Kernel) else {
        check!(false, "no block of order {ORDER}");
        return Ok(());
    };
    let first = block.pfn().phys();
    let pages: [PhysAddr; Arena::PAGES] = core::array::from_fn(|n| first.add(n as u64 * PAGE_SIZE));
    let mut verdict = Ok(());
    mm.env.stop_machine(&mut || {
        verdict = Arena::new(window, &pages, asids).map_err(|failure| ("the arena", failure)).and_then(
            |mut arena| {
                CHECKS.iter().try_for_each(|check| arena.run(check).map_err(|failure| (check.0, failure)))
            },
        );
    });
    mm.free_pages(block, ORDER);
    verdict.map_err(|(name, failure)| {
        NotPassed::Failed(Failure::new(file!(), line!(), format_args!("{name}: {failure}")))
    })
}
