//! `make bench`: what things cost on Quire, held against what they cost on Linux.
//!
//! ```text
//!   boot with bench=<suite> ──► log ── rows ─┐
//!   tests/peers/linux-arm64.toml ── peers ───┼── report ──► table on standard output
//!   tests/peers/goals.toml ───────── peers ──┘         └──► target/bench/<suite>.json, .log
//! ```
//! Each suite has a boot of its own, so that none finds what another has left. A goal that is missed is a finding and
//! no failure; a suite that does not come to its end is one. A suite that is measured under two boot choices, row
//! against row, fails where a row is off.
//!
//! | file | what |
//! |---|---|
//! | [`suite`] | the suites, and the boot of one |
//! | [`rows`] | what a suite prints → rows |
//! | [`peers`] | the figures of Linux, the machine they were measured on, the goals |
//! | [`report`] | rows and peers → table and JSON |
//! | [`figures`] | the figures that are committed → tables of the pages in `docs` |
//! | [`pairs`] | the same suite under two boot choices: by how much each row differs |
//! | `pivot` | rows `a.b.c` as tables |

pub mod figures;
pub mod pairs;
pub mod peers;
mod pivot;
pub mod report;
pub mod rows;
pub mod suite;
