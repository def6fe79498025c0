//! Looking at tables and struct pages as they stand.
#![forbid(unsafe_code)]

use arch::contract::Privilege;
use arch::layout::USER_END;
use arch::{Access, Machine, Mmu, Pfn, VirtAddr};
use mm::Mm;
use mm::boot::Frames;
use mm::hvo::describe;
use mm::page::{PageKind, page_of};
use mm::pgtable::Walk;

use super::commands::Complaint;
use super::words::number;
use crate::{println, process, show};

/// `pt <va> [pid]`
pub(super) fn pt(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let (va, pid) = match *args {
        [va] => (address(va)?, None),
        [va, pid] => (address(va)?, Some(pid)),
        _ => return Err(Complaint::Usage),
    };
    match (va.is_kernel(), pid) {
        (true, None) => kernel(mm, va),
        (true, Some(_)) => return Err(Complaint::new("a kernel address belongs to no process")),
        (false, Some(pid)) => user(va, pid)?,
        (false, None) => {
            let sentence = "a user address: say whose, `pt <va> <pid>` (`ps` lists the processes)";
            return Err(Complaint::new(sentence));
        }
    }
    Ok(())
}

fn kernel(mm: &Mm, va: VirtAddr) {
    let walk = mm.with_kernel_tree(|tree, _| tree.walk(va));
    print_walk(va, &walk);
    for (access, name) in [(Access::Read, "read"), (Access::Write, "write"), (Access::Execute, "execute")] {
        match Machine::translate(va, access, Privilege::Kernel) {
            Ok(pa) => println!("    AT S1E1, {name:<7}  {:#x}", pa.raw()),
            Err(fault) => println!("    AT S1E1, {name:<7}  {fault}"),
        }
    }
}

fn user(va: VirtAddr, pid: &str) -> Result<(), Complaint> {
    let wanted = number(pid);
    let found = wanted.and_then(|pid| process::find(u32::try_from(pid).ok()?));
    let Some(process) = found else {
        return Err(Complaint::new(format_args!("there is no process `{pid}`; `ps` lists them")));
    };
    if let Some(vma) = process.space().vma_at(va) {
        println!("    VMA {vma}");
    } else {
        println!("    no VMA");
    }
    match walk_of(&process, va) {
        Some(walk) => print_walk(va, &walk),
        None => println!("    the process is ending; its tables are gone"),
    }
    Ok(())
}

/// The walk in the tables of a process, under their lock.
fn walk_of(process: &process::Process, va: VirtAddr) -> Option<Walk> {
    let tree = process.space().ptl.lock();
    process.active_space().map(|_| tree.walk(va))
}

fn print_walk(va: VirtAddr, walk: &Walk) {
    println!("    walk of {va}");
    show::walk(walk);
}

/// An address of one of both halves.
fn address(word: &str) -> Result<VirtAddr, Complaint> {
    let va = number(word).map(VirtAddr::new).filter(|va| va.is_kernel() || va.is_user());
    va.ok_or_else(|| {
        let end = USER_END.raw() + 0xfff;
        Complaint::new(format_args!(
            "`{word}` is no address: must be decimal, or hexadecimal with 0x: from 0x0 to {end:#x}, or from \
             0xffff000000000000 to 0xffffffffffffffff"
        ))
    })
}

/// `page <pfn>`
pub(super) fn page(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let page = page_of(frame(mm, args)?);
    let head = page.head(mm.config.tails);
    show::struct_page(page, head);
    if let Some(record) = mm.reservation_of(page.pfn()) {
        let (first, populated) = (record.block().pfn().raw(), record.popmap().count());
        println!("        in the reservation from pfn {first:#x} on: {populated} of 512 pages populated");
    }
    Ok(())
}

/// `vmemmap <pfn>`
pub(super) fn vmemmap(mm: &'static Mm, args: &[&str]) -> Result<(), Complaint> {
    let pfn = frame(mm, args)?;
    let head = page_of(pfn).head(mm.config.tails);
    if head.kind() == PageKind::Hugetlb {
        show::folio(mm, head);
    } else {
        show::vmemmap(&describe(mm, pfn));
    }
    Ok(())
}

/// The one argument, a frame of RAM.
pub(super) fn frame(mm: &Mm, args: &[&str]) -> Result<Pfn, Complaint> {
    let [word] = *args else { return Err(Complaint::Usage) };
    let pfn = number(word).filter(|&raw| raw < 1 << 52).map(Pfn::new);
    if let Some(pfn) = pfn.filter(|&pfn| mm.pfn_valid(pfn)) {
        return Ok(pfn);
    }
    let (first, last) = match mm.ram() {
        [first, .., last] => (*first, *last),
        [only] => (*only, *only),
        [] => (Frames::new(Pfn::new(0), 0), Frames::new(Pfn::new(0), 0)),
    };
    let (low, high) = (first.start.raw(), last.end.raw() - 1);
    let holes = if mm.ram().len() > 1 { ", holes excepted" } else { "" };
    Err(Complaint::new(format_args!(
        "`{word}` is no frame of RAM: must be a number from {low:#x} to {high:#x}{holes}"
    )))
}
