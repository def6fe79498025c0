//! What goes on beside a soak: memory that faults, is forked and written, hugetlb pages that are used, and an allocator
//! that has less and less, to nothing, and all of it again.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arch::addr::PAGE_SIZE;
use arch::{Order, VirtAddr};
use arrayvec::ArrayVec;
use mm::Mm;
use mm::kalloc::KArc;
use mm::page::{FolioList, PageKind};
use mm::space::{AddressSpace, MapFlags, MapProt, MmapRequest};

use super::Random;
use crate::sched::{self, SpawnError, ThreadId};

static END: AtomicBool = AtomicBool::new(false);
static BEGUN: AtomicU64 = AtomicU64::new(0);
/// Pages that were written, and writes that found no memory.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Times that memory was used up.
static USED_UP: AtomicU64 = AtomicU64::new(0);

/// The threads, which end when this is dropped.
pub(super) struct Load {
    threads: ArrayVec<ThreadId, 4>,
}

/// What the load has come to.
pub(super) struct Done {
    /// Pages written, of spaces and of hugetlb.
    pub written: u64,
    /// Writes for which there was no memory.
    pub refused: u64,
    /// Times that an allocation of one page failed.
    pub used_up: u64,
}

impl Load {
    /// Starts two threads that fault, and one that allocates.
    pub(super) fn start() -> Result<Load, SpawnError> {
        END.store(false, Ordering::Release);
        [&WRITTEN, &REFUSED, &USED_UP].iter().for_each(|number| number.store(0, Ordering::Relaxed));
        let mut load = Load { threads: ArrayVec::new() };
        for body in [fault, fault, allocate] {
            load.threads.push(sched::spawn("load", body)?);
        }
        Ok(load)
    }

    pub(super) fn done(&self) -> Done {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Done { written: read(&WRITTEN), refused: read(&REFUSED), used_up: read(&USED_UP) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        END.store(true, Ordering::Release);
        self.threads.iter().for_each(|&id| sched::join(id));
    }
}

fn ends() -> bool {
    END.load(Ordering::Relaxed)
}

/// Pages of a space that faults.
const PAGES: u64 = 600;

/// Address spaces that are written, forked, written again in the child, and ended; and some huge pages.
fn fault(mm: &'static Mm) {
    let mut random = Random(0xfa17 + BEGUN.fetch_add(1, Ordering::Relaxed));
    while !ends() {
        let Ok(parent) = mm.new_space() else {
            sched::yield_now();
            continue;
        };
        let rw = MapProt::READ | MapProt::WRITE;
        let small = MmapRequest::anonymous(PAGES * PAGE_SIZE, rw);
        let huge = MmapRequest::anonymous(Order::PMD.bytes(), rw).with(MapFlags::HUGETLB);
        let (small, huge) = (mm.mmap(&parent, &small), mm.mmap(&parent, &huge));
        if let Ok(start) = small {
            write(mm, &parent, start, &mut random);
            if let Ok(child) = mm.fork_space(&parent) {
                write(mm, &child, start, &mut random);
                mm.destroy_space(&child);
            }
        }
        if let Ok(start) = huge {
            tell(mm.write_user(&parent, start, &[1]).is_ok());
        }
        mm.destroy_space(&parent);
    }
}

/// Writes to some pages.
fn write(mm: &Mm, space: &KArc<AddressSpace>, start: VirtAddr, random: &mut Random) {
    for _ in 0..100 {
        tell(mm.write_user(space, start.add(random.below(PAGES) * PAGE_SIZE), &[1]).is_ok());
    }
}

fn tell(written: bool) {
    let number = if written { &WRITTEN } else { &REFUSED };
    number.fetch_add(1, Ordering::Relaxed);
}

/// Takes blocks, now and then until there is nothing, and gives all back.
fn allocate(mm: &'static Mm) {
    let mut random = Random(0xa110c);
    while !ends() {
        let mut held = FolioList::new();
        let to_the_end = random.below(4) == 0;
        let mut most = random.below(mm.free_page_count().max(1));
        while !ends() && (to_the_end || most > 0) {
            let order = Order::new(random.below(10) as u8);
            let got = mm
                .alloc_pages(order, PageKind::Kernel)
                .or_else(|_| mm.alloc_pages(Order::PAGE, PageKind::Kernel));
            let Ok(block) = got else {
                USED_UP.fetch_add(1, Ordering::Relaxed);
                break;
            };
            most = most.saturating_sub(block.order().pages());
            held.push(block);
        }
        sched::sleep_ns(random.below(20) * 1_000_000);
        while let Some(block) = held.pop() {
            let order = block.order();
            mm.free_pages(block, order);
        }
        sched::sleep_ns(random.below(50) * 1_000_000);
    }
}
