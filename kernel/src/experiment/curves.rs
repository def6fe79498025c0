//! `curves`: what fork, munmap and collapse cost, by how many pages of a folio are mapped, each by an entry of its own; in
//! the way of counting that was booted.
//!
//! A range of 2 MiB is populated by one huge page at its first touch. Changing the rights of one page and back cuts its
//! block into 512 entries; what is not wanted of them is unmapped again, so that the folio stays whole and is mapped in
//! part. Rows are the least of [`ROUNDS`] times; an operation that is refused is a row of its error.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use mm::Mm;
use mm::config::ThpMode;
use mm::kalloc::KArc;
use mm::space::{AddressSpace, Advice, Errno, MapProt, MmapRequest};
use mm::stats::Counter;

use super::Run;
use crate::time;

const ROUNDS: usize = 5;
const BLOCK: u64 = 2 << 20;
const START: u64 = 0x40_0000_0000;
const PAGES: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
const RW: MapProt = MapProt::READ.union(MapProt::WRITE);

/// An operation on the space; returns the time that it took.
type Operation = fn(&'static Mm, &KArc<AddressSpace>) -> Result<u64, Errno>;

const OPERATIONS: [(&str, Operation); 3] = [("fork", fork), ("munmap", munmap), ("collapse", collapse)];

/// Prints the rows of the operations that were asked for.
pub(super) fn run(mm: &'static Mm, run: &mut Run<'_>) -> Option<()> {
    let asked = run.asked;
    let operations = || OPERATIONS.into_iter().filter(|(name, _)| asked.wants("operation", name));
    run.expect(operations().count());
    let mode = mm.thp.mode();
    mm.thp.set_mode(ThpMode::Always);
    let done = operations().try_for_each(|(name, operation)| {
        run.step(name);
        PAGES.into_iter().try_for_each(|pages| {
            let row = (mm.config.mapcount, name, pages);
            match least(mm, pages, operation) {
                None => return run.fail(format_args!("{pages} pages: memory is out, or has no huge page")),
                Some(Ok(least)) => run.line(format_args!("{}.{}.{} {least} ns", row.0, row.1, row.2)),
                Some(Err(errno)) => {
                    run.line(format_args!("{}.{}.{} -{} errno", row.0, row.1, row.2, errno as i32));
                }
            }
            Some(())
        })
    });
    mm.thp.set_mode(mode);
    done
}

/// The least time of all rounds, or why the operation was refused; `None` where there is nothing to do it to.
fn least(mm: &'static Mm, pages: u64, operation: Operation) -> Option<Result<u64, Errno>> {
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        let space = mm.new_space().ok()?;
        let took = map(mm, &space, pages).map(|()| operation(mm, &space));
        mm.destroy_space(&space);
        match took? {
            Ok(took) => least = least.min(took),
            Err(errno) => return Some(Err(errno)),
        }
    }
    Some(Ok(least))
}

/// Maps the first `pages` pages of a huge page, each by an entry of its own.
fn map(mm: &'static Mm, space: &KArc<AddressSpace>, pages: u64) -> Option<()> {
    let huge = || mm.stats.get(Counter::NrAnonThp);
    let before = huge();
    mm.mmap(space, &MmapRequest::anonymous(BLOCK, RW).fixed(START)).ok()?;
    mm.write_user(space, VirtAddr::new(START), &[1]).ok()?;
    let is_huge = huge() == before + 1;
    mm.mprotect(space, START, PAGE_SIZE, MapProt::READ).ok()?;
    mm.mprotect(space, START, PAGE_SIZE, RW).ok()?;
    if pages * PAGE_SIZE < BLOCK {
        let (from, bytes) = (START + pages * PAGE_SIZE, BLOCK - pages * PAGE_SIZE);
        mm.madvise(space, from, bytes, Advice::DontNeed).ok()?;
    }
    is_huge.then_some(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, u64), E> {
    let began = time::now_ns();
    work().map(|done| (done, time::now_ns() - began))
}

fn fork(mm: &'static Mm, space: &KArc<AddressSpace>) -> Result<u64, Errno> {
    let (child, took) = timed(|| mm.fork_space(space)).map_err(|_| Errno::NoMem)?;
    mm.destroy_space(&child);
    Ok(took)
}

fn munmap(mm: &'static Mm, space: &KArc<AddressSpace>) -> Result<u64, Errno> {
    timed(|| mm.munmap(space, START, BLOCK)).map(|(_, took)| took).map_err(|error| error.errno())
}

fn collapse(mm: &'static Mm, space: &KArc<AddressSpace>) -> Result<u64, Errno> {
    let done = timed(|| mm.madvise(space, START, BLOCK, Advice::Collapse));
    done.map(|(_, took)| took).map_err(|error| error.errno())
}
