//! fork: a second space that begins as a copy of the first, page by page on the first write.
//!
//! ```text
//!   parent   [ rw  A ][ rw  B ][ 2 MiB C ]              child
//!              |        |         |                       (nothing)
//!   after    [ r-  A ][ r-  B ][ r-  C   ]              [ r-  A ][ r-  B ][ r-  C   ]
//!              `------------------------------------------'  the same frames, one reference and one mapping more
//! ```
//! **Guarantee.** The child sees what the parent's memory held at some moment of the call, and neither ever sees what
//! the other writes afterwards: no entry that grants writing maps a private page of which another space has an entry. A
//! call that fails has left no child; entries of the parent that have lost their write permission for it get it back
//! on the next write (room 7).
//!
//! **Protocol.** The parent's mmap lock (M) is held for writing, so neither VMAs change nor do faults come between. The
//! child has its node in the lineage before the first entry is copied, and each step of at most one table is made under
//! the lineage (G): under the parent's page-table lock (T) entries lose their write permission and are copied
//! into a table that nobody can reach; then, under the child's, that table is linked. So whoever visits all that map a
//! page, parents first, meets each entry in the parent, in the child, or in both. One flush of all that
//! the parent's entries granted follows, before M is let go: until then the parent's threads may write, which is
//! before the fork, and the child does not run.
//!
//! | file | what |
//! |---|---|
//! | `call` | the call, and what the child has besides its tables |
//! | `copy` | the tables, a step at a time |
//! | `share` | what the child gets of the parent's entries |
//! | `object` `huge_object` | private copies of objects' pages, of 4 KiB and of hugetlb |
//! | `pinned` | pages that cannot be shared |
//! | `error` | why it failed |
#![forbid(unsafe_code)]

mod call;
mod copy;
mod error;
mod huge_object;
mod object;
mod pinned;
mod share;
#[cfg(test)]
mod tests;

pub use error::ForkError;
