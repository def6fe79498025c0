//! What the source text must keep, whatever the code does: the tags of the two walks, the fence around `unsafe`,
//! who owns references, the size of files, and a tree that stands alone.
#![forbid(unsafe_code, unstable_features)]

mod owners;
mod rust;
mod size;
mod tree;
mod unsafety;
mod walks;
