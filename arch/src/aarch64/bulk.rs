//! Zeroing and copying whole pages, and filling rows of lines, 64 bytes an instruction.
//!
//! Four vector registers hold what is stored; they are EL0's, so they are put on the stack first and loaded again
//! before anybody can look: interrupts stay masked from the one to the other, for at most [`PIECE`] bytes at a time.
//! FPEN never traps EL1 ([`super::fpsimd`]), so it makes no difference whose values the registers hold, or whether EL0
//! may use them.

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

/// Fills `lines` lines of 64 bytes from `to`: two words that are given, and zeros.
///
/// # Safety
/// 1. The range is mapped, and a multiple of 64; other CPUs may read its words meanwhile, each of which is written by one
///    store (B2.2.1: an element of a vector store is single-copy atomic).
pub(super) unsafe fn fill_lines(to: u64, lines: u64, [first, second]: [u64; 2]) {
    const LINE: u64 = 64;
    for done in (0..lines).step_by((PIECE / LINE) as usize) {
        let irq = Machine::mask_irqs();
        // SAFETY: 1. of the caller, for a piece of the range that is not empty; interrupts are masked.
        unsafe { quire_fill_lines(to + done * LINE, (PIECE / LINE).min(lines - done), first, second) };
        Machine::restore_irqs(irq);
    }
}

// SAFETY: the assembly below, with these signatures. It uses four vector registers and leaves them as they were; the
// number of bytes is a multiple of 4096, and neither it nor that of lines is 0.
unsafe extern "C" {
    fn quire_zero(to: u64, bytes: u64);
    fn quire_copy(to: u64, from: u64, bytes: u64);
    fn quire_fill_lines(to: u64, lines: u64, first: u64, second: u64);
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

    .global quire_fill_lines
quire_fill_lines:
    sub     sp, sp, #64
    mov     x4, sp
    st1     {{v0.2d-v3.2d}}, [x4]
    fmov    d0, x2
    mov     v0.d[1], x3
    movi    v1.2d, #0
    movi    v2.2d, #0
    movi    v3.2d, #0
1:  subs    x1, x1, #8
    b.lo    2f
    .rept   8
    st1     {{v0.2d-v3.2d}}, [x0], #64
    .endr
    b       1b
2:  adds    x1, x1, #8
    b.eq    4f
3:  st1     {{v0.2d-v3.2d}}, [x0], #64
    subs    x1, x1, #1
    b.ne    3b
4:  ld1     {{v0.2d-v3.2d}}, [x4]
    add     sp, sp, #64
    ret
"#
);
