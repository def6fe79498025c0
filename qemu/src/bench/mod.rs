//! `make bench`: what things cost on Quire, held against what they cost on Linux.
//!
//! ```text
//!   boots with bench=<name> ──► log ── rows ─┐
//!   tests/peers/linux-arm64.toml ── peers ───┼── report ──► table on standard output
//!   tests/peers/goals.toml ───────── peers ──┘   │      └──► target/bench/<name>.json, .csv, .log
//!   the last run, tests/figures ──────────────── moved ────► what has moved
//! ```
//! Each experiment has boots of its own, so that none finds what another has left. A goal that is missed is a finding and
//! no failure; an experiment that does not come to its end is one. One that is measured under two boot choices, row
//! against row, fails where a row is off.
//!
//! | file | what |
//! |---|---|
//! | [`experiment`] | the files of `experiments/`, and what is chosen of them |
//! | [`boots`] | the boots of what is chosen, several at a time |
//! | [`machine`] | what is booted for each, and on which machine |
//! | [`rows`] | what an experiment prints → rows |
//! | [`peers`] | the figures of Linux, the machine they were measured on, the goals |
//! | [`report`] | rows and peers → table, JSON and CSV |
//! | `memory`, `progress` | what the computer has for them; how far each is |
//! | [`figures`] | the figures that are committed → tables of the pages in `docs` |
//! | [`moved`] | by how much figures have moved |
//! | [`commits`] | the commits that figures are of |
//! | [`pairs`] | the same experiment under two boot choices: by how much each row differs |
//! | `pivot` | rows `a.b.c` as tables |

pub mod boots;
pub mod commits;
pub mod experiment;
pub mod figures;
pub mod machine;
mod memory;
pub mod moved;
pub mod pairs;
pub mod peers;
mod pivot;
mod progress;
pub mod report;
pub mod rows;
