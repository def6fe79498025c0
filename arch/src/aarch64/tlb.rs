//! Every TLBI instruction of this kernel.
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
//! # Shareability and barriers (Arm ARM D8.14.5, D8.14.6)
//! | scope | reaches | before | after |
//! |---|---|---|---|
//! | `Broadcast` | inner shareable domain | `DSB ISHST`: the walkers see the stores that this follows | `DSB ISH`: complete on every CPU |
//! | `Local` | this CPU | `DSB NSHST` or wider | `DSB NSH`: complete on this CPU |
//!
//! Neither barrier is issued here: a gather pays for one pair, however many TLBIs stand between. An ISB
//! follows the last DSB where this CPU must not go on with what it has already fetched.
//!
//! A TTL hint is given only with FEAT_TTL (without it the bits are RES0), a range instruction used only with
//! FEAT_TLBIRANGE; otherwise a range goes leaf by leaf up to [`MAX_OPS_BY_ADDRESS`] and beyond that as a whole.

use core::arch::asm;

use super::Machine;
use crate::addr::{Asid, Level, PAGE_SIZE, VirtAddr};
use crate::contract::{Depth, FlushScope, Mmu, Tag, Tlbi};
use crate::tlbi_operand::{self as operand, MAX_OPS_BY_ADDRESS, Piece};

/// `TLBI VMALLE1` with the barriers that make it complete on this CPU, as text for the assembly that turns
/// translation on and that replaces TTBR1.
macro_rules! flush_this_cpu {
    () => {
        "dsb nshst\n tlbi vmalle1\n dsb nsh\n isb\n"
    };
}
pub(super) use flush_this_cpu;

/// One TLBI instruction, `$scope` being "is" or "".
macro_rules! tlbi {
    ($name:literal, $scope:literal, $operand:expr) => {
        // SAFETY: invalidating a translation changes no memory; the next use walks the tables again.
        unsafe {
            asm!(
                ".arch_extension tlb-rmi",
                concat!("tlbi ", $name, $scope, ", {}"),
                in(reg) $operand,
                options(nostack, preserves_flags)
            )
        }
    };
}

/// A TLBI with an operand, for the scope that is asked for.
macro_rules! scoped {
    ($scope:expr, $name:literal, $operand:expr) => {
        match $scope {
            FlushScope::Broadcast => tlbi!($name, "is", $operand),
            FlushScope::Local => tlbi!($name, "", $operand),
        }
    };
}

/// Issues a TLBI. Not complete before the barrier that the table above names.
pub(super) fn issue(op: Tlbi, scope: FlushScope) {
    match op {
        Tlbi::Va { va, tag, depth, level } => by_address(va, tag, depth, hint(level), scope),
        Tlbi::Range { start, pages, tag, depth, level } => range(start, pages, (tag, depth), level, scope),
        Tlbi::Asid(asid) => by_asid(asid, scope),
        Tlbi::All => all(scope),
    }
}

/// The hint, where the CPU reads hints.
fn hint(level: Option<Level>) -> Option<Level> {
    level.filter(|_| Machine::features().ttl)
}

fn by_address(va: VirtAddr, tag: Tag, depth: Depth, hint: Option<Level>, scope: FlushScope) {
    let operand = operand::by_address(va, tag, hint);
    match (tag, depth) {
        (Tag::Asid(_), Depth::AllLevels) => scoped!(scope, "vae1", operand),
        (Tag::Asid(_), Depth::LeafOnly) => scoped!(scope, "vale1", operand),
        (Tag::AllAsids, Depth::AllLevels) => scoped!(scope, "vaae1", operand),
        (Tag::AllAsids, Depth::LeafOnly) => scoped!(scope, "vaale1", operand),
    }
}

fn range(start: VirtAddr, pages: u64, (tag, depth): (Tag, Depth), level: Option<Level>, scope: FlushScope) {
    if Machine::features().tlbi_range {
        for piece in operand::split(start, pages) {
            match piece {
                Piece::Page(va) => by_address(va, tag, depth, hint(level), scope),
                Piece::Range { start, scale, num } => {
                    by_range(operand::by_range(start, scale, num, tag, hint(level)), tag, depth, scope);
                }
            }
        }
        return;
    }
    let stride = operand::stride(level);
    let leaves = (pages * PAGE_SIZE).div_ceil(stride);
    if leaves <= MAX_OPS_BY_ADDRESS {
        for leaf in 0..leaves {
            by_address(start.add(leaf * stride), tag, depth, hint(level), scope);
        }
        return;
    }
    match tag {
        // No translation of the user's half is global.
        Tag::Asid(asid) if start.is_user() => by_asid(asid, scope),
        _ => all(scope),
    }
}

fn by_range(operand: u64, tag: Tag, depth: Depth, scope: FlushScope) {
    match (tag, depth) {
        (Tag::Asid(_), Depth::AllLevels) => scoped!(scope, "rvae1", operand),
        (Tag::Asid(_), Depth::LeafOnly) => scoped!(scope, "rvale1", operand),
        (Tag::AllAsids, Depth::AllLevels) => scoped!(scope, "rvaae1", operand),
        (Tag::AllAsids, Depth::LeafOnly) => scoped!(scope, "rvaale1", operand),
    }
}

fn by_asid(asid: Asid, scope: FlushScope) {
    scoped!(scope, "aside1", operand::by_asid(asid));
}

fn all(scope: FlushScope) {
    match scope {
        // SAFETY: as for every TLBI: the tables are walked again.
        FlushScope::Broadcast => unsafe { asm!("tlbi vmalle1is", options(nostack, preserves_flags)) },
        // SAFETY: as above.
        FlushScope::Local => unsafe { asm!("tlbi vmalle1", options(nostack, preserves_flags)) },
    }
}
