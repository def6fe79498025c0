//! `make report`: the figures of Quire as one page of plots, for people who would rather look than read.
//!
//! ```text
//!   target/bench/*.json ──┐                       ┌─ plots ─ canvas (plotters) ─► SVG, for two windows
//!   tests/figures/*.json ─┴─ store ─► figures ────┤
//!                                                 └─ page ──► target/report/index.html
//!   target/report/index.html ── browser (chromium, without a window) ──► findings, pictures of the page
//! ```
//! The page is one file and needs nothing else: no network, no script, no font. It follows the reader's light or dark
//! scheme, and has each picture a second time for a phone. Every figure on it comes from the store, those in sentences
//! too; where figures are missing, a box says what is to be measured.
//!
//! | file | what |
//! |---|---|
//! | [`store`] | where figures come from, and whence they are |
//! | [`plots`] | one file a plot |
//! | [`axis`], [`canvas`], [`palette`] | axes and curves; a picture; colours that follow the page |
//! | [`words`] | figures and names as they are written |
//! | [`page`] | the page |
//! | [`browser`] | opens the page as a reader does, and says what is wrong with it |
#![forbid(unsafe_code, unstable_features)]

pub mod axis;
pub mod browser;
pub mod canvas;
pub mod error;
pub mod page;
pub mod palette;
pub mod plots;
pub mod store;
pub mod words;
