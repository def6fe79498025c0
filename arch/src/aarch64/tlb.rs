//! Every TLBI instruction of this kernel. Which of them an operation takes, and with what operands, is decided in
//! [`crate::tlbi_plan`]; here they are issued.
//!
//! # Shareability and barriers (Arm ARM D8.14.5, D8.14.6)
//! | scope | reaches | before | after |
//! |---|---|---|---|
//! | `Broadcast` | inner shareable domain | `DSB ISHST`: the walkers see the stores that this follows | `DSB ISH`: complete on every CPU |
//! | `Local` | this CPU | `DSB NSHST` or wider | `DSB NSH`: complete on this CPU |
//!
//! Neither barrier is issued here: a gather pays for one pair, however many TLBIs stand between. An ISB
//! follows the last DSB where this CPU must not go on with what it has already fetched.

use core::arch::asm;

use super::Machine;
use crate::contract::{FlushScope, Tlbi};
use crate::tlbi_plan::{self, Insn, Name, Row};

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
#[inline(always)]
pub(super) fn issue(op: Tlbi, scope: FlushScope) {
    match op {
        Tlbi::Va { va, tag, depth, level } => {
            instruction(tlbi_plan::one(va, tag, depth, level, Machine::the_features()), scope);
        }
        _ => issue_all(op, scope),
    }
}

fn issue_all(op: Tlbi, scope: FlushScope) {
    let plan = tlbi_plan::plan(op, Machine::the_features());
    match (plan.row(), scope) {
        // The way of most flushes of several pages, without a choice at each of them.
        (Some(Row { first: Insn { name: Name::Vale1, operand }, step, count }), FlushScope::Broadcast) => {
            let mut operand = operand;
            for _ in 0..count {
                tlbi!("vale1", "is", operand);
                operand = operand.wrapping_add(step);
            }
        }
        _ => plan.for_each(|insn| instruction(insn, scope)),
    }
}

#[inline(always)]
fn instruction(Insn { name, operand }: Insn, scope: FlushScope) {
    match name {
        Name::Vae1 => scoped!(scope, "vae1", operand),
        Name::Vale1 => scoped!(scope, "vale1", operand),
        Name::Vaae1 => scoped!(scope, "vaae1", operand),
        Name::Vaale1 => scoped!(scope, "vaale1", operand),
        Name::Rvae1 => scoped!(scope, "rvae1", operand),
        Name::Rvale1 => scoped!(scope, "rvale1", operand),
        Name::Rvaae1 => scoped!(scope, "rvaae1", operand),
        Name::Rvaale1 => scoped!(scope, "rvaale1", operand),
        Name::Aside1 => scoped!(scope, "aside1", operand),
        Name::Vmalle1 => all(scope),
    }
}

fn all(scope: FlushScope) {
    match scope {
        // SAFETY: as for every TLBI: the tables are walked again.
        FlushScope::Broadcast => unsafe { asm!("tlbi vmalle1is", options(nostack, preserves_flags)) },
        // SAFETY: as above.
        FlushScope::Local => unsafe { asm!("tlbi vmalle1", options(nostack, preserves_flags)) },
    }
}
