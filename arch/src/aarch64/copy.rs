//! `memcpy`, which the compiler calls for copies of any size and alignment.
//!
//! The compiler's own one goes byte by byte where source and destination are not aligned alike, since the target forbids
//! unaligned accesses for the sake of code that runs with the MMU off. This kernel has none in Rust: translation is on
//! before the first line of it, all memory that is copied is normal memory, and SCTLR_EL1.A is clear, so unaligned loads
//! and stores are single instructions (Arm ARM B2.8.1). 16 bytes cost five instructions, in any alignment.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.memcpy, "ax"
    .balign 16
    .global memcpy
    .type memcpy, %function
// x0 destination, x1 source, x2 bytes; they do not overlap. Returns the destination. Changes x3 to x5.
memcpy:
    mov     x3, x0
    subs    x2, x2, #16
    b.lo    2f
1:  ldp     x4, x5, [x1], #16
    stp     x4, x5, [x3], #16
    subs    x2, x2, #16
    b.hs    1b
// Of the bytes that are left, the low four bits of x2 are right.
2:  tbz     x2, #3, 3f
    ldr     x4, [x1], #8
    str     x4, [x3], #8
3:  tbz     x2, #2, 4f
    ldr     w4, [x1], #4
    str     w4, [x3], #4
4:  tbz     x2, #1, 5f
    ldrh    w4, [x1], #2
    strh    w4, [x3], #2
5:  tbz     x2, #0, 6f
    ldrb    w4, [x1]
    strb    w4, [x3]
6:  ret
    .size memcpy, . - memcpy
"#
);
