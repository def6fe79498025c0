//! mmap, munmap, mremap, mprotect, madvise, mincore, brk, memfd_create, ftruncate: registers to requests, and errors to
//! numbers.
#![forbid(unsafe_code)]

use arch::VirtAddr;
use arch::addr::PAGE_SIZE;
use mm::hugetlb::HugeSize;
use mm::kalloc::KArc;
use mm::space::{Advice, MapFlags, MapProt, MmapRequest, MremapRequest};

use super::{Answer, Errno, user};
use crate::descriptors::{MemoryFile, OpenFile};
use crate::process::Process;
use crate::the_mm;

/// `mmap(addr, length, prot, flags, fd, offset)`.
// Walk B.1: MAP_HUGETLB is a request to the pool of huge pages.
pub(super) fn mmap(process: &Process, args: [u64; 6]) -> Answer {
    let [addr, len, prot, flags, fd, offset] = args;
    let request = MmapRequest::from_raw(addr, len, prot as u32, flags as u32, offset);
    if request.flags.contains(MapFlags::ANONYMOUS) {
        return Ok(the_mm().mmap(process.space(), &request)?.raw());
    }
    let file = process.descriptors.get(fd)?;
    let writes = request.prot.contains(MapProt::WRITE) && !request.flags.contains(MapFlags::PRIVATE);
    if !file.is_readable() || (writes && !file.is_writable()) {
        return Err(Errno::ACCES);
    }
    let mapped = match &*file {
        OpenFile::Memory(memory) => the_mm().mmap_object(process.space(), &request, memory.object()),
        OpenFile::Mappable(device) => device.map(process, &request),
        // As a request for no file at all: ENODEV, unless it is wrong otherwise.
        _ => the_mm().mmap(process.space(), &request),
    };
    Ok(mapped?.raw())
}

const MFD_CLOEXEC: u64 = 1;
const MFD_ALLOW_SEALING: u64 = 2;
const MFD_HUGETLB: u64 = 4;
/// Where the base-2 logarithm of the huge page size stands (MFD_HUGE_SHIFT), six bits; 0: the default size.
const MFD_HUGE_SHIFT: u32 = 26;
const MFD_HUGE_MASK: u64 = 0x3f << MFD_HUGE_SHIFT;
/// Bytes of a name, without the final zero (Linux: `MFD_NAME_MAX_LEN`).
const MFD_NAME_MAX: usize = 249;

/// `memfd_create(name, flags)`: a descriptor of empty memory, the name of which maps shows. There is no exec
/// and no fcntl, so MFD_CLOEXEC and MFD_ALLOW_SEALING change nothing. MFD_HUGETLB with a size: of pages of that pool;
/// a size that no pool has is ENODEV, as on Linux. Other flags are EINVAL.
pub(super) fn memfd_create(process: &Process, name: u64, flags: u64) -> Answer {
    let flags = u64::from(flags as u32);
    let sizes = if flags & MFD_HUGETLB != 0 { MFD_HUGE_MASK } else { 0 };
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | sizes) != 0 {
        return Err(Errno::INVAL);
    }
    let mut bytes = [0; MFD_NAME_MAX + 1];
    let mut length = None;
    for (n, byte) in bytes.iter_mut().enumerate() {
        user::read(name.checked_add(n as u64).ok_or(Errno::FAULT)?, core::slice::from_mut(byte))?;
        if *byte == 0 {
            length = Some(n);
            break;
        }
    }
    let name = &bytes[..length.ok_or(Errno::INVAL)?];
    let huge = match (flags & MFD_HUGETLB != 0, (flags & sizes) >> MFD_HUGE_SHIFT) {
        (false, _) => None,
        (true, 0) => Some(HugeSize::DEFAULT),
        (true, log) => Some(HugeSize::from_log(log as u32).ok_or(Errno::NODEV)?),
    };
    let memory = MemoryFile::new(name, huge).map_err(|_| Errno::NOMEM)?;
    let file = KArc::try_new(OpenFile::Memory(memory)).map_err(|_| Errno::NOMEM)?;
    process.descriptors.add(file)
}

/// `ftruncate(fd, length)`.
pub(super) fn ftruncate(process: &Process, fd: u64, length: u64) -> Answer {
    if length.cast_signed() < 0 {
        return Err(Errno::INVAL);
    }
    let file = process.descriptors.get(fd)?;
    let OpenFile::Memory(memory) = &*file else { return Err(Errno::INVAL) };
    the_mm().truncate_object(memory.object(), length).map_err(|_| Errno::INVAL)?;
    Ok(0)
}

/// `munmap(addr, length)`.
pub(super) fn munmap(process: &Process, addr: u64, len: u64) -> Answer {
    the_mm().munmap(process.space(), addr, len)?;
    Ok(0)
}

/// `mremap(old address, old length, new length, flags, new address)`.
pub(super) fn mremap(process: &Process, args: [u64; 5]) -> Answer {
    let [addr, old_len, new_len, flags, new_addr] = args;
    // Linux takes an unsigned long: a bit above the lower 32 is one that it does not know.
    let flags = u32::try_from(flags).map_err(|_| Errno::INVAL)?;
    let request = MremapRequest::from_raw(addr, old_len, new_len, flags, new_addr);
    Ok(the_mm().mremap(process.space(), &request)?.raw())
}

/// `mprotect(addr, length, prot)`.
pub(super) fn mprotect(process: &Process, addr: u64, len: u64, prot: u64) -> Answer {
    the_mm().mprotect(process.space(), addr, len, MapProt::from_bits_retain(prot as u32))?;
    Ok(0)
}

/// `madvise(addr, length, advice)`.
pub(super) fn madvise(process: &Process, addr: u64, len: u64, advice: u64) -> Answer {
    the_mm().madvise(process.space(), addr, len, Advice::from_raw(advice as i32)?)?;
    Ok(0)
}

/// Pages of which `mincore` tells at a time.
const MINCORE_PAGES: u64 = 512;

/// `mincore(addr, length, vector)`: a byte for each page. What lies before a hole is written before the call fails.
pub(super) fn mincore(process: &Process, addr: u64, len: u64, vector: u64) -> Answer {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::INVAL);
    }
    user::in_user_half(addr, len).map_err(|_| Errno::NOMEM)?;
    let pages = len.div_ceil(PAGE_SIZE);
    user::in_user_half(vector, pages)?;
    let (mut bytes, mut done) = ([0; MINCORE_PAGES as usize], 0);
    while done < pages {
        let part = &mut bytes[..(pages - done).min(MINCORE_PAGES) as usize];
        let told = the_mm().mincore(process.space(), VirtAddr::new(addr + done * PAGE_SIZE), part)?;
        user::write(vector + done, &part[..told])?;
        done += told as u64;
    }
    Ok(0)
}

/// `brk(addr)`: where the heap ends then.
pub(super) fn brk(process: &Process, addr: u64) -> Answer {
    Ok(the_mm().brk(process.space(), addr).raw())
}
