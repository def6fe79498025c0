//! Known flaws.
