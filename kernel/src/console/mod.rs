//! The console: a prompt on the UART, one command a line.
//!
//! Bytes go from the UART to the line editor (`embedded-cli`: editing, history, completion), a finished line to the
//! table of commands. It works the same over a pipe: nothing waits for a terminal to answer. What a command
//! cannot do it says in a sentence; the session goes on.
//!
//! | file | what |
//! |---|---|
//! | `line` | from bytes to the words of a line |
//! | `words` | the words, and numbers among them |
//! | `commands` | the table, and `help` |
//! | `inspect` | `pt`, `page`, `vmemmap` |
//! | `memory` | `hugetlb`, `hvo`, `cat`, `echo`, `ls` and the files with commands of their own |
//! | `moving` | `rmap`, `migrate`, `split`, `compact`, `contig` |
//! | `trace` | tracepoints |
//! | `machine` | `ps`, `run`, `uptime`, `features`, `config`, `poweroff` |
#![forbid(unsafe_code)]
// A complaint is kept by value: there may be no memory.
#![allow(clippy::result_large_err, clippy::large_enum_variant)]

mod commands;
mod inspect;
mod line;
mod machine;
mod memory;
mod moving;
mod trace;
mod words;

pub use line::run;
