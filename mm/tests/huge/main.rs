//! hugetlb and HVO on the model.

mod boot_sizes;
mod broken;
mod caught;
mod common;
mod demote;
mod dissolve;
mod fault;
mod hgm;
mod matrix;
mod minor;
mod poison;
mod poison_hgm;
mod poison_kit;
mod poison_pool;
mod poison_private;
mod poison_races;
mod pool;
mod private;
mod private_races;
mod promise;
mod remap;
mod remap_sizes;
mod replace;
mod shared;
mod sizes;
mod walkers;
