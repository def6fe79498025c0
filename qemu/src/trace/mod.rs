//! Traces: a command of the console, with tracepoints on, as a file for ui.perfetto.dev.
//!
//! ```text
//!   session: trace on, the command, trace off, trace dump ──► log      (ends at the first line that is refused)
//!       log ── dump ──► Dump ── tracks ──► one track a CPU ── chrome ──► JSON ── check ──► Found ─┐
//!                        └ what was counted while points were on ──────────────────── table ◄────┘
//! ```
//! What is held against the counters is what was read back from the file.
//!
//! | file | what |
//! |---|---|
//! | [`typed`] | what is typed, and whether the console does it |
//! | [`dump`] | the lines of `trace dump` |
//! | [`tracks`] | what each CPU did: slices cut where their thread left, and gone on with where it went on |
//! | [`chrome`] | the Chrome trace event format |
//! | [`check`] | a file of it: slices begin, nest and end |
//! | [`table`] | the file against the counters |

pub mod check;
pub mod chrome;
pub mod dump;
pub mod table;
pub mod tracks;
pub mod typed;

pub use typed::{Request, complaint, run, said};
