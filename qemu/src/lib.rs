//! How Quire is started.
//!
//! From the kernel's ELF file and `qemu/machine.conf` to a running machine and its exit status:
//!
//! ```text
//!   machine.conf ─┐                      ELF ─ image ──► Image ─┐
//!   environment ──┴─ config ─► Options   programs ─ initrd ► tar┤
//!                                 └───────── command ───────────┴► argv ─► session ─► log, status
//!                                                                            └ symbols (backtraces)
//! ```
//!
//! | room | what it holds |
//! |---|---|
//! | [`config`] | machine options: the file, the environment, what is a permitted value |
//! | [`artefacts`] | where the build leaves things, and what a boot is made of |
//! | [`image`] | ELF file → flat arm64 `Image` |
//! | [`initrd`] | user programs → tar |
//! | [`command`] | options → QEMU's arguments |
//! | [`session`] | one running machine: send lines, wait for output, collect log and status |
//! | [`child`] | a QEMU that cannot outlive us |
//! | [`symbols`] | function and line for each line of a backtrace |
//! | [`debugger`] | the same machine, halted, with gdb attached |
//! | [`record`] | the same machine recorded, so that gdb can go back |
//! | [`terminal`] | the same machine with a person in front of it |
//! | [`mod@bench`] | what things cost, held against Linux |
//! | [`trace`] | a command with tracepoints on, as a file for ui.perfetto.dev |
//! | [`parts`] | what a page fault is made of |
//! | [`linux`] | Linux itself on the same machine, and both beside each other |
#![forbid(unstable_features)]

pub mod artefacts;
pub mod bench;
pub mod child;
pub mod command;
pub mod config;
pub mod debugger;
pub mod error;
pub mod image;
pub mod initrd;
pub mod linux;
pub mod parts;
pub mod record;
pub mod session;
pub mod symbols;
pub mod terminal;
pub mod trace;

pub use artefacts::{Boot, kernel, root};
pub use config::Options;
pub use error::Error;
pub use record::Recording;
pub use session::{Outcome, Session, Status};
