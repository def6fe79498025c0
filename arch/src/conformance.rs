//! Checks of the contract that run on machine and model alike.
