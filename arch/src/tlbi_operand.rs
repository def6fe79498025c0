//! Operands of the TLBI instructions, computed; pure, so that they are tested on a host. Which
//! instructions an operation takes is decided in [`crate::tlbi_plan`].
//!
//! ```text
//!  63    48 47  44 43                           0
//! | ASID   | TTL  | VA[55:12]                    |   by address (Arm ARM C5.5, TLBI VAE1 and its like)
//!  63    48 47 46 45   44 43 39 38 37 36        0
//! | ASID   | TG   | SCALE| NUM | TTL | VA[48:12] |   by range (TLBI RVAE1 and its like)
//! ```
//! One range operand names (NUM + 1) * 2^(5 * SCALE + 1) pages. A count that no single operand can say is
//! split from the smallest scale up, so every piece begins at a multiple of the pieces before it.

use crate::addr::{Asid, Level, PAGE_SIZE, VirtAddr};
use crate::contract::{MAX_RANGE_PAGES, Tag};

/// The most TLBIs by address that a range is worth; beyond that everything is invalidated instead.
/// One table's worth of entries, as in Linux (MAX_DVM_OPS).
pub const MAX_OPS_BY_ADDRESS: u64 = 512;

/// TG of a range operand: 4K granule.
const TG_4K: u64 = 0b01 << 46;

#[inline]
const fn asid_field(tag: Tag) -> u64 {
    match tag {
        Tag::Asid(asid) => by_asid(asid),
        Tag::AllAsids => 0,
    }
}

/// The operand of TLBI ASIDE1.
#[must_use]
#[inline]
pub const fn by_asid(asid: Asid) -> u64 {
    (asid.raw() as u64) << 48
}

/// The operand of a TLBI by address. TTL is 0b01LL for the 4K granule at level LL, and 0 for no hint;
/// level 0 has no leaves, hence no hint.
#[must_use]
#[inline]
pub const fn by_address(va: VirtAddr, tag: Tag, hint: Option<Level>) -> u64 {
    let ttl = match hint {
        None | Some(Level::L0) => 0,
        Some(level) => 0b0100 | level as u64,
    };
    asid_field(tag) | ttl << 44 | (va.raw() >> 12 & 0xfff_ffff_ffff)
}

/// A part of a range that one instruction can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// One page, by address: the odd page of an odd count.
    Page(VirtAddr),
    /// The pages of one range operand.
    Range {
        /// First address.
        start: VirtAddr,
        /// SCALE, 0..=3.
        scale: u8,
        /// NUM, 0..=31.
        num: u8,
    },
}

impl Piece {
    /// Its first address.
    #[must_use]
    pub const fn start(self) -> VirtAddr {
        match self {
            Piece::Page(start) | Piece::Range { start, .. } => start,
        }
    }
    /// Pages that the piece covers.
    #[must_use]
    pub const fn pages(self) -> u64 {
        match self {
            Piece::Page(_) => 1,
            Piece::Range { scale, num, .. } => (num as u64 + 1) << (5 * scale as u32 + 1),
        }
    }
}

/// The operand of a TLBI by range.
#[must_use]
pub const fn by_range(start: VirtAddr, scale: u8, num: u8, tag: Tag, hint: Option<Level>) -> u64 {
    let ttl = match hint {
        None | Some(Level::L0) => 0,
        Some(level) => level as u64,
    };
    asid_field(tag)
        | TG_4K
        | (scale as u64) << 44
        | (num as u64) << 39
        | ttl << 37
        | (start.raw() >> 12 & 0x1f_ffff_ffff)
}

/// The pieces of a range that are still to come.
#[derive(Clone, Debug)]
pub struct Pieces {
    start: VirtAddr,
    taken: u64,
    left: u64,
}

/// The pieces that cover exactly `pages` pages (1..=[`MAX_RANGE_PAGES`]) from `start`, in ascending order.
#[must_use]
pub fn split(start: VirtAddr, pages: u64) -> Pieces {
    debug_assert!((1..=MAX_RANGE_PAGES).contains(&pages), "a range TLBI of {pages} pages");
    Pieces { start, taken: 0, left: pages }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.left == 0 {
            return None;
        }
        let start = self.start.add(self.taken * PAGE_SIZE);
        let piece = if self.left % 2 == 1 { Piece::Page(start) } else { smallest_range(start, self.left) };
        self.taken += piece.pages();
        self.left -= piece.pages();
        Some(piece)
    }
}

/// The range operand of the smallest scale that has a part in an even count.
fn smallest_range(start: VirtAddr, pages: u64) -> Piece {
    let units = |scale: u8| pages >> (5 * u32::from(scale) + 1);
    let scale = (0..3).find(|&scale| units(scale) & 31 != 0).unwrap_or(3);
    // The last scale takes all that is left: up to 32 units.
    let count = if scale == 3 { units(3) } else { units(scale) & 31 };
    Piece::Range { start, scale, num: count as u8 - 1 }
}

/// Bytes from one TLBI by address to the next in a range whose leaves are all of the hinted level.
#[must_use]
pub const fn stride(hint: Option<Level>) -> u64 {
    match hint {
        None | Some(Level::L0) => PAGE_SIZE,
        Some(level) => level.entry_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: VirtAddr = VirtAddr::new(0xffff_8000_0123_4000);
    const USER: VirtAddr = VirtAddr::new(0x1234_5678_9000);

    /// ASID, hint and page number stand in their fields; an address of the kernel's half keeps bits 55:12.
    #[test]
    fn address_operand() {
        let tag = Tag::Asid(Asid::new(0xabcd));
        assert_eq!(by_address(USER, tag, None), 0xabcd_0001_2345_6789);
        assert_eq!(by_address(USER, tag, Some(Level::L3)), 0xabcd_7001_2345_6789);
        assert_eq!(by_address(USER, tag, Some(Level::L2)), 0xabcd_6001_2345_6789);
        assert_eq!(by_address(KERNEL, Tag::AllAsids, Some(Level::L1)), 0x0000_5ff8_0000_1234);
        assert_eq!(by_address(KERNEL, Tag::AllAsids, Some(Level::L0)), 0x0000_0ff8_0000_1234);
        assert_eq!(by_asid(Asid::new(1)), 1 << 48);
    }

    /// Each field of a range operand has its place.
    #[test]
    fn range_operand() {
        let operand = by_range(USER, 2, 5, Tag::Asid(Asid::new(3)), Some(Level::L2));
        assert_eq!(operand >> 48, 3);
        assert_eq!(operand >> 46 & 3, 1, "TG: 4K");
        assert_eq!(operand >> 44 & 3, 2, "SCALE");
        assert_eq!(operand >> 39 & 31, 5, "NUM");
        assert_eq!(operand >> 37 & 3, 2, "TTL");
        assert_eq!(operand & ((1 << 37) - 1), USER.raw() >> 12);
        let kernel = by_range(KERNEL, 0, 0, Tag::AllAsids, None);
        assert_eq!(kernel & ((1 << 37) - 1), KERNEL.raw() >> 12 & ((1 << 37) - 1));
        assert_eq!(kernel >> 48, 0);
    }

    /// The pieces of any count join up and cover exactly that count, and each fits its fields.
    #[test]
    fn pieces_cover_the_range_exactly() {
        let edges = [MAX_RANGE_PAGES, MAX_RANGE_PAGES - 1, 1 << 16, (1 << 16) - 1, 65_536 + 2048 + 64 + 3];
        for pages in (1..5000).chain(edges) {
            let mut at = KERNEL;
            for piece in split(KERNEL, pages) {
                if let Piece::Range { scale, num, .. } = piece {
                    assert!(scale <= 3 && num <= 31, "{pages} pages: {piece:?}");
                }
                assert_eq!(piece.start(), at, "{pages} pages: {piece:?}");
                at = at.add(piece.pages() * PAGE_SIZE);
            }
            assert_eq!(at.offset_from(KERNEL), pages * PAGE_SIZE);
        }
    }

    /// A range of whole 2M blocks is never cut inside a block: a level-2 hint stays true for each piece.
    #[test]
    fn blocks_are_not_cut() {
        let start = VirtAddr::new(0xffff_8000_0020_0000);
        for blocks in (1..300).chain([MAX_RANGE_PAGES / 512]) {
            for piece in split(start, blocks * 512) {
                let Piece::Range { start, .. } = piece else { panic!("{blocks} blocks: {piece:?}") };
                assert!(start.is_aligned(Level::L2.entry_bytes()), "{blocks} blocks: {piece:?}");
                assert_eq!(piece.pages() % 512, 0, "{blocks} blocks: {piece:?}");
            }
        }
    }

    /// The largest range of the contract is one instruction.
    #[test]
    fn largest_range_is_one_piece() {
        let mut pieces = split(KERNEL, MAX_RANGE_PAGES);
        assert_eq!(pieces.next(), Some(Piece::Range { start: KERNEL, scale: 3, num: 31 }));
        assert_eq!(pieces.next(), None);
    }

    /// Without a hint a range by address goes page by page; with one, leaf by leaf.
    #[test]
    fn stride_follows_the_hint() {
        assert_eq!([stride(None), stride(Some(Level::L3))], [4096; 2]);
        assert_eq!(stride(Some(Level::L2)), 2 << 20);
    }
}
