//! The host harness of Quire.
//!
//! `cargo test -p tests` has five parts. `tests/machine` boots the kernel in QEMU and shows each self-test that ran
//! in there, on each machine of the matrix, as one trial; it needs a built kernel (`make test` builds it first).
//! `tests/source` reads the source text; `tests/bad` and `tests/good` are litmus tests on the model. `tests/soak`
//! runs the program `soak` (`src/bin/soak`), which runs the scenarios of `mm::testkit::scenario` for as long as one
//! likes; `src/bin/planted.rs` shows that it finds bugs. What they are made of is here:
//!
//! | room | what it holds |
//! |---|---|
//! | [`ktap`] | what the kernel reports, line by line |
//! | [`matrix`] | the machines on which every self-test runs |
//! | [`strategies`] | the machines on which HVO runs by each strategy |
//! | [`lab`] | roots, tables and the moves of a litmus test |
//! | [`litmus`] | how litmus tests are run and listed |
//! | [`teeth`] | breaks the code on purpose, and looks which test notices |
//! | [`copies`] | copies of the tree, to be built on their own |
//! | [`fleet`] | boots at most two machines at a time, only those that a filter leaves |
#![forbid(unsafe_code, unstable_features)]

pub mod copies;
pub mod fleet;
pub mod ktap;
pub mod lab;
pub mod litmus;
pub mod matrix;
pub mod strategies;
pub mod teeth;
