//! Entry of the kernel: image header, early tables, MMU on, and the jump to the image's own addresses.
//!
//! The firmware enters at the first byte of the image with the MMU off, at EL1 or EL2, and the physical
//! address of the device tree in x0 (Linux `Documentation/arch/arm64/booting.rst`). Until translation is on the
//! code knows no address but its own: everything is relative to the program counter, so the image may stand
//! at any multiple of 2 MiB.
//!
//! # Early tables
//! ```text
//! TTBR0  the 2 MiB that hold this code, at their physical address     RX, not global   2M block
//! TTBR1  linear map of the GiB that holds the image                   RW               1G block
//!        linear map of the GiB that holds the device tree             RW               1G block
//!        image, text and read-only data                               RX               2M blocks
//!        image, data and .bss                                         RW               2M blocks
//!        early device slot (last 2 MiB of the image's GiB)            device           2M block, on request
//! ```
//! Nothing is writable and executable. Text and data are 2 MiB aligned for that reason: a 2M block has one set of
//! rights. The linear blocks are as large as 1 GiB because the size of RAM is not yet known when the tables are
//! made: the block may cover addresses without memory, which nobody reads before the final tables replace it.
//! The device tree must lie in the same 512 GiB as the image (boot.rst asks for a distance below 512 MiB).
//!
//! Further CPUs ([`start_cpu`]) use the same identity map and go straight to the final kernel root.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};

use super::gic::Affinity;
use super::image;
use super::percpu::{BLOCKS, STACK_BYTES, set_emergency_stack};
use super::psci::Conduit;
use super::tlb::flush_this_cpu;
use super::vectors;
use crate::addr::{ENTRIES_PER_TABLE, Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{CpuId, Dsb, Mmu, PhysMem};
use crate::layout::{IMAGE_BASE, LINEAR_BASE};
use crate::pte::{Desc, MAIR, PteFlags};
use crate::{Machine, layout};

/// Flags of the image header: little endian, 4K pages, loaded anywhere.
const HEADER_FLAGS: u64 = 1 << 1 | 1 << 3;

/// TCR_EL1 but for IPS, AS and E0PD1, which follow the ID registers: 48-bit halves, 4K granule, tables in
/// write-back inner shareable memory, ASID in TTBR0 (A1 clear), no hardware access flag or dirty state.
const TCR: u64 = {
    let (t0sz, t1sz) = (16, 16 << 16);
    let walks = 0b01 << 8 | 0b01 << 10 | 0b11 << 12;
    let tg1_4k = 0b10 << 30;
    t0sz | t1sz | walks | walks << 16 | tg1_4k
};

/// SCTLR_EL1. M, C, SA, SA0, I, WXN are on; EL0 may zero and clean cache lines, read CTR_EL0 and wait (DZE, UCT,
/// nTWI, nTWE, UCI), as under Linux; ITD, SED, EOS, TSCXT, EIS, nTLSMD, LSMAOE are RES1 where they are not implemented.
/// SPAN is clear: an exception to EL1 sets PAN.
const SCTLR: u64 =
    bits(&[0, 2, 3, 4, 12, 19]) | bits(&[14, 15, 16, 18, 26]) | bits(&[7, 8, 11, 20, 22, 28, 29]);

const fn bits(numbers: &[u32]) -> u64 {
    let (mut value, mut at) = (0, 0);
    while at < numbers.len() {
        value |= 1 << numbers[at];
        at += 1;
    }
    value
}

const BLOCK_RW: u64 = Desc::leaf(PhysAddr::new(0), Level::L2, PteFlags::KERNEL_RW).raw();
const BLOCK_RX: u64 = Desc::leaf(PhysAddr::new(0), Level::L2, PteFlags::KERNEL_RX).raw();
const BLOCK_RX_IDENTITY: u64 = BLOCK_RX | PteFlags::NOT_GLOBAL.bits();

/// One translation table.
#[repr(C, align(4096))]
struct Table(UnsafeCell<[u64; ENTRIES_PER_TABLE]>);
// SAFETY: written by the assembly below before any Rust code runs, and afterwards through the linear map by
// `PhysMem::write_desc` only.
unsafe impl Sync for Table {}

impl Table {
    const fn empty() -> Self {
        Table(UnsafeCell::new([0; ENTRIES_PER_TABLE]))
    }
}

// In .data, not .bss: they are filled before .bss is cleared, and the image brings them as zeros.
#[unsafe(link_section = ".data.early_tables")]
static IDENTITY: [Table; 3] = [const { Table::empty() }; 3];
#[unsafe(link_section = ".data.early_tables")]
static KERNEL_ROOT: Table = Table::empty();
#[unsafe(link_section = ".data.early_tables")]
static LINEAR_L1: Table = Table::empty();
#[unsafe(link_section = ".data.early_tables")]
static IMAGE_L1: Table = Table::empty();
#[unsafe(link_section = ".data.early_tables")]
static IMAGE_L2: Table = Table::empty();
#[unsafe(link_section = ".data.early_tables")]
static EMPTY: Table = Table::empty();

/// The slot of the early device block in the image's level-2 table: its last one.
const DEVICE_SLOT: usize = ENTRIES_PER_TABLE - 1;

/// The table of a half that maps nothing.
pub(super) fn empty_root() -> PhysAddr {
    image::phys_of_static(&EMPTY)
}

/// The root that maps the code in `.idmap.text` at its physical address.
pub(super) fn identity_root() -> PhysAddr {
    image::phys_of_static(&IDENTITY)
}

/// Maps the 2 MiB of device registers around `pa` in the early tables and returns the address of `pa` there.
/// Only before the first [`Mmu::set_kernel_root`], and for one device.
#[must_use]
pub fn map_early_device(pa: PhysAddr) -> VirtAddr {
    let block = pa.align_down(Level::L2.entry_bytes());
    let slot = image::phys_of_static(&IMAGE_L2).add(DEVICE_SLOT as u64 * 8);
    Machine::write_desc(slot, Desc::leaf(block, Level::L2, PteFlags::KERNEL_DEVICE));
    Machine::dsb(Dsb::IshSt);
    Machine::isb();
    IMAGE_BASE.add(DEVICE_SLOT as u64 * Level::L2.entry_bytes()).add(pa.offset_from(block))
}

/// The GiB that the early tables map in the linear map whatever stands there: that of the image.
#[must_use]
pub fn early_linear() -> core::ops::Range<PhysAddr> {
    let start = image::loaded_at().align_down(Level::L1.entry_bytes());
    start..start.add(Level::L1.entry_bytes())
}

/// Whether the early tables map a device tree at `pa`.
#[must_use]
pub fn device_tree_in_reach(pa: PhysAddr) -> bool {
    pa.raw() >> Level::L0.shift() == image::loaded_at().raw() >> Level::L0.shift()
}

/// What a further CPU starts with. It is read with the MMU off.
#[repr(C)]
struct Entry {
    kernel_root: AtomicU64,
    stack_top: AtomicU64,
    block: AtomicU64,
    continue_at: AtomicU64,
}

static ENTRY: Entry = Entry {
    kernel_root: AtomicU64::new(0),
    stack_top: AtomicU64::new(0),
    block: AtomicU64::new(0),
    continue_at: AtomicU64::new(0),
};

/// Starts the CPU with this affinity as `cpu`: on the present kernel root and the stack that ends at `stack_top`, it
/// goes on at `continue_at`, which begins with [`init_further_cpu`]. One at a time: the next call comes once the
/// CPU runs there.
///
/// # Errors
/// What the firmware says.
pub fn start_cpu(
    conduit: Conduit,
    affinity: Affinity,
    cpu: CpuId,
    stack_top: VirtAddr,
    continue_at: extern "C" fn() -> !,
) -> Result<(), smccc::psci::error::Error> {
    // SAFETY: the label below; only its address is taken.
    unsafe extern "C" {
        static further_cpu: u8;
    }
    ENTRY.kernel_root.store(Machine::kernel_root().raw(), Ordering::Relaxed);
    ENTRY.stack_top.store(stack_top.raw(), Ordering::Relaxed);
    ENTRY.block.store((&raw const BLOCKS[cpu.index()]).addr() as u64, Ordering::Relaxed);
    ENTRY.continue_at.store(continue_at as *const () as u64, Ordering::Relaxed);
    clean_to_memory(&ENTRY);
    let entry = image::phys_of_static(&raw const further_cpu);
    conduit.start_cpu(affinity, entry, image::phys_of_static(&raw const ENTRY))
}

/// Writes the cache lines of `object` back to memory, where a CPU sees it that has its MMU still off.
fn clean_to_memory<T>(object: &T) {
    let start = core::ptr::from_ref(object).addr();
    // 16 bytes is the smallest line that CTR_EL0.DminLine can say with a word of 4 bytes and DminLine 2.
    for line in (start & !15..start + size_of::<T>()).step_by(16) {
        // SAFETY: cleaning a line changes no memory that a CPU sees; the address is mapped.
        unsafe { core::arch::asm!("dc cvac, {}", in(reg) line, options(nostack, preserves_flags)) };
    }
    Machine::dsb(Dsb::Ish);
}

// SAFETY: the crate `kernel` defines it with this signature; it is safe to call, once, from here.
unsafe extern "Rust" {
    /// The kernel's own beginning, on the boot stack with the early tables: given the physical address of the
    /// device tree, or zero. Defined by the crate `kernel`.
    safe fn kernel_main(device_tree: PhysAddr) -> !;
}

/// CurrentEL as the first CPU found it.
static ENTERED_AT: AtomicU64 = AtomicU64::new(0);

/// The exception level at which the kernel was entered: 1 or 2.
#[must_use]
pub fn entered_at() -> u64 {
    ENTERED_AT.load(Ordering::Relaxed) >> 2
}

/// The first Rust code that runs.
extern "C" fn start(device_tree: u64, loaded_at: u64, current_el: u64) -> ! {
    image::set_loaded_at(PhysAddr::new(loaded_at));
    ENTERED_AT.store(current_el, Ordering::Relaxed);
    set_emergency_stack(CpuId::BOOT, VirtAddr::new((&raw const EMERGENCY).addr() as u64).add(STACK_BYTES));
    vectors::install();
    super::cpu::init_this_cpu();
    kernel_main(PhysAddr::new(device_tree))
}

/// What every further CPU does first; called by the kernel at the place that [`start_cpu`] was given.
pub fn init_further_cpu() {
    vectors::install();
    super::cpu::init_this_cpu();
}

/// A kernel stack in the image.
#[repr(C, align(65536))]
struct Stack(UnsafeCell<[u8; STACK_BYTES as usize]>);
// SAFETY: one CPU stands on it; nobody names its bytes.
unsafe impl Sync for Stack {}
const _: () = assert!(align_of::<Stack>() as u64 == 2 * STACK_BYTES);

/// The stack of the CPU that boots. `linker.ld` puts it first in the data segment, so that what stands below it is
/// the read-only end of the text segment, in the early tables and in the final ones: an overflow faults.
#[unsafe(link_section = ".data.boot_stack")]
static BOOT_STACK: Stack = Stack(UnsafeCell::new([0; STACK_BYTES as usize]));

/// Where the CPU that boots reports an overflow of its stack.
static EMERGENCY: Stack = Stack(UnsafeCell::new([0; STACK_BYTES as usize]));

/// The range of the boot stack.
#[must_use]
pub fn boot_stack() -> core::ops::Range<VirtAddr> {
    let base = VirtAddr::new((&raw const BOOT_STACK).addr() as u64);
    base..base.add(STACK_BYTES)
}

global_asm!(
    r#"
    .section .head.text, "ax"
    .global _start
_start:
    b       first_cpu
    .long   0
    .quad   0                           // text_offset: at a multiple of 2 MiB itself
    .quad   __image_bytes               // image_size
    .quad   {header_flags}
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

    .section .idmap.text, "ax"

// \reg := physical address of \symbol, while the program counter is physical.
    .macro  here, reg, symbol
    adrp    \reg, \symbol
    add     \reg, \reg, :lo12:\symbol
    .endm

// Stores into \table, at the index of \address (bits \shift and up), a table descriptor for \next.
    .macro  link_table, table, next, address, shift, t1, t2
    ubfx    \t1, \address, #\shift, #9
    orr     \t2, \next, #3
    str     \t2, [\table, \t1, lsl #3]
    .endm

// Stores into \table, at the index of \address, a block at \address with \attributes.
    .macro  link_block, table, address, shift, attributes, t1, t2
    lsr     \t2, \address, #\shift
    and     \t1, \t2, #0x1ff
    lsl     \t2, \t2, #\shift
    orr     \t2, \t2, \attributes
    str     \t2, [\table, \t1, lsl #3]
    .endm

first_cpu:
    mov     x21, x0                     // device tree
    mrs     x22, CurrentEL
    here    x20, _start                 // image
    bl      drop_to_el1
    bl      make_early_tables
    here    x0, {identity}
    here    x1, {kernel_root}
    bl      translation_on
    ldr     x9, =first_cpu_high
    br      x9

// x20 image, x21 device tree, both physical.
make_early_tables:
    ldr     x10, ={block_rw}
    ldr     x11, ={block_rx}
    ldr     x12, ={block_rx_identity}

    // The identity: three levels, one block.
    here    x0, {identity}
    add     x1, x0, #4096
    add     x2, x1, #4096
    link_table x0, x1, x20, 39, x3, x4
    link_table x1, x2, x20, 30, x3, x4
    link_block x2, x20, 21, x12, x3, x4

    // The linear map: LINEAR_BASE has index 0 at level 0.
    here    x0, {kernel_root}
    here    x1, {linear_l1}
    link_table x0, x1, x20, 39, x3, x4
    link_block x1, x20, 30, x10, x3, x4
    lsr     x3, x20, #39
    lsr     x4, x21, #39
    cmp     x3, x4
    b.ne    1f
    cbz     x21, 1f
    link_block x1, x21, 30, x10, x3, x4

    // The image.
1:  here    x2, {image_l1}
    here    x3, {image_l2}
    ldr     x5, ={image_base}
    link_table x0, x2, x5, 39, x6, x7
    link_table x2, x3, x5, 30, x6, x7
    here    x6, __data_start            // where blocks become writable
    ldr     x8, =__image_bytes
    add     x7, x20, x8                 // end of the image
    mov     x8, x20
2:  cmp     x8, x6
    csel    x9, x11, x10, lo
    orr     x9, x9, x8
    str     x9, [x3], #8
    add     x8, x8, #0x200000
    cmp     x8, x7
    b.lo    2b

    // What was stored around the cache must not be hidden by a stale line (B2.8.1).
    dmb     sy
    here    x0, __early_tables_start
    here    x1, __early_tables_end
3:  dc      ivac, x0
    add     x0, x0, #16
    cmp     x0, x1
    b.lo    3b
    dsb     sy
    ret

// x0: TTBR0, x1: TTBR1, both physical. Returns with translation on, still at physical addresses.
translation_on:
    ldr     x9, ={mair}
    msr     mair_el1, x9
    ldr     x9, ={tcr}
    mrs     x10, id_aa64mmfr0_el1
    ubfx    x11, x10, #0, #4            // PARange: at most 48 bits with 4K pages
    mov     x12, #5
    cmp     x11, x12
    csel    x11, x11, x12, lo
    bfi     x9, x11, #32, #3            // IPS
    ubfx    x11, x10, #4, #4            // ASIDBits
    cmp     x11, #2
    cset    x11, eq
    bfi     x9, x11, #36, #1            // AS
    mrs     x10, S3_0_C0_C7_2           // ID_AA64MMFR2_EL1
    ubfx    x11, x10, #60, #4           // E0PD
    cmp     x11, #0
    cset    x11, ne
    bfi     x9, x11, #56, #1            // E0PD1: EL0 faults on the kernel's half without a walk
    msr     tcr_el1, x9
    msr     ttbr0_el1, x0
    msr     ttbr1_el1, x1
    isb
"#,
    flush_this_cpu!(),
    r#"
    ic      iallu
    dsb     nsh
    isb
    ldr     x9, ={sctlr}
    msr     sctlr_el1, x9
    isb
    ret

    .global further_cpu
further_cpu:
    mov     x21, x0
    bl      drop_to_el1
    ldp     x1, x22, [x21, #{entry_root}]
    ldp     x23, x24, [x21, #{entry_block}]
    here    x0, {identity}
    bl      translation_on
    ldr     x9, =further_cpu_high
    br      x9

// Replaces TTBR1 by way of an empty half, so that the two sets of tables, whose blocks may differ in size, are
// never in a TLB together. x0: new root, x1: identity root, x2: empty root, x3: physical - virtual address of
// the image. Interrupts are masked; no stack is touched.
    .global replace_kernel_root
replace_kernel_root:
    mrs     x4, ttbr0_el1
    msr     ttbr0_el1, x1
    isb
    adr     x5, 1f
    add     x5, x5, x3
    adr     x6, 2f
    br      x5
1:  msr     ttbr1_el1, x2
    isb
"#,
    flush_this_cpu!(),
    r#"
    msr     ttbr1_el1, x0
    isb
    br      x6
2:  msr     ttbr0_el1, x4
    isb
"#,
    flush_this_cpu!(),
    r#"
    ret
    .ltorg

    .section .text.boot, "ax"
first_cpu_high:
    ldr     x9, ={boot_stack}
    add     sp, x9, #{stack_bytes}
    ldr     x9, ={blocks}
    msr     tpidr_el1, x9
    ldr     x9, =__bss_start
    ldr     x10, =__bss_end
1:  cmp     x9, x10
    b.hs    2f
    stp     xzr, xzr, [x9], #16
    b       1b
2:  mov     x0, x21
    mov     x1, x20
    mov     x2, x22
    mov     x29, xzr
    mov     x30, xzr
    b       {start}

further_cpu_high:
    mov     sp, x22
    msr     tpidr_el1, x23
    mov     x29, xzr
    mov     x30, xzr
    br      x24
    .ltorg
"#,
    header_flags = const HEADER_FLAGS,
    identity = sym IDENTITY,
    kernel_root = sym KERNEL_ROOT,
    linear_l1 = sym LINEAR_L1,
    image_l1 = sym IMAGE_L1,
    image_l2 = sym IMAGE_L2,
    image_base = const IMAGE_BASE.raw(),
    block_rw = const BLOCK_RW,
    block_rx = const BLOCK_RX,
    block_rx_identity = const BLOCK_RX_IDENTITY,
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR,
    entry_root = const core::mem::offset_of!(Entry, kernel_root),
    entry_block = const core::mem::offset_of!(Entry, block),
    boot_stack = sym BOOT_STACK,
    stack_bytes = const STACK_BYTES,
    blocks = sym BLOCKS,
    start = sym start,
);

// What the assembly takes for granted.
const _: () = assert!(LINEAR_BASE.index(Level::L0) == 0);
const _: () =
    assert!(core::mem::offset_of!(Entry, stack_top) == core::mem::offset_of!(Entry, kernel_root) + 8);
const _: () = assert!(core::mem::offset_of!(Entry, continue_at) == core::mem::offset_of!(Entry, block) + 8);
const _: () = assert!(layout::IMAGE_BASE.is_aligned(Level::L1.entry_bytes()));
const _: () = assert!(PAGE_SIZE == 4096);
