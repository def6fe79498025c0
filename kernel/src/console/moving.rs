//! Who maps a folio, moving it, and letting it fail: what the reverse map knows and does.
#![forbid(unsafe_code)]

use core::convert::Infallible;
use core::ops::ControlFlow;

use arch::{Level, Order, Pfn};
use mm::Mm;
use mm::boot::Frames;
use mm::mapcount;
use mm::page::{FolioRef, PageKind};
use mm::rmap::{self, Exit, MoveWhat, NotMoved, Refused};
use mm::stats::Counter;

use super::commands::{Complaint, none};
use super::inspect::frame;
use super::words::number;
use crate::println;

/// A reference to the folio of a frame that is named by its number.
fn folio(mm: &Mm, word: &str) -> Result<FolioRef, Complaint> {
    let pfn = frame(mm, &[word])?;
    mm.try_get_folio(pfn)
        .ok_or_else(|| Complaint::new(format_args!("frame {pfn} is free, or is about to be")))
}

/// `rmap <pfn>`
pub(super) fn rmap(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let [word] = *args else { return Err(Complaint::Usage) };
    let folio = folio(mm, word)?;
    let head = folio.page();
    let (scheme, order) = (mapcount::scheme(mm), head.order());
    println!(
        "    pfn {:#x}, {}, order {}, {} references",
        head.pfn().raw(),
        head.kind().name(),
        order.raw(),
        head.refcount() - 1
    );
    if matches!(head.kind(), PageKind::Anon | PageKind::Hugetlb | PageKind::Shmem) {
        println!("    {scheme}: {:?} entries, {:?}", scheme.entries(head), scheme.sharing(head));
        let mut entries = 0_u64;
        let ControlFlow::Continue(()) = rmap::rmap_walk(mm, head, |place, leaf| -> ControlFlow<Infallible> {
            entries += 1;
            if entries <= MOST_PRINTED {
                let what = if leaf.level == Level::L3 { "page" } else { "block" };
                println!("    space {:<4} {:#014x}  {what:<5}  {}", place.space.id, leaf.va.raw(), leaf.desc);
            }
            ControlFlow::Continue(())
        });
        println!("    {entries} entries map it");
        let found = rmap::folio_referenced(mm, head, Exit::Never);
        println!("    {} of {} were accessed since somebody last asked", found.accessed, found.looked_at);
    }
    mm.put_folio(folio);
    Ok(())
}

/// Entries that are shown.
const MOST_PRINTED: u64 = 16;

/// `migrate <pfn> [exclusive]`
pub(super) fn migrate(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let (word, what) = match *args {
        [word] => (word, MoveWhat::All),
        [word, "exclusive"] => (word, MoveWhat::Exclusive),
        _ => return Err(Complaint::Usage),
    };
    let folio = folio(mm, word)?;
    let (from, pages) = (folio.pfn(), folio.order().pages());
    let target = match rmap::target_for(mm, folio.page()) {
        Ok(target) => target,
        Err(why) => {
            mm.put_folio(folio);
            return Err(stays(from, why));
        }
    };
    let to = target.pfn();
    match rmap::migrate_folio(mm, folio, target, what) {
        Ok(()) => println!("    {pages} pages moved from {:#x} to {:#x}", from.raw(), to.raw()),
        Err(NotMoved { why, target }) => {
            rmap::drop_target(mm, target);
            return Err(stays(from, why));
        }
    }
    Ok(())
}

/// `poison <pfn>`
pub(super) fn poison(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let pfn = frame(mm, args)?;
    match mm.memory_failure(pfn) {
        Ok(outcome) => println!("    frame {pfn}: {outcome}; {} have failed", mm.failed_frames()),
        Err(error) => return Err(Complaint::new(format_args!("{error}"))),
    }
    Ok(())
}

fn stays(from: Pfn, why: Refused) -> Complaint {
    Complaint::new(format_args!("frame {from} stays: {why}"))
}

/// `dissolve <pfn> [pages]`
pub(super) fn dissolve(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let (first, pages) = match *args {
        [first] => (first, Some(1)),
        [first, pages] => (first, number(pages)),
        _ => return Err(Complaint::Usage),
    };
    let start = frame(mm, &[first])?;
    let range = pages.map(|pages| Frames::new(start, pages.clamp(1, mm.ram_pages())));
    let range = range.filter(|&range| mm.ram().iter().any(|bank| bank.meet(range) == range));
    let Some(range) = range else {
        return Err(Complaint::new(format_args!("not so many frames of RAM are there from {start} on")));
    };
    match mm.hugetlb.dissolve_range(mm, range) {
        Ok(gone) => println!("    {gone} pages of free hugetlb pages went back to memory"),
        Err((pfn, why)) => return Err(Complaint::new(format_args!("frame {pfn} stays: {why}"))),
    }
    Ok(())
}

/// `split <pfn>`
pub(super) fn split(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let [word] = *args else { return Err(Complaint::Usage) };
    let folio = folio(mm, word)?;
    let pfn = folio.pfn();
    match rmap::split_folio(mm, folio) {
        Ok(freed) => {
            println!("    {pfn} is single pages now; {freed} of them were mapped by nobody, and are free")
        }
        Err(why) => return Err(Complaint::new(format_args!("{pfn} stays whole: {why}"))),
    }
    Ok(())
}

/// `compact`
pub(super) fn compact(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    none(args)?;
    let large = || mm.buddyinfo()[usize::from(Order::PMD.raw())..].iter().sum::<u64>();
    let (before, moved) = (large(), rmap::compact_all(mm));
    println!(
        "    {} pages of {} moved; free blocks of 2 MiB and more: {before}, now {}",
        moved.moved,
        moved.scanned,
        large()
    );
    Ok(())
}

/// `contig <order>`
pub(super) fn contig(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let [word] = *args else { return Err(Complaint::Usage) };
    let order = number(word).and_then(|n| u8::try_from(n).ok()).filter(|&n| n <= Order::PUD.raw());
    let Some(order) = order.map(Order::new) else {
        return Err(Complaint::new(format_args!(
            "`{word}`: an order is a number from 0 to {}",
            Order::PUD.raw()
        )));
    };
    let before = mm.stats.get(Counter::PgMigrateSuccess);
    let block = mm.alloc_contig(order, PageKind::Kernel).map_err(Complaint::new)?;
    let moved = mm.stats.get(Counter::PgMigrateSuccess) - before;
    println!(
        "    {} pages in one piece at {:#x}; {moved} pages moved for it; given back",
        order.pages(),
        block.pfn().raw()
    );
    mm.free_pages(block, order);
    Ok(())
}
