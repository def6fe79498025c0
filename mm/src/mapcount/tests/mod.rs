//! Every scheme against the truth of the tables, and the flaws that are known.

mod conformance;
mod contract;
mod flaws;
