//! Which descriptors map a frame: the tables backwards.
//!
//! The linear map is left out: it maps all of RAM for ever.

use super::stale::NumberMap;
use crate::addr::{Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::layout::{LINEAR_BASE, VMEMMAP_BASE};
use crate::pte::Desc;

/// Levels that have leaves.
const LEAF_LEVELS: [Level; 3] = [Level::L3, Level::L2, Level::L1];

/// The leaves of all tables, by what they map. Places of tables that are none any more may be among them.
#[derive(Default)]
pub(super) struct Frames {
    places: NumberMap<u64, Vec<PhysAddr>>,
}

fn key(frame: PhysAddr, level: Level) -> u64 {
    frame.align_down(level.entry_bytes()).raw() | level as u64
}

fn counts(desc: Desc, level: Level, va: VirtAddr) -> bool {
    desc.is_leaf(level) && !(LINEAR_BASE..VMEMMAP_BASE).contains(&va)
}

impl Frames {
    /// `desc` stands in `slot` now, for `va`.
    pub(super) fn add(&mut self, desc: Desc, level: Level, va: VirtAddr, slot: PhysAddr) {
        if counts(desc, level, va) {
            let places = self.places.entry(key(desc.output(level), level)).or_default();
            if !places.contains(&slot) {
                places.push(slot);
            }
        }
    }

    /// `desc` stood in `slot`, for `va`.
    pub(super) fn remove(&mut self, desc: Desc, level: Level, va: VirtAddr, slot: PhysAddr) {
        if !counts(desc, level, va) {
            return;
        }
        let key = key(desc.output(level), level);
        if let Some(places) = self.places.get_mut(&key) {
            places.retain(|&place| place != slot);
            if places.is_empty() {
                self.places.remove(&key);
            }
        }
    }

    /// Where leaves may stand that map any of `bytes` bytes from `at`.
    pub(super) fn mapping(&self, at: PhysAddr, bytes: u64) -> Vec<(PhysAddr, Level)> {
        let mut found = Vec::new();
        if self.places.is_empty() {
            return found;
        }
        for level in LEAF_LEVELS {
            let step = level.entry_bytes().max(PAGE_SIZE);
            let mut frame = at.align_down(step);
            while frame < at.add(bytes) {
                let places = self.places.get(&key(frame, level)).into_iter().flatten();
                found.extend(places.map(|&slot| (slot, level)));
                frame = frame.add(step);
            }
        }
        found
    }
}
