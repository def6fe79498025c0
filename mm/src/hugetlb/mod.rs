//! Room 9: hugetlb. stub (G)
/// state
pub struct Hugetlb;
/// stub (G): one huge page for `va`; HugetlbEmpty where there is none. mmap lock held for reading.
pub fn fault(
    _mm: &crate::Mm,
    _space: &crate::kalloc::KArc<crate::space::AddressSpace>,
    _vma: &crate::space::Vma,
    _va: arch::VirtAddr,
) -> Result<crate::fault::FaultDone, crate::fault::FaultReason> {
    todo!()
}
/// Takes back a hugetlb folio without references.
pub fn free_folio(_mm: &crate::Mm, _head: crate::page::PageRef) {
    todo!()
}
