//! hugetlb and HVO on the model.

mod caught;
mod common;
mod demote;
mod fault;
mod pool;
mod private;
mod private_races;
mod promise;
mod remap;
mod replace;
mod shared;
mod sizes;
mod walkers;
