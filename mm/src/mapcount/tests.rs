//! What every scheme answers.
