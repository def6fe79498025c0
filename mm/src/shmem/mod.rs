//! Room 13: memory that address spaces share.
//!
//! An [`Object`] is a growing set of pages by index, which lives apart from every address space (Linux: the inode and
//! page cache of a shmem file). MAP_SHARED | MAP_ANONYMOUS makes one that has no other name; memfd_create makes one
//! that a descriptor has. A page is made at the first access, by whichever space; all that access the same index see
//! the same page.
//!
//! ```text
//!   space 1: VMA, pgoff 2  --.                             .--> page 2   mapping = tag | number, index = 2
//!   space 5: VMA, pgoff 0  ---+--> object --> tree of pages
//!   descriptor             --'                             `--> page 3   one reference of the object,
//!                                                                        one of each entry, one of each pin
//! ```
//! **Kinds of VMAs.** In a [`VmaKind::Shared`] one an entry has all rights of the VMA. In a [`VmaKind::Private`] one an
//! entry for a page of the object never grants writing: a write puts an anonymous copy in its place, which is the
//! space's own from then on, and is handed on by fork like any anonymous page.
//!
//! **The end.** An access to an index at or beyond the object's size is a SIGBUS, whoever shrank it. The last page is
//! whole: behind the end it has zeros, or what a user has written there, until the object changes its size.
//!
//! **fork** copies no entry of an object's page, in either kind of VMA: the child's faults find the pages in the object.
//! It copies those of private copies, as of all anonymous memory (Linux decides per VMA: `vma_needs_copy`).
//!
//! **munmap, MADV_DONTNEED** take entries away; pages stay in the object. MADV_REMOVE and truncation take pages out of
//! the object and out of all spaces ([`truncate`]).
//!
//! **Order.** M, the objects of a space, I, the VMA set, O, T. An entry for a page of an object is made under O and T.
//!
//! | file | what |
//! |---|---|
//! | `tree` | index to page |
//! | [`object`] | an object, and shares in it |
//! | [`registry`] | all objects by number |
//! | [`attach`] | which spaces map which objects |
//! | [`fault`] | page faults |
//! | [`huge`] | objects of hugetlb pages: promises, page faults |
//! | [`huge_private`] | page faults in private mappings of them |
//! | `deliver` | the content of hugetlb pages, brought by the kernel a piece at a time |
//! | [`truncate`] | size, holes |
//! | [`bytes`] | reading and writing by offset |
//! | [`rmap`] | from a page to the places where it may be mapped |
//! | `check` | every page against the tables, every share counted |
//!
//! [`VmaKind::Shared`]: crate::space::VmaKind::Shared
//! [`VmaKind::Private`]: crate::space::VmaKind::Private
#![forbid(unsafe_code)]

pub mod attach;
pub mod bytes;
mod check;
mod deliver;
pub mod fault;
pub mod huge;
pub mod huge_private;
pub mod object;
pub mod registry;
pub mod rmap;
#[cfg(test)]
mod tests;
mod tree;
pub mod truncate;

pub use attach::SpaceObjects;
pub use bytes::{ReadFailed, WriteError};
pub use deliver::DeliverError;
pub use object::{MOST_BYTES, Object, ObjectId, ObjectUse};
pub use registry::Objects;
pub use truncate::SizeError;
