//! The kernel tree. stub (D)
