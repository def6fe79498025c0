//! Zeroing and copying whole pages, 64 bytes an instruction.
//!
//! Four vector registers hold what is stored; they are EL0's, so they are put on the stack first and loaded again before
//! anybody can look: interrupts stay masked from the one to the other, for at most [`PIECE`] bytes at a time. FPEN never
//! traps EL1 ([`super::fpsimd`]), so it makes no difference whose values the registers hold, or whether EL0 may use them.

use core::arch::global_asm;

use super::Machine;
use crate::addr::PAGE_SIZE;
use crate::contract::Cpu;

/// Bytes for which interrupts stay masked.
const PIECE: u64 = 16 * PAGE_SIZE;

/// Zeroes `bytes` from `to`.
///
/// # Safety
/// 1. The range is mapped RAM that the caller owns.
/// 2. `bytes` is a multiple of 4096.
#[inline]
pub(super) unsafe fn zero(to: u64, bytes: u64) {
    let mut done = 0;
    while done < bytes {
        let piece = PIECE.min(bytes - done);
        let irq = Machine::mask_irqs();
        // SAFETY: 1. and 2. of the caller, for a piece of the range that is not empty; interrupts are masked.
        unsafe { quire_zero(to + done, piece) };
        Machine::restore_irqs(irq);
        done += piece;
    }
}

/// Copies `bytes` from `from` to `to`.
///
/// # Safety
/// 1. The ranges are mapped RAM, the first of which the caller owns; they do not overlap.
/// 2. `bytes` is a multiple of 4096.
#[inline]
pub(super) unsafe fn copy(to: u64, from: u64, bytes: u64) {
    let mut done = 0;
    while done < bytes {
        let piece = PIECE.min(bytes - done);
        let irq = Machine::mask_irqs();
        // SAFETY: 1. and 2. of the caller, for a piece of the ranges that is not empty; interrupts are masked.
        unsafe { quire_copy(to + done, from + done, piece) };
        Machine::restore_irqs(irq);
        done += piece;
    }
}

// SAFETY: the assembly below, with these signatures. It uses four vector registers and leaves them as they were; the
// number of bytes is a multiple of 4096 and not 0.
unsafe extern "C" {
    fn quire_zero(to: u64, bytes: u64);
    fn quire_copy(to: u64, from: u64, bytes: u64);
}

global_asm!(
    r#"
    .section .text.bulk, "ax"
    .arch_extension fp
    .arch_extension simd

    .global quire_zero
quire_zero:
    sub     sp, sp, #64
    mov     x3, sp
    st1     {{v0.2d-v3.2d}}, [x3]
    movi    v0.2d, #0
    movi    v1.2d, #0
    movi    v2.2d, #0
    movi    v3.2d, #0
1:  .rept   64
    st1     {{v0.2d-v3.2d}}, [x0], #64
    .endr
    subs    x1, x1, #4096
    b.ne    1b
    ld1     {{v0.2d-v3.2d}}, [x3]
    add     sp, sp, #64
    ret

    .global quire_copy
quire_copy:
    sub     sp, sp, #64
    mov     x3, sp
    st1     {{v0.2d-v3.2d}}, [x3]
1:  .rept   64
    ld1     {{v0.2d-v3.2d}}, [x1], #64
    st1     {{v0.2d-v3.2d}}, [x0], #64
    .endr
    subs    x2, x2, #4096
    b.ne    1b
    ld1     {{v0.2d-v3.2d}}, [x3]
    add     sp, sp, #64
    ret
"#
);
