//! What an exception syndrome says (ESR_EL1, Arm ARM D24.2.40): pure, so that it is tested on a host.
//!
//! ```text
//!  31     26 25 24                      0
//! | EC      |IL| ISS, read as EC says    |
//! ```
//! An abort's ISS holds the fault status code (bits 5..0, of which the low two are the level for the
//! four kinds of MMU fault), S1PTW (7), CM (8), FnV (10) and, for a data abort, WnR (6).

use core::fmt;

use crate::addr::{Level, PhysAddr, VirtAddr};
use crate::contract::{Access, FaultStatus};

/// The exception class with the part of its syndrome that a handler acts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// EC 0x00: undefined instruction, or a system register that is not there.
    Unknown,
    /// EC 0x01: a trapped WFI or WFE.
    WaitTrap,
    /// EC 0x07: an FP or SIMD instruction while CPACR_EL1.FPEN traps it.
    FpTrap,
    /// EC 0x0d: a branch target check failed.
    BranchTarget,
    /// EC 0x0e: illegal execution state.
    IllegalState,
    /// EC 0x15: SVC from AArch64 with its immediate.
    Svc(u16),
    /// EC 0x18: a trapped MSR, MRS or system instruction.
    SystemRegister,
    /// EC 0x19: an SVE instruction while CPACR_EL1.ZEN traps it.
    SveTrap,
    /// EC 0x1c: pointer authentication failed.
    PointerAuth,
    /// EC 0x1d: an SME instruction while CPACR_EL1.SMEN traps it.
    SmeTrap,
    /// EC 0x20 or 0x21: instruction abort.
    InstructionAbort(Abort),
    /// EC 0x22: the program counter is not aligned.
    PcAlignment,
    /// EC 0x24 or 0x25: data abort.
    DataAbort(Abort),
    /// EC 0x26: the stack pointer is not aligned.
    SpAlignment,
    /// EC 0x2c: a trapped floating-point exception.
    FpException,
    /// EC 0x2f: SError.
    SError,
    /// EC 0x30 to 0x35: hardware breakpoint, software step or watchpoint.
    Debug,
    /// EC 0x3c: BRK with its immediate.
    Brk(u16),
    /// Any other class: the raw code.
    Other(u8),
}

/// An instruction or data abort.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abort {
    /// What the access wanted. A cache maintenance instruction is reported by hardware as a write
    /// (WnR is 1) but needs no more than the right to read, so it counts as a read.
    pub access: Access,
    /// Why it failed.
    pub status: FaultStatus,
    /// Whether FAR_EL1 holds the address (FnV is 0).
    pub far: Far,
    /// What was being accessed when it failed.
    pub stage: Stage,
}

/// Whether the fault address register can be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Far {
    /// FAR_EL1 holds the address.
    Valid,
    /// FnV is 1: FAR_EL1 is not valid.
    NotValid,
}

/// Where in the translation an abort arose (S1PTW).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The access itself, or its stage-1 walk.
    Stage1,
    /// Stage 2, during a stage-1 walk.
    Stage2OfWalk,
}

/// EC of an SVC from AArch64.
pub const EC_SVC: u64 = 0x15;
/// EC of an instruction abort of EL0.
pub const EC_USER_INSTRUCTION_ABORT: u64 = 0x20;
/// EC of a data abort of EL0.
pub const EC_USER_DATA_ABORT: u64 = 0x24;

/// The class and syndrome in a value of ESR_EL1.
#[must_use]
#[inline]
pub const fn decode(esr: u64) -> Class {
    let class = ((esr >> 26) & 0x3f) as u8;
    let immediate = (esr & 0xffff) as u16;
    match class {
        0x00 => Class::Unknown,
        0x01 => Class::WaitTrap,
        0x07 => Class::FpTrap,
        0x0d => Class::BranchTarget,
        0x0e => Class::IllegalState,
        0x15 => Class::Svc(immediate),
        0x18 => Class::SystemRegister,
        0x19 => Class::SveTrap,
        0x1c => Class::PointerAuth,
        0x1d => Class::SmeTrap,
        0x20 | 0x21 => Class::InstructionAbort(instruction_abort(esr)),
        0x22 => Class::PcAlignment,
        0x24 | 0x25 => Class::DataAbort(data_abort(esr)),
        0x26 => Class::SpAlignment,
        0x2c => Class::FpException,
        0x2f => Class::SError,
        0x30..=0x35 => Class::Debug,
        0x3c => Class::Brk(immediate),
        other => Class::Other(other),
    }
}

/// The syndrome of a data abort in a value of ESR_EL1: WnR says what the access was, except for cache maintenance (CM).
#[must_use]
#[inline]
pub const fn data_abort(esr: u64) -> Abort {
    let (write, maintenance) = (esr >> 6 & 1 == 1, esr >> 8 & 1 == 1);
    abort(esr, if write && !maintenance { Access::Write } else { Access::Read })
}

/// The syndrome of an instruction abort in a value of ESR_EL1.
#[must_use]
#[inline]
pub const fn instruction_abort(esr: u64) -> Abort {
    abort(esr, Access::Execute)
}

#[inline]
const fn abort(esr: u64, access: Access) -> Abort {
    Abort {
        access,
        status: fault_status((esr & 0x3f) as u8),
        far: if esr >> 10 & 1 == 0 { Far::Valid } else { Far::NotValid },
        stage: if esr >> 7 & 1 == 0 { Stage::Stage1 } else { Stage::Stage2OfWalk },
    }
}

/// The meaning of a fault status code (ISS.DFSC, ISS.IFSC and PAR_EL1.FST share one encoding).
#[must_use]
#[inline]
pub const fn fault_status(code: u8) -> FaultStatus {
    let level = match code & 0b11 {
        0 => Level::L0,
        1 => Level::L1,
        2 => Level::L2,
        _ => Level::L3,
    };
    match code >> 2 {
        0 => FaultStatus::AddressSize(level),
        1 => FaultStatus::Translation(level),
        2 => FaultStatus::AccessFlag(level),
        3 => FaultStatus::Permission(level),
        _ if code == 0x30 => FaultStatus::TlbConflict,
        _ => FaultStatus::Other(code),
    }
}

/// What AT found for `va`, in a value of PAR_EL1 (D24.2.140): F (bit 0) tells a fault, whose status is FST (bits
/// 6..1); otherwise bits 47..12 are the output address of the page.
///
/// # Errors
/// The fault.
#[inline]
pub const fn walk_result(par: u64, va: VirtAddr) -> Result<PhysAddr, FaultStatus> {
    if par & 1 != 0 {
        return Err(fault_status((par >> 1 & 0x3f) as u8));
    }
    Ok(PhysAddr::new((par & 0x0000_ffff_ffff_f000) | (va.raw() & 0xfff)))
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match self.access {
            Access::Read => "read",
            Access::Write => "write",
            Access::Execute => "fetch",
        };
        write!(f, "{access}: {}", self.status)?;
        if self.stage == Stage::Stage2OfWalk {
            write!(f, " at stage 2 of the walk")?;
        }
        Ok(())
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Unknown => write!(f, "undefined instruction"),
            Class::WaitTrap => write!(f, "trapped wait instruction"),
            Class::FpTrap => write!(f, "trapped floating-point instruction"),
            Class::BranchTarget => write!(f, "branch target exception"),
            Class::IllegalState => write!(f, "illegal execution state"),
            Class::Svc(imm) => write!(f, "system call (svc {imm:#x})"),
            Class::SystemRegister => write!(f, "trapped system instruction"),
            Class::SveTrap => write!(f, "trapped SVE instruction"),
            Class::PointerAuth => write!(f, "pointer authentication failure"),
            Class::SmeTrap => write!(f, "trapped SME instruction"),
            Class::InstructionAbort(abort) | Class::DataAbort(abort) => write!(f, "{abort}"),
            Class::PcAlignment => write!(f, "misaligned program counter"),
            Class::SpAlignment => write!(f, "misaligned stack pointer"),
            Class::FpException => write!(f, "floating-point exception"),
            Class::SError => write!(f, "SError"),
            Class::Debug => write!(f, "debug exception"),
            Class::Brk(imm) => write!(f, "breakpoint instruction (brk {imm:#x})"),
            Class::Other(class) => write!(f, "exception class {class:#04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn esr(class: u64, iss: u64) -> u64 {
        class << 26 | 1 << 25 | iss
    }

    /// A data abort tells reads from writes by WnR, at both exception levels of origin.
    #[test]
    fn data_aborts_tell_reads_from_writes() {
        for class in [0x24, 0x25] {
            let read = Abort {
                access: Access::Read,
                status: FaultStatus::Translation(Level::L3),
                far: Far::Valid,
                stage: Stage::Stage1,
            };
            assert_eq!(decode(esr(class, 0x07)), Class::DataAbort(read));
            let write = Abort { access: Access::Write, status: FaultStatus::Permission(Level::L2), ..read };
            assert_eq!(decode(esr(class, 1 << 6 | 0x0e)), Class::DataAbort(write));
        }
    }

    /// Cache maintenance is reported as a write and needs the right to read.
    #[test]
    fn cache_maintenance_counts_as_a_read() {
        let Class::DataAbort(abort) = decode(esr(0x24, 1 << 8 | 1 << 6 | 0x06)) else {
            panic!("class 0x24 is a data abort");
        };
        assert_eq!(abort.access, Access::Read);
    }

    /// An instruction abort is a fetch whatever bit 6 holds (it is RES0 there).
    #[test]
    fn instruction_aborts_are_fetches() {
        for class in [0x20, 0x21] {
            let Class::InstructionAbort(abort) = decode(esr(class, 0x0f)) else {
                panic!("classes 0x20 and 0x21 are instruction aborts");
            };
            assert_eq!((abort.access, abort.status), (Access::Execute, FaultStatus::Permission(Level::L3)));
        }
    }

    /// Every status code has its one meaning; the level is in the low two bits of the MMU faults only.
    #[test]
    fn status_codes() {
        let levels = Level::ALL;
        for (low, level) in levels.into_iter().enumerate() {
            let low = low as u8;
            assert_eq!(fault_status(low), FaultStatus::AddressSize(level));
            assert_eq!(fault_status(0x04 + low), FaultStatus::Translation(level));
            assert_eq!(fault_status(0x08 + low), FaultStatus::AccessFlag(level));
            assert_eq!(fault_status(0x0c + low), FaultStatus::Permission(level));
        }
        assert_eq!(fault_status(0x30), FaultStatus::TlbConflict);
        for other in [0x10, 0x14, 0x21, 0x31, 0x3f] {
            assert_eq!(fault_status(other), FaultStatus::Other(other));
        }
    }

    /// PAR_EL1 gives the output address with the offset in the page, without attributes and reserved bits; or the
    /// fault, whatever else it holds.
    #[test]
    fn results_of_walks() {
        let va = VirtAddr::new(0xffff_8000_1234_5678);
        let found = walk_result(0xff00_8765_4321_0b80, va);
        assert_eq!(found, Ok(PhysAddr::new(0x8765_4321_0678)));
        for (status, fault) in [
            (0x07, FaultStatus::Translation(Level::L3)),
            (0x0e, FaultStatus::Permission(Level::L2)),
            (0x09, FaultStatus::AccessFlag(Level::L1)),
            (0x30, FaultStatus::TlbConflict),
        ] {
            assert_eq!(walk_result(1 << 11 | status << 1 | 1, va), Err(fault));
        }
    }

    /// FnV and S1PTW are reported, not dropped.
    #[test]
    fn far_and_stage() {
        let Class::DataAbort(abort) = decode(esr(0x25, 1 << 10 | 1 << 7 | 0x10)) else {
            panic!("class 0x25 is a data abort");
        };
        assert_eq!((abort.far, abort.stage), (Far::NotValid, Stage::Stage2OfWalk));
    }

    /// Immediates of SVC and BRK come through; unnamed classes keep their code.
    #[test]
    fn other_classes() {
        assert_eq!(decode(esr(0x15, 0)), Class::Svc(0));
        assert_eq!(decode(esr(0x3c, 0xf000)), Class::Brk(0xf000));
        assert_eq!(decode(esr(0x07, 0x1e0_0000)), Class::FpTrap);
        assert_eq!(decode(0), Class::Unknown);
        assert_eq!(decode(esr(0x3f, 0)), Class::Other(0x3f));
    }
}
