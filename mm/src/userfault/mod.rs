//! Room 16: page faults that somebody else serves.
//!
//! A [`Userfault`] is a context of one address space: ranges of shared hugetlb memory are registered with it, and
//! whoever has it is told of *minor* faults there and decides when their pages are mapped. That is how the content of
//! a page arrives after the page is there: it is written through another mapping, or by the kernel, and
//! [`Mm::continue_userfault`](crate::Mm::continue_userfault) then lets the range see it (Linux: userfaultfd,
//! UFFDIO_REGISTER_MODE_MINOR).
//!
//! | in a registered VMA, a fault finds | what it does |
//! |---|---|
//! | a blank entry, and the object has the page | tells the context, and sleeps until it is continued or woken |
//! | a blank entry, and the object has no page | is resolved as elsewhere: the page is made and mapped |
//! | anything else | the same |
//!
//! ```text
//!   fault:   M, F -> blank? -> queue --> F, M let go -> sleeps .................. -> is tried again
//!                                |                                         ^
//!   server:                      `--> next_fault ... writes ... continue: M, F, entry made; then wake
//! ```
//! **Guarantee.** Nobody sleeps for ever for want of a wake-up: from the look at the entry until it is in the queue a
//! fault holds M for reading and F for its page; who makes the entry holds F, or M for writing, and who takes the
//! registration away holds M for writing; either looks at the queue afterwards. Unregistering,
//! munmap, mremap, the end of the context and that of the space wake all that sleep there; a thread whose process is to
//! end leaves by itself.
//!
//! **What is registered** is said by the VMA ([`crate::space::Vma`]). mprotect and madvise keep it; what mremap makes
//! elsewhere is not registered, and neither is any VMA of a child of fork. The child may have the context, and serve
//! its parent.
//!
//! **Addresses.** A fault is told at the page of the VMA's grain: 4 KiB where MADV_SPLIT has allowed that, else the
//! hugetlb page.
//!
//! **Order.** M, then the contexts of a space or the queue of one; no lock is taken under either.
//!
//! | file | what |
//! |---|---|
//! | `queue` | faults that wait |
//! | `context` | one context: its queue, who waits for what |
//! | `table` | the contexts of a space |
//! | `minor` | the fault's side |
//! | `calls` | the server's side: register, unregister, wake, continue |
//! | `error` | why a call failed |
//! | `check` | registrations against contexts |
#![forbid(unsafe_code)]

mod calls;
mod check;
mod context;
mod error;
mod minor;
mod queue;
mod table;

pub use calls::Wake;
pub use context::{Serves, Userfault};
pub use error::UserfaultError;
pub use minor::{Ticket, grain};
pub(crate) use minor::{tell, wait};
pub use queue::Minor;
pub use table::{SpaceUserfaults, UserfaultId};
