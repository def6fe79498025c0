//! memcpy and memset, which the compiler calls for moves of large values and for filling arrays.
//!
//! The compiler's own go by 8 bytes, and where the two ends of a copy are not aligned alike by single bytes, since the
//! target forbids unaligned accesses for the sake of code that runs with the MMU off. No Rust does so here: translation
//! is on before the first line of it, what is copied is normal memory, and SCTLR_EL1.A is clear, so unaligned loads and
//! stores are single instructions (Arm ARM B2.8.1). Moving a trap frame or an address space is common enough for 32
//! bytes at a time. No vector register is used: they are EL0's.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.string, "ax"

// x0: to, x1: from, x2: bytes. x3 is the place in `to`, x0 stays.
    .global memcpy
memcpy:
    mov     x3, x0
1:  subs    x2, x2, #32
    b.lo    2f
    ldp     x4, x5, [x1], #16
    ldp     x6, x7, [x1], #16
    stp     x4, x5, [x3], #16
    stp     x6, x7, [x3], #16
    b       1b
2:  tbz     x2, #4, 3f
    ldp     x4, x5, [x1], #16
    stp     x4, x5, [x3], #16
3:  tbz     x2, #3, 4f
    ldr     x4, [x1], #8
    str     x4, [x3], #8
4:  ands    x2, x2, #7
    b.eq    6f
5:  ldrb    w4, [x1], #1
    strb    w4, [x3], #1
    subs    x2, x2, #1
    b.ne    5b
6:  ret

// x0: to, w1: the byte, x2: bytes.
    .global memset
memset:
    mov     x3, x0
    and     x4, x1, #0xff
    orr     x4, x4, x4, lsl #8
    orr     x4, x4, x4, lsl #16
    orr     x4, x4, x4, lsl #32
1:  tst     x3, #7
    b.eq    2f
    cbz     x2, 6f
    strb    w4, [x3], #1
    sub     x2, x2, #1
    b       1b
2:  subs    x2, x2, #32
    b.lo    3f
    stp     x4, x4, [x3], #16
    stp     x4, x4, [x3], #16
    b       2b
3:  tbz     x2, #4, 4f
    stp     x4, x4, [x3], #16
4:  tbz     x2, #3, 5f
    str     x4, [x3], #8
5:  ands    x2, x2, #7
    b.eq    6f
7:  strb    w4, [x3], #1
    subs    x2, x2, #1
    b.ne    7b
6:  ret
"#
);
