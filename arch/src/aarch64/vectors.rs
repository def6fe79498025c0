//! The sixteen vectors and the frame that each of them makes.
//!
//! Before a vector stores anything it looks at the one bit of SP that tells an overflow
//! ([`super::percpu`]), as SP will be with a frame and a handler's needs on the stack; a stack that has run over is
//! left alone, and the frame is made on this CPU's emergency stack.
//!
//! A frame of the kernel ends in a frame record (x29, interrupted address), and x29 points to it: a backtrace by frame
//! pointers walks through an exception as through a call.
//!
//! EL0 runs inside a call, [`super::trap::run_user`]: while it runs SP_EL1 is the end of its frame, and its next
//! exception fills the frame and returns to the caller, whose stack the frame names. So what the caller holds, the
//! kernel holds while EL0 runs.

use core::arch::{asm, global_asm};
use core::fmt;

use aarch64_cpu::registers::{VBAR_EL1, Writeable};

use super::Machine;
use super::percpu::{EMERGENCY_TOP, STACK_SHIFT};
use super::trap;
use crate::contract::Mmu;

/// The registers of whatever was interrupted. Changing them changes what the return goes back to.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
pub struct TrapFrame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// The stack pointer: SP_EL0 where EL0 was interrupted.
    pub sp: u64,
    /// ELR_EL1: where the return goes.
    pub elr: u64,
    /// SPSR_EL1: the state it goes back to.
    pub spsr: u64,
    /// ESR_EL1.
    pub esr: u64,
    /// FAR_EL1.
    pub far: u64,
    /// Of the kernel: the frame record. Of EL0: the kernel's stack pointer in `run_user`, and nothing.
    record: [u64; 2],
}

const FRAME_BYTES: usize = size_of::<TrapFrame>();
/// What a handler may need below the frame. A stack with less left counts as run over: the store that reaches the
/// guard first may be one of the handler's own, or one that faults before it has moved the stack pointer.
const HANDLER_BYTES: usize = 3072;
const _: () = assert!(FRAME_BYTES == 304);
/// Where the kernel's stack pointer stands in a frame of EL0.
const KERNEL_SP: usize = core::mem::offset_of!(TrapFrame, record);

impl TrapFrame {
    /// The frame of a thread that enters EL0 at `entry` with `sp`, all other registers zero, interrupts open.
    #[must_use]
    pub const fn user(entry: u64, sp: u64) -> Self {
        TrapFrame { x: [0; 31], sp, elr: entry, spsr: 0, esr: 0, far: 0, record: [0; 2] }
    }

    /// Whether EL0 was interrupted.
    #[must_use]
    pub const fn from_user(&self) -> bool {
        self.spsr & 0b1111 == 0
    }

    /// Where the frame record stands that continues the chain of frame pointers at the interrupted code.
    #[must_use]
    pub fn record(&self) -> usize {
        self.record.as_ptr().addr()
    }

    /// Whether interrupts were open.
    #[must_use]
    pub const fn irqs_were_open(&self) -> bool {
        self.spsr & 1 << 7 == 0
    }
}

impl fmt::Display for TrapFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  pc  {:#018x}  sp  {:#018x}  pstate {:#010x}", self.elr, self.sp, self.spsr)?;
        writeln!(f, "  esr {:#018x}  far {:#018x}", self.esr, self.far)?;
        for (row, group) in self.x.chunks(4).enumerate() {
            for (column, value) in group.iter().enumerate() {
                write!(f, "  x{:<2} {value:#018x}", row * 4 + column)?;
            }
            if row < 7 {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Which vector was taken: its index in the table (Arm ARM D1.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vector(u64);

impl Vector {
    /// EL1 with SP_EL1, synchronous.
    pub const KERNEL_SYNC: Vector = Vector(4);
    /// EL1 with SP_EL1, IRQ.
    pub const KERNEL_IRQ: Vector = Vector(5);
    /// EL0, synchronous.
    pub const USER_SYNC: Vector = Vector(8);
    /// EL0, IRQ.
    pub const USER_IRQ: Vector = Vector(9);
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = ["EL1 with SP_EL0", "EL1", "EL0", "EL0 in AArch32"][(self.0 >> 2 & 3) as usize];
        let what = ["synchronous exception", "IRQ", "FIQ", "SError"][(self.0 & 3) as usize];
        write!(f, "{what} from {from}")
    }
}

/// Makes this CPU use the vectors below.
pub(super) fn install() {
    // SAFETY: the label below; only its address is taken.
    unsafe extern "C" {
        static quire_vectors: u8;
    }
    VBAR_EL1.set((&raw const quire_vectors).addr() as u64);
    Machine::isb();
}

extern "C" fn enter(frame: &mut TrapFrame, vector: u64) {
    trap::dispatch(frame, Vector(vector));
}

/// Runs EL0 with the registers of `frame` until its next exception, which fills `frame`, and says which vector was
/// taken. Interrupts are masked afterwards.
#[inline(always)]
pub(super) fn run_user(frame: &mut TrapFrame) -> Vector {
    // SAFETY: the label below; only its address is taken.
    unsafe extern "C" {
        fn quire_run_user();
    }
    let vector;
    // SAFETY: the assembly below writes the frame and its own place on the stack, and comes back with x19, x29 and the
    // stack pointer as they were; it keeps no other register, so that nobody saves one that is not in use. What EL0
    // does meanwhile is EL0's. Any place of the frame will do: it is aligned, and nothing else uses SP_EL1 while EL0
    // runs.
    unsafe {
        asm!(
            "bl {run}",
            run = sym quire_run_user,
            inout("x0") &raw mut *frame => vector,
            out("x20") _, out("x21") _, out("x22") _, out("x23") _, out("x24") _,
            out("x25") _, out("x26") _, out("x27") _, out("x28") _,
            clobber_abi("C"),
        );
    }
    Vector(vector)
}

extern "C" fn overflow(frame: &TrapFrame) -> ! {
    trap::stack_overflow(frame)
}

global_asm!(
    r#"
    .section .text.vectors, "ax"

// Registers into the frame at sp. x0 to x30 are free afterwards.
    .macro  save_registers
    stp     x0, x1, [sp, #0]
    stp     x2, x3, [sp, #16]
    stp     x4, x5, [sp, #32]
    stp     x6, x7, [sp, #48]
    stp     x8, x9, [sp, #64]
    stp     x10, x11, [sp, #80]
    stp     x12, x13, [sp, #96]
    stp     x14, x15, [sp, #112]
    stp     x16, x17, [sp, #128]
    stp     x18, x19, [sp, #144]
    stp     x20, x21, [sp, #160]
    stp     x22, x23, [sp, #176]
    stp     x24, x25, [sp, #192]
    stp     x26, x27, [sp, #208]
    stp     x28, x29, [sp, #224]
    .endm

// The rest of the frame; x21 is the interrupted stack pointer, (\fp, \pc) the frame record.
    .macro  save_state, fp, pc
    mrs     x22, elr_el1
    mrs     x23, spsr_el1
    mrs     x24, esr_el1
    mrs     x25, far_el1
    stp     x30, x21, [sp, #240]
    stp     x22, x23, [sp, #256]
    stp     x24, x25, [sp, #272]
    stp     \fp, \pc, [sp, #288]
    add     x29, sp, #288
    mov     x0, sp
    .endm

    .macro  restore_and_return
    ldp     x22, x23, [sp, #256]
    msr     elr_el1, x22
    msr     spsr_el1, x23
    ldp     x0, x1, [sp, #0]
    ldp     x2, x3, [sp, #16]
    ldp     x4, x5, [sp, #32]
    ldp     x6, x7, [sp, #48]
    ldp     x8, x9, [sp, #64]
    ldp     x10, x11, [sp, #80]
    ldp     x12, x13, [sp, #96]
    ldp     x14, x15, [sp, #112]
    ldp     x16, x17, [sp, #128]
    ldp     x18, x19, [sp, #144]
    ldp     x20, x21, [sp, #160]
    ldp     x22, x23, [sp, #176]
    ldp     x24, x25, [sp, #192]
    ldp     x26, x27, [sp, #208]
    ldp     x28, x29, [sp, #224]
    ldr     x30, [sp, #240]
    add     sp, sp, #{frame}
    eret
    .endm

// x0 is put aside in the difference between sp and itself, so that the bit can be tested with no register and no
// memory to spare: sp = sp + x0, x0 = sp - x0 (the stack pointer), and back.
    .macro  kernel_vector, index
    .balign 0x80
    sub     sp, sp, #{reach}
    add     sp, sp, x0
    sub     x0, sp, x0
    tbnz    x0, #{stack_shift}, 1f
    sub     x0, sp, x0
    sub     sp, sp, x0
    add     sp, sp, #{reach} - {frame}
    save_registers
    mov     x1, #\index
    b       from_kernel
1:  b       stack_ran_over
    .endm

    .macro  user_vector, index
    .balign 0x80
    sub     sp, sp, #{frame}
    save_registers
    mov     x1, #\index
    b       from_user
    .endm

    .balign 0x800
    .global quire_vectors
quire_vectors:
    kernel_vector 0
    kernel_vector 1
    kernel_vector 2
    kernel_vector 3
    kernel_vector 4
    kernel_vector 5
    kernel_vector 6
    kernel_vector 7
    user_vector 8
    user_vector 9
    user_vector 10
    user_vector 11
    user_vector 12
    user_vector 13
    user_vector 14
    user_vector 15

from_kernel:
    add     x21, sp, #{frame}
    mrs     x22, elr_el1
    save_state x29, x22
    bl      {enter}
    restore_and_return

// x0: the frame. Its registers become the CPU's; the next exception of EL0 goes on at from_user.
    .global quire_run_user
quire_run_user:
    msr     daifset, #0xf
    stp     x29, x30, [sp, #-32]!
    str     x19, [sp, #16]
    mov     x9, sp
    str     x9, [x0, #{kernel_sp}]
    mov     sp, x0
    ldr     x21, [sp, #248]
    msr     sp_el0, x21
    restore_and_return

// sp: the frame, as quire_run_user was given it; x1: the vector, which its call returns.
from_user:
    mrs     x21, sp_el0
    mrs     x22, elr_el1
    mrs     x23, spsr_el1
    mrs     x24, esr_el1
    mrs     x25, far_el1
    stp     x30, x21, [sp, #240]
    stp     x22, x23, [sp, #256]
    stp     x24, x25, [sp, #272]
    ldr     x9, [sp, #{kernel_sp}]
    mov     x0, x1
    mov     sp, x9
    ldr     x19, [sp, #16]
    ldp     x29, x30, [sp], #32
    ret

// sp and x0 as the vector left them. TPIDR_EL0 takes the stack pointer, TPIDRRO_EL0 x0: user values are lost, and
// nothing goes back to EL0 from here.
stack_ran_over:
    msr     tpidr_el0, x0
    sub     x0, sp, x0
    msr     tpidrro_el0, x0
    mrs     x0, tpidr_el1
    ldr     x0, [x0, #{emergency_top}]
    sub     sp, x0, #{frame}
    mrs     x0, tpidrro_el0
    save_registers
    mrs     x21, tpidr_el0
    add     x21, x21, #{reach}
    mrs     x22, elr_el1
    save_state x29, x22
    b       {overflow}
"#,
    frame = const FRAME_BYTES,
    reach = const FRAME_BYTES + HANDLER_BYTES,
    kernel_sp = const KERNEL_SP,
    stack_shift = const STACK_SHIFT,
    emergency_top = const EMERGENCY_TOP,
    enter = sym enter,
    overflow = sym overflow,
);
