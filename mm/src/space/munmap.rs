//! munmap.
#![forbid(unsafe_code)]
use super::{AddressSpace, MmapError};
use crate::Mm;
use crate::kalloc::KArc;
impl Mm {
    /// Unmaps `[addr, addr + len)`. May sleep.
    ///
    /// # Errors
    /// [`MmapError`]; nothing has changed.
    pub fn munmap(&self, _space: &KArc<AddressSpace>, _addr: u64, _len: u64) -> Result<(), MmapError> {
        todo!()
    }
}
