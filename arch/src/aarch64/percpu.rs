//! The block that TPIDR_EL1 points to on each CPU, and the geometry of kernel stacks.
//!
//! ```text
//!      2 * STACK_BYTES aligned
//!      |<-------- STACK_BYTES -------->|<-------- STACK_BYTES -------->|
//! ~~~~~|  the stack, growing down      |  not used; no stack here      |
//! guard^ base                          ^ top
//! ```
//! Every kernel stack begins at a multiple of twice its size and has something that cannot be written below
//! it. So bit [`STACK_SHIFT`] of an address in a stack is clear, and the first address below the stack has it
//! set: the vectors tell an overflow by this one bit, before they store anything.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::contract::{CpuId, MAX_CPUS};

/// Base-2 logarithm of [`STACK_BYTES`]: the bit that tells an overflow.
pub const STACK_SHIFT: u32 = 15;
/// Bytes of a kernel stack: 32 KiB.
pub const STACK_BYTES: u64 = 1 << STACK_SHIFT;
/// Pages of a kernel stack.
pub const STACK_PAGES: u64 = STACK_BYTES >> PAGE_SHIFT;

/// What a CPU's vectors need before they have a stack to stand on.
#[repr(C, align(64))]
pub struct CpuBlock {
    id: u64,
    emergency_top: AtomicU64,
}

/// Offset of `emergency_top` in a [`CpuBlock`], for assembly.
pub(super) const EMERGENCY_TOP: usize = core::mem::offset_of!(CpuBlock, emergency_top);
const _: () = assert!(core::mem::offset_of!(CpuBlock, id) == 0);

/// The block of each CPU; the first is that of the CPU that boots.
pub(super) static BLOCKS: [CpuBlock; MAX_CPUS] = {
    let mut blocks = [const { CpuBlock { id: 0, emergency_top: AtomicU64::new(0) } }; MAX_CPUS];
    let mut id = 0;
    while id < MAX_CPUS {
        blocks[id].id = id as u64;
        id += 1;
    }
    blocks
};

/// Gives `cpu` the stack on which a stack overflow is reported: `top` is its highest end.
pub fn set_emergency_stack(cpu: CpuId, top: VirtAddr) {
    BLOCKS[cpu.index()].emergency_top.store(top.raw(), Ordering::Release);
}
