//! Faults on anonymous memory.
#![forbid(unsafe_code)]
use super::{FaultDone, FaultInfo, FaultReason};
use crate::Mm;
use crate::kalloc::KArc;
use crate::space::{AddressSpace, Vma};
pub(super) fn fault(
    _mm: &Mm,
    _space: &KArc<AddressSpace>,
    _vma: &Vma,
    _info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    todo!()
}
