//! Frames that move under programs, memory in one piece, compaction.

use core::sync::atomic::{AtomicBool, Ordering};

use arch::addr::PAGE_SIZE;
use arch::{Cpu, Machine, Order, PhysMem, VirtAddr};
use mm::Mm;
use mm::config::ThpMode;
use mm::device::Entries;
use mm::kalloc::KArc;
use mm::page::PageKind;
use mm::rmap::{self, MoveWhat, NotMoved};
use mm::space::{AddressSpace, Advice, MapFlags, MapProt, MmapRequest};
use mm::stats::Counter;

use super::kit::{ThpSettings, Threads, expect};
use crate::sched;
use crate::selftest::{Failure, NotPassed, Verdict, check, check_eq, require, selftest};

selftest!("rmap::programs_run_while_their_frames_move", frames_move);
selftest!("rmap::memory_in_one_piece", one_piece);
selftest!("rmap::a_gigabyte_in_one_piece_is_mapped", gigabyte);
selftest!("rmap::compaction_keeps_contents", compaction);

static STOP: AtomicBool = AtomicBool::new(false);

/// Moves every folio that can be moved, from the bottom of memory to the top, again and again.
fn move_everything(mm: &'static Mm) {
    while !STOP.load(Ordering::Acquire) {
        for bank in mm.ram() {
            for pfn in bank.iter().take_while(|_| !STOP.load(Ordering::Acquire)) {
                if let Some(folio) = mm.try_get_folio(pfn) {
                    move_one(mm, folio);
                }
            }
            sched::yield_now();
            Machine::relax();
        }
    }
}

fn move_one(mm: &Mm, folio: mm::page::FolioRef) {
    let Ok(target) = rmap::target_for(mm, folio.page()) else {
        mm.put_folio(folio);
        return;
    };
    if let Err(NotMoved { target, .. }) = rmap::migrate_folio(mm, folio, target, MoveWhat::All) {
        rmap::drop_target(mm, target);
    }
}

/// A program that verifies all that it writes runs to its end while a thread moves whatever frame it finds.
fn frames_move(mm: &'static Mm) -> Verdict {
    for mode in [ThpMode::Never, ThpMode::Always] {
        let _settings = ThpSettings::set(mm, mode, 256)?;
        let moved = mm.stats.get(Counter::PgMigrateSuccess);
        let movers = Threads::start(1, &STOP, move_everything)?;
        expect("promote", &["promote", "rounds=2"], 0)?;
        drop(movers);
        check!(mm.stats.get(Counter::PgMigrateSuccess) > moved, "no page was moved");
    }
    Ok(())
}

/// The largest piece that this memory has: 1 GiB, or else what half of the free memory is.
fn one_piece(mm: &'static Mm) -> Verdict {
    let half = Order::new((mm.free_page_count() / 2).ilog2() as u8);
    let orders = (10..=Order::PUD.raw().min(half.raw())).rev().map(Order::new);
    require!(half.raw() >= 10, "4 MiB of free memory");
    let free = mm.free_page_count();
    for order in orders {
        let Ok(block) = mm.alloc_contig(order, PageKind::Kernel) else { continue };
        check!(block.pfn().is_aligned(order), "{block:?} is not aligned to order {}", order.raw());
        check_eq!(block.order(), order, "order");
        for at in [0, order.bytes() - PAGE_SIZE] {
            Machine::zero(block.pfn().phys().add(at), PAGE_SIZE);
        }
        mm.free_pages(block, order);
        let missing = free.saturating_sub(mm.free_page_count());
        check!(missing < 512, "{missing} pages are missing afterwards");
        return Ok(());
    }
    Err(Failure::new(file!(), line!(), format_args!("not even 4 MiB can be had in one piece")).into())
}

/// 1 GiB of real memory in one piece: a program's space maps all of it, a device's frames, by one entry a page; what is
/// stored through each table arrives at its place.
fn gigabyte(mm: &'static Mm) -> Verdict {
    let order = Order::PUD;
    require!(mm.free_page_count() > order.pages() + order.pages() / 2, "1.5 GiB of free memory");
    let failed = |words: &dyn core::fmt::Debug| -> NotPassed {
        Failure::new(file!(), line!(), format_args!("{words:?}")).into()
    };
    let free = mm.free_page_count();
    let block = mm.alloc_contig(order, PageKind::Kernel).map_err(|why| failed(&why))?;
    check_eq!(block.order(), order, "order");
    let first = block.pfn();
    let verdict = mm.new_space().map_err(|error| failed(&error)).and_then(|space| {
        let request = MmapRequest::anonymous(order.bytes(), MapProt::READ | MapProt::WRITE);
        let request = MmapRequest { flags: MapFlags::SHARED, ..request };
        let mapped = mm.mmap_device(&space, &request, Entries::PfnMap, |insert| {
            (0..insert.pages()).try_for_each(|n| insert.frame(n, first.add(n)))
        });
        let verdict = mapped.map_err(|error| failed(&error)).and_then(|base| {
            for at in (0..order.bytes()).step_by(Order::PMD.bytes() as usize).map(|at| at + 8 * PAGE_SIZE) {
                mm.write_user(&space, base.add(at), &at.to_le_bytes()).map_err(|error| failed(&error))?;
                let mut word = [0; 8];
                Machine::read_bytes(first.phys().add(at), &mut word);
                check_eq!(u64::from_le_bytes(word), at, "a word");
            }
            Ok(())
        });
        mm.destroy_space(&space);
        verdict
    });
    mm.free_pages(block, order);
    let missing = free.saturating_sub(mm.free_page_count());
    check!(missing < 512, "{missing} pages are missing afterwards");
    verdict
}

const BASE: VirtAddr = VirtAddr::new(0x4000_0000);
const PAGES: u64 = 2048;
/// One page of so many stays.
const KEEP: u64 = 16;

/// Pages that are scattered over memory keep their contents when memory is compacted.
fn compaction(mm: &'static Mm) -> Verdict {
    let _settings = ThpSettings::set(mm, ThpMode::Never, 256)?;
    require!(mm.free_page_count() > 3 * PAGES, "24 MiB of free memory");
    let failed = |words: &dyn core::fmt::Debug| -> NotPassed {
        Failure::new(file!(), line!(), format_args!("{words:?}")).into()
    };
    let space = mm.new_space().map_err(|error| failed(&error))?;
    let verdict = scatter(mm, &space).map_err(|error| failed(&error)).and_then(|()| {
        rmap::compact_all(mm);
        for n in (0..PAGES).step_by(KEEP as usize) {
            let mut word = [0; 8];
            mm.read_user(&space, BASE.add(n * PAGE_SIZE), &mut word).map_err(|error| failed(&error))?;
            check_eq!(u64::from_le_bytes(word), n + 1, "a word");
        }
        Ok(())
    });
    mm.destroy_space(&space);
    verdict
}

/// Every page is written, and then most are discarded.
fn scatter(mm: &Mm, space: &KArc<AddressSpace>) -> Result<(), &'static str> {
    let request = MmapRequest::anonymous(PAGES * PAGE_SIZE, MapProt::READ | MapProt::WRITE);
    mm.mmap(space, &request.fixed(BASE.raw())).map_err(|_| "mmap")?;
    for n in 0..PAGES {
        mm.write_user(space, BASE.add(n * PAGE_SIZE), &(n + 1).to_le_bytes()).map_err(|_| "write")?;
    }
    for n in (0..PAGES).filter(|n| n % KEEP != 0) {
        let at = BASE.add(n * PAGE_SIZE).raw();
        mm.madvise(space, at, PAGE_SIZE, Advice::DontNeed).map_err(|_| "madvise")?;
    }
    Ok(())
}
