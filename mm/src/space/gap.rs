//! Where a mapping goes that has no fixed address.
#![forbid(unsafe_code)]
