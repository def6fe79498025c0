//! The reverse map on the model.

mod entries;
mod exhaust;
mod family;
mod gathered;
mod moves;
mod pieces;
mod told;
mod underused;
mod walks;
