//! hugetlb and HVO on the model.

mod caught;
mod common;
mod demote;
mod fault;
mod hgm;
mod minor;
mod pool;
mod private;
mod promise;
mod remap;
mod replace;
mod shared;
mod sizes;
mod walkers;
