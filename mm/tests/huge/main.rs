//! hugetlb and HVO on the model.

mod caught;
mod common;
mod demote;
mod fault;
mod poison;
mod pool;
mod promise;
mod remap;
mod replace;
mod shared;
mod sizes;
mod walkers;
