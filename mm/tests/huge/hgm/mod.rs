//! High-granularity mapping: hugetlb pages that stay one folio, mapped by entries of any smaller size.

mod calls;
mod collapse;
mod entries;
mod failing;
mod site;
