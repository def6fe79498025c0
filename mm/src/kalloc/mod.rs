//! Room 11: kernel heap, fallible shared ownership. stub (D)
mod arc;
pub use arc::KArc;
