//! Walks of tables.
#![forbid(unsafe_code)]

use core::fmt;

use arch::pte::{Kind, Rights};
use mm::pgtable::{Walk, WalkStep};

use crate::println;

/// Prints a walk, a level a line:
///
/// ```text
///   level   entry at         descriptor
///   L2 PMD  0x41f05008  0x00600000_42000f41  block -> 0x42000000  rw user normal nG AF
/// ```
pub fn walk(walk: &Walk) {
    println!("    level   entry at      descriptor");
    walk.steps().iter().for_each(|step| println!("    {}", Step(step)));
}

/// One descriptor of a walk, in a line.
struct Step<'a>(pub &'a WalkStep);

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WalkStep { level, slot, desc } = *self.0;
        write!(f, "L{level} {}  {:#012x}  {desc}  ", level.name(), slot.raw())?;
        let output = desc.output(level).raw();
        match desc.kind(level) {
            Kind::Invalid => f.write_str("invalid"),
            Kind::Table => write!(f, "table -> {output:#x}"),
            Kind::Block => write!(f, "block -> {output:#x}  {}", Rights(desc.flags(level))),
            Kind::Page => write!(f, "page  -> {output:#x}  {}", Rights(desc.flags(level))),
        }
    }
}
