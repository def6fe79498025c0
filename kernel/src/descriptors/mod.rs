//! What a process has open: a table of descriptors of each process, and the files that they lead to.
//!
//! ```text
//!   descriptor 3 --.                             .- Console
//!                  +--> KArc<OpenFile>, offset --+- a file of `crate::files`
//!   fork's child 3 -'                            |- an end of a pipe
//!                                                |- memory of its own
//!                                                |- a device
//!                                                `- a context that serves page faults
//! ```
//! A fork's child has the same open files, with the same offsets. A file is closed with the last descriptor that leads
//! to it, which wakes who waits at the other end of a pipe.
//!
//! | file | what |
//! |---|---|
//! | `table` | descriptors |
//! | `open_file` | what one leads to: reading, writing, the offset |
//! | `pipe` | pipes |
//! | `memory` | what memfd_create opens |
//! | `dma` | `/dev/quire-dma` |
//! | `mappable` | `/dev/quire-map` |
//! | `userfault` | what userfaultfd opens |
//! | `source` | a thread of the kernel that brings content to it |
#![forbid(unsafe_code)]

pub mod dma;
pub mod mappable;
mod memory;
mod open_file;
mod pipe;
mod source;
mod table;
pub mod userfault;

pub use memory::MemoryFile;
pub use open_file::{Blocking, OpenFile, OpenFor};
pub use pipe::pipe;
pub use table::Descriptors;
