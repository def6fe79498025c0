//! mmap, munmap, mremap, mprotect, madvise, brk: registers to requests, and errors to numbers.
#![forbid(unsafe_code)]

use mm::space::{Advice, MapFlags, MapProt, MmapRequest, MremapRequest};

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

/// `brk(addr)`: where the heap ends then.
pub(super) fn brk(process: &Process, addr: u64) -> Answer {
    Ok(the_mm().brk(process.space(), addr).raw())
}
