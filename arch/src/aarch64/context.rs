//! Switching between kernel stacks.
//!
//! A thread that does not run is a stack pointer: what the procedure call standard lets a function change
//! is dead at a call, the rest (x19 to x30) stands on its stack.

use core::arch::global_asm;

use crate::addr::VirtAddr;

/// A thread that does not run: its stack pointer.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    sp: u64,
}

/// x19 to x30.
const SAVED: usize = 12;

impl Context {
    /// No thread: what [`switch`] fills.
    pub const NONE: Context = Context { sp: 0 };

    /// A thread that will begin at `entry` with `argument` on the stack that ends at `stack_top`, interrupts
    /// masked.
    ///
    /// # Safety
    /// `stack_top` is the 16-byte aligned end of a mapped stack that nobody else uses.
    #[must_use]
    pub unsafe fn new(stack_top: VirtAddr, entry: extern "C" fn(usize) -> !, argument: usize) -> Self {
        // SAFETY: the label below; only its address is taken.
        unsafe extern "C" {
            fn quire_begin_thread();
        }
        let sp = stack_top.raw() - (SAVED * 8) as u64;
        let mut saved = [0; SAVED];
        saved[0] = entry as usize as u64;
        saved[1] = argument as u64;
        saved[SAVED - 1] = quire_begin_thread as *const () as u64;
        let at = core::ptr::with_exposed_provenance_mut::<[u64; SAVED]>(sp as usize);
        // SAFETY: the end of a stack that is ours, by the caller's promise; aligned.
        unsafe { at.write(saved) };
        Context { sp }
    }
}

// SAFETY: the assembly below, with this signature.
unsafe extern "C" {
    fn quire_switch(from: *mut Context, to: Context);
}

/// Leaves the running thread at `from` and goes on where `to` was left. Returns when somebody switches back.
///
/// # Safety
/// Interrupts are masked. `from` is writable until the switch is done, and stands for the running thread. `to`
/// was made by [`Context::new`] or left by this function, has not been gone on with since, and its stack is mapped on
/// this CPU.
pub unsafe fn switch(from: *mut Context, to: Context) {
    // SAFETY: the caller's promise.
    unsafe { quire_switch(from, to) };
}

global_asm!(
    r#"
    .section .text.context, "ax"

    .global quire_switch
quire_switch:
    sub     sp, sp, #96
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    mov     x9, sp
    str     x9, [x0]
    mov     sp, x1
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    add     sp, sp, #96
    ret

// x29 and x30 are zero here: a backtrace ends.
    .global quire_begin_thread
quire_begin_thread:
    mov     x0, x20
    mov     x30, xzr
    br      x19
"#
);
