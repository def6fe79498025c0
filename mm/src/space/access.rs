//! Reading and writing a space that need not be active.
#![forbid(unsafe_code)]
use super::AddressSpace;
use crate::Mm;
use crate::fault::FaultError;
use crate::kalloc::KArc;
use arch::VirtAddr;
/// A user address that cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserAccessError(pub FaultError);
impl Mm {
    /// Copies `bytes` to `va` with the user's rights, faulting pages in. The space need not be active. May sleep.
    ///
    /// # Errors
    /// The fault that the first bad address took; what is below it has been written.
    pub fn write_user(
        &self,
        _space: &KArc<AddressSpace>,
        _va: VirtAddr,
        _bytes: &[u8],
    ) -> Result<(), UserAccessError> {
        todo!()
    }
    /// Copies from `va` with the user's rights, faulting pages in. The space need not be active. May sleep.
    ///
    /// # Errors
    /// The fault that the first bad address took; what is below it has been read.
    pub fn read_user(
        &self,
        _space: &KArc<AddressSpace>,
        _va: VirtAddr,
        _into: &mut [u8],
    ) -> Result<(), UserAccessError> {
        todo!()
    }
}
