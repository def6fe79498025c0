//! Walks over a range of a live tree.
#![forbid(unsafe_code)]
use super::AddressSpace;
use crate::Mm;
/// What the tables of a space map, in pages of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Anonymous pages, in blocks or not.
    pub anon: u64,
    /// Of these, pages in 2 MiB blocks.
    pub anon_huge: u64,
    /// Pages of hugetlb folios.
    pub hugetlb: u64,
    /// Entries that map the page of zeros.
    pub zero: u64,
    /// Tables, the root too.
    pub tables: u64,
}
impl Usage {
    /// Resident pages, as Linux counts them: everything but hugetlb and the page of zeros.
    #[must_use]
    pub fn resident(&self) -> u64 {
        self.anon
    }
}
impl Mm {
    /// What the tables of `space` map, by a scan. May sleep.
    #[must_use]
    pub fn usage(&self, _space: &AddressSpace) -> Usage {
        todo!()
    }
}
