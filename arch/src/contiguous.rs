//! The contiguous bit, which is about 16 descriptors at a time (Arm ARM D8.7.1, 4K granule).
//!
//! Sixteen neighbouring leaves with the bit set promise to be one: a TLB may hold the whole group as a single
//! translation, made from any member. So what must hold is asked of the group:
//!
//! ```text
//!  index  16 n      16 n + 1            16 n + 15
//!        | base   | base + 1 leaf | ... | base + 15 leaves |   base a multiple of 16 leaves,
//!        | same memory type, shareability, rights, nG, nT  |   AF and dirty state each its own
//! ```
//! A group that breaks its promise is *misprogrammed*: an access may give a conflict abort, at BBM 0 also a
//! translation that no member describes; at BBM 1 and up that of one member (R_NGLXZ). Each member is a
//! descriptor of its own otherwise: [`crate::bbm`] says what replacing it needs.
//!
//! A member that is invalid promises nothing and is not refused. But as long as a valid one has the bit, its
//! address may be translated through that one, so a group that is broken is broken and flushed as a whole:
//! [`group_bytes`].

use core::fmt;
use core::ops::Range;

use crate::addr::{Level, PhysAddr};
use crate::pte::{Desc, Kind, PteFlags};

/// Members of a group: 64 KiB of pages, 32 MiB of level-2 blocks, 16 GiB of level-1 blocks.
pub const CONT_ENTRIES: usize = 16;

/// The indices, in their table, of the group that the descriptor at `index` belongs to.
#[must_use]
#[inline]
pub const fn group_of(index: usize) -> Range<usize> {
    let first = index - index % CONT_ENTRIES;
    first..first + CONT_ENTRIES
}

/// Bytes that a group of `level` translates.
#[must_use]
#[inline]
pub const fn group_bytes(level: Level) -> u64 {
    CONT_ENTRIES as u64 * level.entry_bytes()
}

impl Desc {
    /// Whether this is a leaf, at whatever level, that has the contiguous bit. A table has none.
    #[must_use]
    #[inline]
    pub const fn is_contiguous(self) -> bool {
        self.raw() & CONTIGUOUS_LEAF == CONTIGUOUS_LEAF
    }
    /// The same leaf as one of a contiguous group.
    #[must_use]
    #[inline]
    pub const fn in_group(self) -> Self {
        Desc::from_raw(self.raw() | PteFlags::CONTIGUOUS.bits())
    }
    /// The same leaf by itself: without the contiguous bit.
    #[must_use]
    #[inline]
    pub const fn alone(self) -> Self {
        Desc::from_raw(self.raw() & !PteFlags::CONTIGUOUS.bits())
    }
}

/// What a valid leaf with the contiguous bit has.
const CONTIGUOUS_LEAF: u64 = PteFlags::CONTIGUOUS.bits() | PteFlags::VALID.bits();

/// How a member differs from what the group promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Misfit {
    /// The member is a table.
    Table,
    /// The member is a leaf without the contiguous bit.
    BitClear,
    /// The member's output address is not the one that follows from the other member's.
    Output {
        /// What the member has.
        has: PhysAddr,
        /// What follows from the other member.
        wants: PhysAddr,
    },
    /// The group's first output address is no multiple of the group's size.
    Alignment(PhysAddr),
    /// These attributes differ.
    Attributes(PteFlags),
    /// Bits without a name differ.
    Bits(u64),
}

/// A misprogrammed group: the first member that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misprogrammed {
    /// The member that has the contiguous bit, by its place in the group, 0..16.
    pub member: usize,
    /// The member that does not fit to it, 0..16.
    pub other: usize,
    /// In what.
    pub misfit: Misfit,
}

/// Output address bits of any descriptor, nT of a block among them.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
/// Bits that the members have each for themselves: type, AF, and software's.
const OWN: u64 = 0b11 | PteFlags::ACCESSED.bits() | 0xf << 55;

/// Whether `descs`, the 16 descriptors of one group of a table of `level`, keep the promise of the contiguous bit.
/// A group in which no leaf has the bit promises nothing.
///
/// # Errors
/// [`Misprogrammed`]: the first member that does not fit, and how.
pub fn check_group(descs: &[Desc; CONT_ENTRIES], level: Level) -> Result<(), Misprogrammed> {
    let has_bit = |desc: &Desc| desc.is_leaf(level) && desc.flags(level).contains(PteFlags::CONTIGUOUS);
    let Some(member) = descs.iter().position(has_bit) else { return Ok(()) };
    let output = descs[member].output(level).raw();
    // Below zero where the member lies lower in memory than in the group: then it is not aligned either.
    let base = output.wrapping_sub(member as u64 * level.entry_bytes());
    if !base.is_multiple_of(group_bytes(level)) {
        let misfit = Misfit::Alignment(PhysAddr::new(output));
        return Err(Misprogrammed { member, other: member, misfit });
    }
    for (other, desc) in descs.iter().enumerate() {
        let wants = PhysAddr::new(base.wrapping_add(other as u64 * level.entry_bytes()));
        if let Some(misfit) = misfit(descs[member], *desc, wants, level) {
            return Err(Misprogrammed { member, other, misfit });
        }
    }
    Ok(())
}

/// How `other` fails to be the member at `wants` of the group that `member` belongs to.
fn misfit(member: Desc, other: Desc, wants: PhysAddr, level: Level) -> Option<Misfit> {
    match other.kind(level) {
        Kind::Invalid => return None,
        Kind::Table => return Some(Misfit::Table),
        Kind::Block | Kind::Page => {}
    }
    let has = other.output(level);
    let (of_member, of_other) = (member.flags(level), other.flags(level));
    let changed = of_member.symmetric_difference(of_other).difference(PteFlags::from_bits_retain(OWN));
    let unnamed = (member.raw() ^ other.raw()) & !(ADDRESS | OWN | PteFlags::all().bits());
    match () {
        () if !of_other.contains(PteFlags::CONTIGUOUS) => Some(Misfit::BitClear),
        () if has != wants => Some(Misfit::Output { has, wants }),
        () if !changed.difference(dirty_state(of_member & of_other)).is_empty() => {
            Some(Misfit::Attributes(changed))
        }
        () if unnamed != 0 => Some(Misfit::Bits(unnamed)),
        () => None,
    }
}

/// The bits that hold dirty state where all members have `common`: AP\[2\], if each has DBM.
fn dirty_state(common: PteFlags) -> PteFlags {
    if common.contains(PteFlags::DBM) { PteFlags::READ_ONLY } else { PteFlags::empty() }
}

impl fmt::Display for Misprogrammed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Misprogrammed { member, other, misfit } = self;
        match misfit {
            Misfit::Table => write!(f, "entry {other} of the contiguous group of entry {member} is a table"),
            Misfit::BitClear => write!(f, "entry {member} has the contiguous bit, entry {other} has not"),
            Misfit::Output { has, wants } => write!(
                f,
                "entry {other} maps {has}, but the contiguous bit of entry {member} promises {wants}"
            ),
            Misfit::Alignment(pa) => write!(
                f,
                "entry {member} has the contiguous bit and maps {pa}, which is not its place in a group of 16"
            ),
            Misfit::Attributes(flags) => {
                write!(f, "entry {other} differs from entry {member} of its contiguous group in ")?;
                bitflags::parser::to_writer(flags, f)
            }
            Misfit::Bits(bits) => {
                write!(
                    f,
                    "entry {other} differs from entry {member} of its contiguous group in bits {bits:#x}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests;
