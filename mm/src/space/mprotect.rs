//! mprotect.
#![forbid(unsafe_code)]
use super::{AddressSpace, MapProt, MmapError};
use crate::Mm;
use crate::kalloc::KArc;
impl Mm {
    /// Changes the rights of `[addr, addr + len)`. May sleep.
    ///
    /// # Errors
    /// [`MmapError`].
    pub fn mprotect(
        &self,
        _space: &KArc<AddressSpace>,
        _addr: u64,
        _len: u64,
        _prot: MapProt,
    ) -> Result<(), MmapError> {
        todo!()
    }
}
