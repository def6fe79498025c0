//! Static ELF executables for aarch64: what a program file asks to have mapped.
//!
//! Everything is checked before anything is mapped, so a file that is refused leaves nothing behind.
#![forbid(unsafe_code)]

use core::fmt;

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use arch::layout::{USER_END, USER_START};
use elf::abi::{EM_AARCH64, ET_EXEC, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::Class;
use elf::{ElfBytes, ParseError};

/// Most loadable segments of a program.
pub const MAX_SEGMENTS: usize = 16;

/// Why a file is not a program that can be run.
#[derive(Debug)]
pub enum ElfError {
    /// The file is not ELF, or its tables are damaged.
    Damaged(ParseError),
    /// Not a 64-bit executable for aarch64 (class, type or machine).
    NotForUs,
    /// It wants a dynamic linker.
    Dynamic,
    /// It has no loadable segment, or more than [`MAX_SEGMENTS`].
    Segments(usize),
    /// A segment leaves the user half, overlaps its neighbour, or is larger in the file than in memory.
    Range(u64),
    /// A segment may be both written and executed.
    WritableText(u64),
    /// The entry point is in no executable segment.
    Entry(u64),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElfError::Damaged(error) => write!(f, "not a sound ELF file: {error}"),
            ElfError::NotForUs => f.write_str("not a 64-bit executable for aarch64"),
            ElfError::Dynamic => f.write_str("needs a dynamic linker; only static programs are run"),
            ElfError::Segments(n) => write!(f, "{n} loadable segments; 1 to {MAX_SEGMENTS} are permitted"),
            ElfError::Range(va) => write!(f, "the segment at {va:#x} has no permitted place"),
            ElfError::WritableText(va) => write!(f, "the segment at {va:#x} is both writable and executable"),
            ElfError::Entry(va) => write!(f, "the entry point {va:#x} is in no executable segment"),
        }
    }
}

/// One loadable segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its first address; need not be page aligned.
    pub va: VirtAddr,
    /// Its bytes in the file.
    pub bytes: &'a [u8],
    /// Its size in memory; what is beyond `bytes` is zero.
    pub size: u64,
    /// PROT_READ, PROT_WRITE and PROT_EXEC as in mmap.
    pub prot: u64,
}

impl Segment<'_> {
    /// The first page that it touches.
    pub fn first_page(&self) -> VirtAddr {
        self.va.align_down(PAGE_SIZE)
    }
    /// One past the last page that it touches.
    pub fn end_page(&self) -> VirtAddr {
        self.va.add(self.size).align_up(PAGE_SIZE)
    }
}

/// A program that may be run.
#[derive(Debug)]
pub struct Program<'a> {
    /// Where it starts.
    pub entry: VirtAddr,
    segments: [Option<Segment<'a>>; MAX_SEGMENTS],
    /// Address of the program headers in memory, their size and number, for the auxiliary vector.
    pub headers: (u64, u64, u64),
}

const PROT_READ: u64 = 1;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;

impl<'a> Program<'a> {
    /// Reads a program file.
    ///
    /// # Errors
    /// [`ElfError`], with the offending value.
    pub fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(ElfError::Damaged)?;
        let header = &elf.ehdr;
        if header.class != Class::ELF64 || header.e_type != ET_EXEC || header.e_machine != EM_AARCH64 {
            return Err(ElfError::NotForUs);
        }
        let table = elf.segments().ok_or(ElfError::Segments(0))?;
        if table.iter().any(|p| p.p_type == PT_INTERP || p.p_type == PT_DYNAMIC) {
            return Err(ElfError::Dynamic);
        }
        let mut segments = [None; MAX_SEGMENTS];
        let mut count = 0;
        let mut lowest_free = USER_START;
        for part in table.iter().filter(|p| p.p_type == PT_LOAD && p.p_memsz > 0) {
            let bytes = match part.p_filesz {
                // Nothing is read of the file, so its offset may lie behind the file's end, as linkers leave it.
                0 => &[],
                _ => elf.segment_data(&part).map_err(ElfError::Damaged)?,
            };
            let segment = Segment {
                va: VirtAddr::new(part.p_vaddr),
                bytes,
                size: part.p_memsz,
                prot: prot_of(part.p_flags),
            };
            check_range(&segment, lowest_free)?;
            lowest_free = segment.end_page();
            *segments.get_mut(count).ok_or(ElfError::Segments(count + 1))? = Some(segment);
            count += 1;
        }
        let entry = VirtAddr::new(header.e_entry);
        let executable =
            |s: &Segment<'_>| s.prot & PROT_EXEC != 0 && (s.va..s.va.add(s.size)).contains(&entry);
        if count == 0 {
            return Err(ElfError::Segments(0));
        }
        if !segments.iter().flatten().any(executable) {
            return Err(ElfError::Entry(header.e_entry));
        }
        let holds_headers = |s: &&Segment<'_>| s.bytes.as_ptr() == file.as_ptr();
        let base = segments.iter().flatten().find(holds_headers).map_or(0, |s| s.va.raw() + header.e_phoff);
        let headers = (base, header.e_phentsize.into(), header.e_phnum.into());
        Ok(Program { entry, segments, headers })
    }

    /// The loadable segments, in rising order of address.
    pub fn segments(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments.iter().flatten()
    }

    /// One past the last page of the last segment: where the heap (brk) begins.
    pub fn end(&self) -> VirtAddr {
        self.segments().map(Segment::end_page).max().unwrap_or(USER_START)
    }
}

fn prot_of(flags: u32) -> u64 {
    let bit = |flag, prot| if flags & flag != 0 { prot } else { 0 };
    bit(PF_R, PROT_READ) | bit(PF_W, PROT_WRITE) | bit(PF_X, PROT_EXEC)
}

fn check_range(segment: &Segment<'_>, lowest_free: VirtAddr) -> Result<(), ElfError> {
    let va = segment.va.raw();
    let last_page = USER_END.raw() - PAGE_SIZE;
    let end = va.checked_add(segment.size).filter(|&end| end <= last_page).ok_or(ElfError::Range(va))?;
    let fits = segment.first_page() >= lowest_free && end > va && segment.bytes.len() as u64 <= segment.size;
    if !fits {
        return Err(ElfError::Range(va));
    }
    if segment.prot & PROT_WRITE != 0 && segment.prot & PROT_EXEC != 0 {
        return Err(ElfError::WritableText(va));
    }
    Ok(())
}
