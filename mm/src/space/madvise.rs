//! madvise.
#![forbid(unsafe_code)]
use super::{AddressSpace, Advice, MmapError};
use crate::Mm;
use crate::kalloc::KArc;
impl Mm {
    /// Takes advice for `[addr, addr + len)`. May sleep.
    ///
    /// # Errors
    /// [`MmapError`].
    pub fn madvise(
        &self,
        _space: &KArc<AddressSpace>,
        _addr: u64,
        _len: u64,
        _advice: Advice,
    ) -> Result<(), MmapError> {
        todo!()
    }
}
