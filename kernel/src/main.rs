//! Quire: a kernel whose subject is memory management.
//!
//! | room | what it holds |
//! |---|---|
//! | [`boot`] | from the first Rust instruction to the first thread |
//! | `dt` | what the device tree says |
//! | `cpu` | starting the other CPUs |
//! | `trap` `irq` | exceptions and interrupts, each to who handles it |
//! | `vmemmap` | faults of accesses to struct pages |
//! | [`sched`] | threads |
//! | `stop` | requests of all CPUs |
//! | [`process`] `syscall` `descriptors` `initrd` | programs at EL0 |
//! | `session` `console` `files` `show` | what is done once all runs |
//! | [`selftest`] [`soak`] `settle` `walkers` | tests that run here |
//! | `uart` [`mod@log`] `panic` `power` `crash` | the console, and the end |
//! | `list` | lists in arrays |
//! | `env` `heap` | what memory management needs, and what it gives |
#![no_std]
#![no_main]
#![forbid(unstable_features)]
// A binary exports nothing: `pub` says what a room shows the others.
#![allow(unreachable_pub)]

mod boot;
mod console;
mod cpu;
mod crash;
mod descriptors;
mod dt;
mod env;
mod experiment;
mod files;
mod heap;
mod initrd;
mod irq;
mod list;
mod log;
mod panic;
mod power;
mod process;
mod sched;
mod selftest;
mod session;
mod settle;
mod show;
mod soak;
mod stop;
mod syscall;
mod time;
mod tour;
mod trap;
mod uart;
mod vmemmap;
mod walkers;

pub use boot::the_mm;
