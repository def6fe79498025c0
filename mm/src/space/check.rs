//! Every count against a full scan of the tables.
#![forbid(unsafe_code)]
