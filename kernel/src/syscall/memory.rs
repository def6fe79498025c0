//! mmap, munmap, mprotect, madvise, brk: registers to requests, and errors to numbers.
#![forbid(unsafe_code)]

use mm::space::{Advice, MapFlags, MapProt, MmapRequest};

use super::{Answer, Errno};
use crate::process::Process;
use crate::the_mm;

/// `mmap(addr, length, prot, flags, fd, offset)`.
// Walk B.1: MAP_HUGETLB is a request to the pool of huge pages.
pub(super) fn mmap(process: &Process, args: [u64; 6]) -> Answer {
    let [addr, len, prot, flags, _fd, offset] = args;
    let request = MmapRequest::from_raw(addr, len, prot as u32, flags as u32, offset);
    if !request.flags.contains(MapFlags::ANONYMOUS) {
        // No file can be open that could be mapped.
        return Err(Errno::BADF);
    }
    Ok(the_mm().mmap(process.space(), &request)?.raw())
}

/// `munmap(addr, length)`.
pub(super) fn munmap(process: &Process, addr: u64, len: u64) -> Answer {
    the_mm().munmap(process.space(), addr, len)?;
    Ok(0)
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

/// `brk(addr)`: where the heap ends then.
pub(super) fn brk(process: &Process, addr: u64) -> Answer {
    Ok(the_mm().brk(process.space(), addr).raw())
}
