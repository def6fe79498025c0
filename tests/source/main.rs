//! What the source text must keep, whatever the code does: the tags of the two walks, the fence around `unsafe`,
//! who owns references, the size of files, programs that must stay as they were measured, that what can be set is
//! documented, that documented figures are those that were measured, that experiments are
//! listed and done, that the chapters of the book are all there
//! and lead somewhere, and a tree that stands alone.
#![forbid(unsafe_code, unstable_features)]

mod as_measured;
mod book;
mod experiments;
mod figures;
mod owners;
mod peers;
mod points;
mod rust;
mod settings;
mod size;
mod tree;
mod unsafety;
mod walks;
