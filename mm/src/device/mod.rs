//! Room 14: devices, in software.
//!
//! | file | what |
//! |---|---|
//! | [`dma`] | a device that reads and writes pinned pages when it likes |
#![forbid(unsafe_code)]

pub mod dma;

pub use dma::{Dma, Transfer};
