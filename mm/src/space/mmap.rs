//! mmap.
#![forbid(unsafe_code)]
use super::{AddressSpace, MmapError, MmapRequest};
use crate::Mm;
use crate::kalloc::KArc;
use arch::VirtAddr;
impl Mm {
    /// Maps memory into `space` and returns its first address. May sleep.
    ///
    /// # Errors
    /// [`MmapError`]; nothing has changed.
    pub fn mmap(&self, _space: &KArc<AddressSpace>, _request: &MmapRequest) -> Result<VirtAddr, MmapError> {
        todo!()
    }
}
