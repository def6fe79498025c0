//! Room 9: hugetlb. stub (G)
/// state
pub struct Hugetlb;
