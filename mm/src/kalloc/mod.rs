//! Room 11: memory for small objects, and shared ownership of them.
//!
//! On the machine the global allocator is a [`KernelHeap`]: an early static area until the buddy allocator is
//! up, then a heap of small blocks grown from pages, with large requests served by pages directly.
//!
//! ```text
//!   request --> more than LARGE bytes? --------------------> pages, given back when freed
//!           --> small blocks --(none)--> early area, before the buddy is up
//!                   ^         \--------> a chunk of pages more, else null
//! ```
//! **Guarantee.** Nothing in here panics or aborts when memory is out: [`KernelHeap`] returns null, [`KArc`] and the
//! collections over [`KAlloc`] return an error.
//!
//! | file | what |
//! |---|---|
//! | [`arc`] | [`KArc`]: a reference-counted box whose making can fail |
//! | [`mod@array`] | arrays whose length is known when they are made |
//! | [`fallible`] | [`KAlloc`]: the allocator that `mm`'s collections name |
//! | [`heap`] | [`KernelHeap`] |
//! | `shelf` | small blocks that were freed, kept by size |
//! | `source` | the heap's pages are [`crate::Mm`]'s, at their linear addresses |
//! | [`inject`] | makes a chosen allocation fail, on the host |

pub mod arc;
pub mod array;
pub mod fallible;
pub mod heap;
pub mod inject;
mod shelf;
#[cfg(target_os = "none")]
mod source;
#[cfg(test)]
mod tests;

pub use arc::KArc;
pub use array::try_array;
pub use fallible::KAlloc;
pub use heap::{HeapStats, KernelHeap, PageSource};
