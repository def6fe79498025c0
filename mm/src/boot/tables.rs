//! Writes tables that no CPU walks yet, so that neither break-before-make nor locks concern it: the linear map
//! and the image. Once the root is installed, entries are written through [`crate::pgtable::Entry`] only.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::layout::linear;
use arch::pte::{Kind, PteFlags};
use arch::{Desc, Level, Machine, Order, PhysAddr, PhysMem, VirtAddr};

use super::early::{EarlyFrames, Reach};
use super::frames::Frames;
use super::mem::{BootError, ImageSection};
use crate::pgtable::walk::slot;

/// A tree that is being built.
pub(super) struct EarlyTables<'e> {
    root: PhysAddr,
    /// Where frames come from.
    pub(super) early: &'e mut EarlyFrames,
}

/// A linear piece of a mapping: `va`.. translates to `pa`...
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) va: VirtAddr,
    pub(super) pa: PhysAddr,
    /// A multiple of 4096, as both addresses.
    pub(super) bytes: u64,
    pub(super) flags: PteFlags,
}

impl<'e> EarlyTables<'e> {
    /// An empty tree.
    pub(super) fn new(early: &'e mut EarlyFrames) -> Result<Self, BootError> {
        let root = table(early)?;
        Ok(EarlyTables { root, early })
    }

    /// The level-0 table.
    pub(super) fn root(&self) -> PhysAddr {
        self.root
    }

    /// Maps a piece by the largest leaves that its addresses allow.
    pub(super) fn map(&mut self, piece: Piece) -> Result<(), BootError> {
        let mut done = 0;
        while done < piece.bytes {
            let (va, pa) = (piece.va.add(done), piece.pa.add(done));
            let fits = |level: &Level| {
                let size = level.entry_bytes();
                va.is_aligned(size) && pa.is_aligned(size) && piece.bytes - done >= size
            };
            let level = [Level::L1, Level::L2].into_iter().find(fits).unwrap_or(Level::L3);
            self.leaf(va, level, Desc::leaf(pa, level, piece.flags))?;
            done += level.entry_bytes();
        }
        Ok(())
    }

    /// Puts one leaf in place.
    fn leaf(&mut self, va: VirtAddr, level: Level, leaf: Desc) -> Result<(), BootError> {
        let at = slot(self.table_for(va, level)?, level, va);
        if Machine::read_desc(at).is_valid() {
            return Err(BootError::MappedTwice(va));
        }
        Machine::write_desc(at, leaf);
        Ok(())
    }

    /// The table of `level` that translates `va`; made where it is missing.
    pub(super) fn table_for(&mut self, va: VirtAddr, level: Level) -> Result<PhysAddr, BootError> {
        let mut at = self.root;
        for above in Level::ALL.into_iter().take_while(|&above| above < level) {
            let slot = slot(at, above, va);
            let desc = Machine::read_desc(slot);
            at = match desc.kind(above) {
                Kind::Table => desc.output(above),
                Kind::Block | Kind::Page => return Err(BootError::MappedTwice(va)),
                Kind::Invalid => {
                    let table = table(self.early)?;
                    Machine::write_desc(slot, Desc::table(table));
                    table
                }
            };
        }
        Ok(at)
    }

    /// The linear map: all of `ram` read and write, but for what the image makes read-only.
    pub(super) fn map_linear(&mut self, ram: &[Frames], image: &[ImageSection]) -> Result<(), BootError> {
        for bank in ram {
            let end = bank.end.phys();
            let mut at = bank.start.phys();
            while at < end {
                let until = next_edge(at, image).unwrap_or(end).min(end);
                let bytes = until.offset_from(at);
                self.map(Piece { va: linear(at), pa: at, bytes, flags: linear_flags(at, image) })?;
                at = until;
            }
        }
        Ok(())
    }

    /// The image where it is linked.
    pub(super) fn map_image(&mut self, image: &[ImageSection]) -> Result<(), BootError> {
        for &ImageSection { va, pa, bytes, flags } in image {
            self.map(Piece { va, pa, bytes, flags })?;
        }
        Ok(())
    }
}

/// The lowest start or end of a section above `at`.
fn next_edge(at: PhysAddr, image: &[ImageSection]) -> Option<PhysAddr> {
    image.iter().flat_map(|s| [s.range().start, s.range().end]).filter(|&edge| edge > at).min()
}

/// The rights of the linear map at `at`: never executable, and read-only where the image is.
fn linear_flags(at: PhysAddr, image: &[ImageSection]) -> PteFlags {
    let holds = |s: &&ImageSection| (s.range().start..s.range().end).contains(&at);
    match image.iter().find(holds) {
        Some(section) if section.flags.contains(PteFlags::READ_ONLY) => PteFlags::KERNEL_RO,
        _ => PteFlags::KERNEL_RW,
    }
}

/// One zeroed table.
fn table(early: &mut EarlyFrames) -> Result<PhysAddr, BootError> {
    let table = early.take(Order::PAGE, Reach::Mapped, "early page tables")?;
    Machine::zero(table, PAGE_SIZE);
    Ok(table)
}
