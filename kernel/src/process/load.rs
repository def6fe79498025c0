//! An address space with a program in it.
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;
use arch::layout::USER_END;
use arrayvec::ArrayString;
use mm::Mm;
use mm::fault::FaultError;
use mm::kalloc::KArc;
use mm::space::{AddressSpace, Advice, MapFlags, MapProt, MmapError, MmapRequest};

use super::elf::{ElfError, Program, Segment};
use super::stack::{self, StackError};
use crate::initrd;
use crate::sched::SpawnError;

/// Bytes with which the stack of a program begins, as on Linux (`setup_arg_pages`). It grows on faults.
pub(super) const STACK_BYTES: u64 = 128 << 10;
/// One past the stack. The page above stays unmapped.
pub(super) const STACK_TOP: VirtAddr = VirtAddr::new(USER_END.raw() - 0x1000);
/// An address of the stack that every program begins with: in its highest page.
pub const FIRST_STACK: VirtAddr = VirtAddr::new(STACK_TOP.raw() - 1);

/// Why a program could not be started.
#[derive(Debug)]
pub enum RunError {
    /// The initrd has no such file.
    NotFound,
    /// The file is not a program that can be run.
    Elf(ElfError),
    /// A part of it could not be mapped.
    Map(MmapError),
    /// A part of it could not be copied.
    Copy(FaultError),
    /// The arguments do not fit.
    Arguments(StackError),
    /// There was no memory.
    OutOfMemory,
    /// There was no thread.
    Spawn(SpawnError),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::NotFound => f.write_str("no such program in the initrd; `run` alone lists them"),
            RunError::Elf(error) => error.fmt(f),
            RunError::Map(error) => write!(f, "mapping the program: {error}"),
            RunError::Copy(error) => write!(f, "copying the program: {error}"),
            RunError::Arguments(error) => error.fmt(f),
            RunError::OutOfMemory => f.write_str("out of memory"),
            RunError::Spawn(error) => error.fmt(f),
        }
    }
}

/// A program in its address space.
pub(super) struct Image {
    pub(super) space: KArc<AddressSpace>,
    pub(super) entry: VirtAddr,
    pub(super) stack: VirtAddr,
}

/// Makes an address space and puts a program of the initrd into it.
pub(super) fn load(mm: &Mm, name: &str, args: &[&str]) -> Result<Image, RunError> {
    let file = initrd::find(name).ok_or(RunError::NotFound)?;
    let program = Program::parse(file).map_err(RunError::Elf)?;
    let space = mm.new_space().map_err(|_| RunError::OutOfMemory)?;
    match fill(mm, &space, &program, args) {
        Ok(stack) => Ok(Image { space, entry: program.entry, stack }),
        Err(error) => {
            mm.destroy_space(&space);
            Err(error)
        }
    }
}

fn fill(
    mm: &Mm,
    space: &KArc<AddressSpace>,
    program: &Program<'_>,
    args: &[&str],
) -> Result<VirtAddr, RunError> {
    program.segments().try_for_each(|segment| map_segment(mm, space, segment))?;
    mm.set_brk_start(space, program.end());
    let bottom = STACK_TOP.raw() - STACK_BYTES;
    let request = MmapRequest::anonymous(STACK_BYTES, MapProt::READ | MapProt::WRITE)
        .fixed(bottom)
        .with(MapFlags::STACK | MapFlags::GROWSDOWN | MapFlags::NORESERVE);
    mm.mmap(space, &request).map_err(RunError::Map)?;
    // A stack is touched at one end, a page at a time: no huge page would pay.
    mm.madvise(space, bottom, STACK_BYTES, Advice::NoHugePage).map_err(RunError::Map)?;
    let image = stack::build(STACK_TOP, program, args).map_err(RunError::Arguments)?;
    mm.write_user(space, image.pointer, image.bytes()).map_err(RunError::Copy)?;
    Ok(image.pointer)
}

/// Maps a segment for writing, fills it, and then gives it its own rights.
fn map_segment(mm: &Mm, space: &KArc<AddressSpace>, segment: &Segment<'_>) -> Result<(), RunError> {
    let start = segment.first_page();
    let bytes = segment.end_page().offset_from(start);
    let request = MmapRequest::anonymous(bytes, MapProt::READ | MapProt::WRITE).fixed(start.raw());
    mm.mmap(space, &request).map_err(RunError::Map)?;
    mm.write_user(space, segment.va, segment.bytes).map_err(RunError::Copy)?;
    let prot = MapProt::from_bits_retain(segment.prot as u32);
    mm.mprotect(space, start.raw(), bytes, prot).map_err(RunError::Map)
}

/// The last part of a path, cut to what `ps` shows.
pub(super) fn short_name(path: &str) -> ArrayString<32> {
    let mut name = ArrayString::new();
    let last = path.rsplit('/').next().unwrap_or(path);
    last.chars().take_while(|&c| name.try_push(c).is_ok()).for_each(drop);
    name
}
