//! brk.
#![forbid(unsafe_code)]
use super::AddressSpace;
use crate::Mm;
use crate::kalloc::KArc;
use arch::VirtAddr;
impl Mm {
    /// Where the heap of a new program begins: set once, after its image is mapped.
    pub fn set_brk_start(&self, _space: &KArc<AddressSpace>, _start: VirtAddr) {
        todo!()
    }
    /// Moves the end of the heap to `addr` where that can be done, and returns where it is then (Linux: brk never
    /// fails). May sleep.
    pub fn brk(&self, _space: &KArc<AddressSpace>, _addr: u64) -> VirtAddr {
        todo!()
    }
}
