//! The reverse map on the model.

mod entries;
mod family;
mod moves;
mod walks;
