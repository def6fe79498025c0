//! Birth and teardown.
#![forbid(unsafe_code)]
use super::AddressSpace;
use crate::Mm;
use crate::error::OutOfMemory;
use crate::kalloc::KArc;
impl Mm {
    /// An empty address space.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new_space(&self) -> Result<KArc<AddressSpace>, OutOfMemory> {
        todo!()
    }
    /// Unmaps everything and frees all tables. No CPU has the space active and nobody will activate it again. May
    /// sleep.
    pub fn destroy_space(&self, _space: &KArc<AddressSpace>) {
        todo!()
    }
}
