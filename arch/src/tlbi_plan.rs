//! Which TLBI instructions an invalidation takes; pure, so that it is tested on a host. `aarch64/tlb.rs` issues
//! what is planned here, in its order, for the scope that is asked for.
//!
//! | operation | instruction (broadcast: with `IS`) | operand | removes |
//! |---|---|---|---|
//! | `Va`, `Asid`, `AllLevels` | `VAE1` | ASID, TTL, VA\[55:12\] | every level, that ASID and global |
//! | `Va`, `Asid`, `LeafOnly` | `VALE1` | same | last level, that ASID and global |
//! | `Va`, `AllAsids`, `AllLevels` | `VAAE1` | TTL, VA\[55:12\] | every level, any ASID |
//! | `Va`, `AllAsids`, `LeafOnly` | `VAALE1` | same | last level, any ASID |
//! | `Range`, ditto | `RVAE1` `RVALE1` `RVAAE1` `RVAALE1` | ASID, TG, SCALE, NUM, TTL, VA\[48:12\] | as above, for a range |
//! | `Asid` | `ASIDE1` | ASID | non-global entries of that ASID |
//! | `All` | `VMALLE1` | none | everything of EL1&0 |
//!
//! ```text
//!   Range --- FEAT_TLBIRANGE ---> [odd page by address] + one range operand for each scale in use
//!        \--- without ----------> leaf by leaf, up to MAX_OPS_BY_ADDRESS
//!                            \--> more: the ASID (user's half), or everything
//! ```
//! A TTL hint is given only with FEAT_TTL; without it the bits are RES0.

use crate::addr::{Level, PAGE_SIZE, VirtAddr};
use crate::contract::{Depth, MAX_RANGE_PAGES, Tag, Tlbi};
use crate::features::Features;
use crate::tlbi_operand::{self as operand, MAX_OPS_BY_ADDRESS, Piece, Pieces};

/// A TLBI instruction of EL1&0, without the suffix for its scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Name {
    /// By address, ASID and global entries, all levels.
    Vae1,
    /// By address, ASID and global entries, last level.
    Vale1,
    /// By address, all ASIDs, all levels.
    Vaae1,
    /// By address, all ASIDs, last level.
    Vaale1,
    /// By range, ASID and global entries, all levels.
    Rvae1,
    /// By range, ASID and global entries, last level.
    Rvale1,
    /// By range, all ASIDs, all levels.
    Rvaae1,
    /// By range, all ASIDs, last level.
    Rvaale1,
    /// Non-global entries of one ASID.
    Aside1,
    /// Everything. Its operand is ignored.
    Vmalle1,
}

/// One instruction to issue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Which.
    pub name: Name,
    /// What it is given.
    pub operand: u64,
}

/// The instructions that are still to be issued.
#[derive(Clone, Debug)]
pub struct Plan {
    what: What,
    steps: Steps,
}

/// What all instructions of a plan have in common.
#[derive(Clone, Copy, Debug)]
struct What {
    tag: Tag,
    depth: Depth,
    hint: Option<Level>,
}

#[derive(Clone, Debug)]
enum Steps {
    One(Option<Insn>),
    Leaves { first: VirtAddr, stride: u64, done: u64, count: u64 },
    Pieces(Pieces),
}

/// The instructions that do `op` on a machine with `features`, in order.
#[must_use]
pub fn plan(op: Tlbi, features: &Features) -> Plan {
    let what = |tag, depth, level| What::new(tag, depth, level, features);
    match op {
        Tlbi::Va { va, tag, depth, level } => {
            let what = what(tag, depth, level);
            Plan { what, steps: Steps::One(Some(what.by_address(va))) }
        }
        Tlbi::Range { start, pages, tag, depth, level } => {
            debug_assert!((1..=MAX_RANGE_PAGES).contains(&pages), "a range TLBI of {pages} pages");
            let steps = if features.tlbi_range {
                Steps::Pieces(operand::split(start, pages))
            } else {
                leaf_by_leaf(start, pages, tag, level)
            };
            Plan { what: what(tag, depth, level), steps }
        }
        Tlbi::Asid(asid) => whole(Tag::Asid(asid)),
        Tlbi::All => whole(Tag::AllAsids),
    }
}

/// The one instruction that [`Tlbi::Va`] takes.
#[must_use]
#[inline(always)]
pub fn one(va: VirtAddr, tag: Tag, depth: Depth, level: Option<Level>, features: &Features) -> Insn {
    What::new(tag, depth, level, features).by_address(va)
}

/// One instruction for each leaf that the range touches, or one for everything where those are too many.
fn leaf_by_leaf(start: VirtAddr, pages: u64, tag: Tag, level: Option<Level>) -> Steps {
    let stride = operand::stride(level);
    let first = start.align_down(stride);
    let count = (start.offset_from(first) + pages * PAGE_SIZE).div_ceil(stride);
    match tag {
        _ if count <= MAX_OPS_BY_ADDRESS => Steps::Leaves { first, stride, done: 0, count },
        // No translation of the user's half is global.
        Tag::Asid(_) if start.is_user() => whole(tag).steps,
        Tag::Asid(_) | Tag::AllAsids => whole(Tag::AllAsids).steps,
    }
}

/// Everything with this tag, by one instruction.
fn whole(tag: Tag) -> Plan {
    let insn = match tag {
        Tag::Asid(asid) => Insn { name: Name::Aside1, operand: operand::by_asid(asid) },
        Tag::AllAsids => Insn { name: Name::Vmalle1, operand: 0 },
    };
    Plan { what: What { tag, depth: Depth::AllLevels, hint: None }, steps: Steps::One(Some(insn)) }
}

impl What {
    #[inline(always)]
    fn new(tag: Tag, depth: Depth, level: Option<Level>, features: &Features) -> Self {
        What { tag, depth, hint: level.filter(|_| features.ttl) }
    }

    #[inline(always)]
    fn by_address(self, va: VirtAddr) -> Insn {
        let name = match (self.tag, self.depth) {
            (Tag::Asid(_), Depth::AllLevels) => Name::Vae1,
            (Tag::Asid(_), Depth::LeafOnly) => Name::Vale1,
            (Tag::AllAsids, Depth::AllLevels) => Name::Vaae1,
            (Tag::AllAsids, Depth::LeafOnly) => Name::Vaale1,
        };
        Insn { name, operand: operand::by_address(va, self.tag, self.hint) }
    }

    fn by_piece(self, piece: Piece) -> Insn {
        let Piece::Range { start, scale, num } = piece else { return self.by_address(piece.start()) };
        let name = match (self.tag, self.depth) {
            (Tag::Asid(_), Depth::AllLevels) => Name::Rvae1,
            (Tag::Asid(_), Depth::LeafOnly) => Name::Rvale1,
            (Tag::AllAsids, Depth::AllLevels) => Name::Rvaae1,
            (Tag::AllAsids, Depth::LeafOnly) => Name::Rvaale1,
        };
        Insn { name, operand: operand::by_range(start, scale, num, self.tag, self.hint) }
    }
}

/// Instructions of one name, of which each operand is that of the one before and a step more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The first of them.
    pub first: Insn,
    /// What is added to its operand.
    pub step: u64,
    /// How many there are.
    pub count: u64,
}

impl Plan {
    /// The plan as a row, where it goes leaf by leaf and nothing of it is issued yet. The addresses lie in one half, so
    /// the sum stays in the operand's field for them.
    #[must_use]
    #[inline]
    pub fn row(&self) -> Option<Row> {
        let Steps::Leaves { first, stride, done: 0, count } = self.steps else { return None };
        Some(Row { first: self.what.by_address(first), step: stride / PAGE_SIZE, count })
    }
}

impl Iterator for Plan {
    type Item = Insn;

    fn next(&mut self) -> Option<Insn> {
        match &mut self.steps {
            Steps::One(insn) => insn.take(),
            Steps::Pieces(pieces) => pieces.next().map(|piece| self.what.by_piece(piece)),
            Steps::Leaves { first, stride, done, count } => {
                let va = (done < count).then(|| first.add(*done * *stride))?;
                *done += 1;
                Some(self.what.by_address(va))
            }
        }
    }

    /// One loop for each kind of plan: what all its instructions have in common is worked out once.
    #[inline]
    fn fold<B, F: FnMut(B, Insn) -> B>(self, init: B, mut f: F) -> B {
        let what = self.what;
        match self.steps {
            Steps::One(insn) => insn.into_iter().fold(init, f),
            Steps::Pieces(pieces) => pieces.fold(init, |last, piece| f(last, what.by_piece(piece))),
            Steps::Leaves { first, stride, done, count } => {
                (done..count).fold(init, |last, n| f(last, what.by_address(first.add(n * stride))))
            }
        }
    }
}

#[cfg(test)]
mod tests;
