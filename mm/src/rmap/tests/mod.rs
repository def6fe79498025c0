//! The reverse map on the model.

mod entries;
