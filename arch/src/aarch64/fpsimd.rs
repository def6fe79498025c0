//! The FP and SIMD registers, which belong to EL0 alone: the kernel is built without them.
//!
//! EL0's first FP instruction traps (CPACR_EL1.FPEN); the kernel then loads the thread's state and opens them.
//! At a switch they are saved only for a thread that had them open, and closed again.

use core::arch::global_asm;

use aarch64_cpu::registers::{CPACR_EL1, ReadWriteable, Readable};

use super::Machine;
use crate::contract::Mmu;

/// v0 to v31, FPCR, FPSR.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct FpState {
    v: [u128; 32],
    fpcr: u64,
    fpsr: u64,
}

impl FpState {
    /// All zeros: round to nearest, nothing trapped.
    pub const ZERO: FpState = FpState { v: [0; 32], fpcr: 0, fpsr: 0 };

    /// Stores this CPU's registers.
    pub fn save(&mut self) {
        // SAFETY: writes exactly this structure; FPEN never traps EL1.
        unsafe { quire_save_fp(self) };
    }

    /// Loads this CPU's registers.
    pub fn load(&self) {
        // SAFETY: reads exactly this structure, and changes registers that the kernel itself does not use.
        unsafe { quire_load_fp(self) };
    }
}

/// Lets EL0 use the registers.
pub fn open_el0() {
    CPACR_EL1.modify(CPACR_EL1::FPEN::TrapNothing);
    Machine::isb();
}

/// Makes EL0's next use trap. EL1 may still save and load.
pub fn trap_el0() {
    CPACR_EL1.modify(CPACR_EL1::FPEN::TrapEl0);
    Machine::isb();
}

/// Whether EL0 may use the registers.
#[must_use]
pub fn is_open() -> bool {
    CPACR_EL1.matches_all(CPACR_EL1::FPEN::TrapNothing)
}

// SAFETY: the assembly below, with these signatures.
unsafe extern "C" {
    fn quire_save_fp(to: *mut FpState);
    fn quire_load_fp(from: *const FpState);
}

global_asm!(
    r#"
    .section .text.fpsimd, "ax"
    .arch_extension fp
    .arch_extension simd

    .global quire_save_fp
quire_save_fp:
    stp     q0, q1, [x0, #0]
    stp     q2, q3, [x0, #32]
    stp     q4, q5, [x0, #64]
    stp     q6, q7, [x0, #96]
    stp     q8, q9, [x0, #128]
    stp     q10, q11, [x0, #160]
    stp     q12, q13, [x0, #192]
    stp     q14, q15, [x0, #224]
    stp     q16, q17, [x0, #256]
    stp     q18, q19, [x0, #288]
    stp     q20, q21, [x0, #320]
    stp     q22, q23, [x0, #352]
    stp     q24, q25, [x0, #384]
    stp     q26, q27, [x0, #416]
    stp     q28, q29, [x0, #448]
    stp     q30, q31, [x0, #480]
    add     x0, x0, #512
    mrs     x1, fpcr
    mrs     x2, fpsr
    stp     x1, x2, [x0]
    ret

    .global quire_load_fp
quire_load_fp:
    ldp     q0, q1, [x0, #0]
    ldp     q2, q3, [x0, #32]
    ldp     q4, q5, [x0, #64]
    ldp     q6, q7, [x0, #96]
    ldp     q8, q9, [x0, #128]
    ldp     q10, q11, [x0, #160]
    ldp     q12, q13, [x0, #192]
    ldp     q14, q15, [x0, #224]
    ldp     q16, q17, [x0, #256]
    ldp     q18, q19, [x0, #288]
    ldp     q20, q21, [x0, #320]
    ldp     q22, q23, [x0, #352]
    ldp     q24, q25, [x0, #384]
    ldp     q26, q27, [x0, #416]
    ldp     q28, q29, [x0, #448]
    ldp     q30, q31, [x0, #480]
    add     x0, x0, #512
    ldp     x1, x2, [x0]
    msr     fpcr, x1
    msr     fpsr, x2
    ret
"#
);
const _: () = assert!(core::mem::offset_of!(FpState, fpcr) == 512);
