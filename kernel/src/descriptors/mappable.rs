//! `/dev/quire-map`: a device whose mmap puts in entries of every kind that [`mm::device::TABLE`] tells of.
//!
//! The offset chooses. A mapping holds the pages from its offset on, and may not go beyond its row:
//!
//! | offset, in pages | in the VMA | pages, in this order |
//! |--:|---|---|
//! | 0 | PFNMAP | a frame outside of RAM; a frame of RAM, by its number; a page of the kernel; a page of vmalloc memory |
//! | 16 | MIXEDMAP | the same |
//!
//! What the table refuses to put in is EINVAL, and so is everything beyond. The frame outside of RAM is the first page
//! of the console's registers, a PL011: it can be told by its identification, at 0xff0. The other two pages are the
//! machine's: they are made at boot and stay for ever, since a VMA may outlive every descriptor. The frame of RAM is
//! that of the page of the kernel.
//!
//! `pread64` shows a page of RAM as the device sees it, at the offset at which it is mapped.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::{Machine, Pfn, PhysMem, VirtAddr};
use mm::Mm;
use mm::device::table::EntryKind;
use mm::device::{Entries, Inserter};
use mm::page::{FolioRef, PageKind, page_of};
use mm::space::{MmapError, MmapRequest};
use spin::Once;

use crate::process::Process;
use crate::syscall::{Errno, user};
use crate::the_mm;

/// Its path.
pub const PATH: &str = "/dev/quire-map";

/// The page at which what is mapped as MIXEDMAP begins.
const MIXED: u64 = 16;
/// The pages of a row.
const ROW: [EntryKind; 4] =
    [EntryKind::OutsideFrame, EntryKind::RamFrame, EntryKind::KernelPage, EntryKind::VmallocPage];

/// What the device maps.
struct Memory {
    /// The first page of the console's registers.
    registers: Pfn,
    page: FolioRef,
    /// The frame behind a page of vmalloc memory.
    vmalloc: Pfn,
}

static MEMORY: Once<Memory> = Once::new();

/// Makes the device's memory, at boot. `registers` is the frame outside of RAM. Where there is no memory, there is no
/// such device.
pub fn make(mm: &Mm, registers: Pfn) {
    let Ok(page) = mm.alloc_zeroed_page(PageKind::Kernel) else { return };
    match mm.alloc_stack(1).map(|va| mm.with_kernel_tree(|tree, _| tree.walk(va).leaf())) {
        Ok(Some(leaf)) => {
            let vmalloc = leaf.desc.output(leaf.level).pfn();
            MEMORY.call_once(|| Memory { registers, page, vmalloc });
        }
        Ok(None) | Err(_) => mm.put_folio(page),
    }
}

/// The opened device.
pub struct MappableFile(());

impl MappableFile {
    /// Opens it. `None`: there is none.
    pub fn open() -> Option<Self> {
        MEMORY.get().map(|_| MappableFile(()))
    }

    /// `mmap` of the device.
    ///
    /// # Errors
    /// [`MmapError`].
    pub fn map(&self, process: &Process, request: &MmapRequest) -> Result<VirtAddr, MmapError> {
        let first = request.offset / PAGE_SIZE;
        let entries = if first < MIXED { Entries::PfnMap } else { Entries::MixedMap };
        the_mm().mmap_device(process.space(), request, entries, |inserter| fill(inserter, first % MIXED))
    }

    /// `pread64`: bytes of one page of RAM.
    ///
    /// # Errors
    /// EINVAL for what is no such page, or would leave it; EFAULT.
    pub(super) fn read_at(&self, offset: u64, buffer: u64, count: u64) -> Result<u64, Errno> {
        let mut bytes = [0; 64];
        let part = bytes.get_mut(..count as usize).ok_or(Errno::INVAL)?;
        let kind = kind_at(offset / PAGE_SIZE % MIXED).filter(|&kind| kind != EntryKind::OutsideFrame);
        let frame = kind.and_then(frame).filter(|_| offset % PAGE_SIZE + count <= PAGE_SIZE);
        Machine::read_bytes(frame.ok_or(Errno::INVAL)?.phys().add(offset % PAGE_SIZE), part);
        user::write(buffer, part)?;
        Ok(count)
    }
}

/// Puts in one entry a page, from the page `first` of a row on.
fn fill(inserter: &mut Inserter<'_>, first: u64) -> Result<(), MmapError> {
    for n in 0..inserter.pages() {
        let kind = kind_at(first + n).ok_or(MmapError::NotInsertable(n))?;
        let frame = frame(kind).ok_or(MmapError::NotInsertable(n))?;
        match kind {
            EntryKind::KernelPage | EntryKind::VmallocPage => inserter.page(n, page_of(frame))?,
            _ => inserter.frame(n, frame)?,
        }
    }
    Ok(())
}

fn kind_at(page: u64) -> Option<EntryKind> {
    ROW.get(usize::try_from(page).ok()?).copied()
}

/// The frame of an entry of this kind.
fn frame(kind: EntryKind) -> Option<Pfn> {
    let memory = MEMORY.get()?;
    Some(match kind {
        EntryKind::OutsideFrame => memory.registers,
        EntryKind::VmallocPage => memory.vmalloc,
        _ => memory.page.pfn(),
    })
}
