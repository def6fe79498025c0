//! hugetlb and HVO on the model.

mod caught;
mod common;
mod remap;
mod walkers;
