//! Teeth: does some test fail where the code is broken on purpose?
//!
//! ```text
//!   tests/teeth/mutations/*.toml     what to break, and which test is expected to notice
//!        | list
//!   target/teeth/0, target/teeth/1   copies of the tree, one a worker
//!        | run: the unbroken tests pass; then each mutation: build, run the test, take back
//!   name ... caught by <test>        and at the end: teeth: N mutations, M caught
//! ```
//! A mutation that the expected test misses is given to all tests of `arch` and `mm`. One that does not build, or
//! whose snippet is not there any more, is an error of the list and catches nothing.
//!
//! | file | what |
//! |---|---|
//! | [`list`] | the list, and whether it still fits the code |
//! | [`tree`] | copies of the tree |
//! | [`run`] | the run |
//! | [`table`] | the table in `tests/teeth/README.md` |

pub mod list;
pub mod run;
pub mod table;
pub mod tree;
