//! The PL011: output by polling, input by interrupt into a ring that a thread may wait on.
//!
//! ```text
//! interrupt -> drain the FIFO -> RING -> unpark -> read_byte
//! println!  -> CONSOLE (rank 90) -> wait for room in the FIFO -> store
//! ```
//! The early tables map the registers at one place, the final ones at another; [`Uart`] is made anew for
//! each ([`use_registers`]).

use core::fmt::{self, Write};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::aarch64::gic::{self, Interrupt};
use arch::contract::Privilege;
use arch::sync::{Rank, SpinLock};
use arch::{Access, Machine, Mmu, VirtAddr};
use arm_pl011_uart::{
    DataBits, Interrupts, LineConfig, PL011Registers, Parity, StopBits, Uart, UniqueMmioPointer,
};

use crate::sched;

const BAUD: u32 = 115_200;

/// The output side. Its rank is the highest, so that anybody may print.
static CONSOLE: SpinLock<Option<Console>> = SpinLock::new(mm::locks::CONSOLE, None);
/// The input side: bytes that nobody has read yet. Below the console, above the scheduler, whose lock is held
/// while a reader that is about to sleep looks at it.
static RING: SpinLock<Ring> = SpinLock::new(Rank(86), Ring::EMPTY);
/// Where the registers stand, for a panic that cannot have the lock.
static REGISTERS: AtomicU64 = AtomicU64::new(0);

/// The UART as something to write text to.
pub struct Console(Uart<'static>);

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.put(byte));
        Ok(())
    }
}

impl Console {
    fn at(registers: VirtAddr) -> Option<Console> {
        let pointer = core::ptr::with_exposed_provenance_mut::<PL011Registers>(registers.raw() as usize);
        // SAFETY: callers give the address of the PL011's registers, mapped as device memory. A second instance is
        // made only for a new mapping, which replaces the first, and in a panic, when no other CPU runs.
        NonNull::new(pointer).map(|pointer| Console(Uart::new(unsafe { UniqueMmioPointer::new(pointer) })))
    }

    /// Sends one byte, once there is room.
    fn put(&mut self, byte: u8) {
        while self.0.is_tx_fifo_full() {
            core::hint::spin_loop();
        }
        self.0.write_word(byte);
    }
}

/// Sets the UART up, which empties its FIFO: what was typed before is lost. `registers` is where they are mapped,
/// `clock` its input clock in Hz.
pub fn init(registers: VirtAddr, clock: u32) {
    use_registers(registers);
    let mut console = CONSOLE.lock();
    let Some(Console(uart)) = console.as_mut() else { return };
    uart.set_interrupt_masks(Interrupts::empty());
    let line = LineConfig { data_bits: DataBits::Bits8, parity: Parity::None, stop_bits: StopBits::One };
    // A clock that cannot make this rate leaves the rate that the firmware chose.
    let _ = uart.enable(line, BAUD, clock);
}

/// Goes on with the registers mapped at another address.
pub fn use_registers(registers: VirtAddr) {
    *CONSOLE.lock() = Console::at(registers);
    REGISTERS.store(registers.raw(), Ordering::Release);
}

/// Runs `f` on the console; nothing happens before [`init`].
pub fn with_console(f: impl FnOnce(&mut Console) -> fmt::Result) -> fmt::Result {
    CONSOLE.lock().as_mut().map_or(Ok(()), f)
}

/// The console for a panic: no lock, as its holder may never run again. `None` where the registers are not mapped, as
/// between the early tables and the final ones.
pub fn panic_console() -> Option<Console> {
    let registers = VirtAddr::new(REGISTERS.load(Ordering::Acquire));
    Machine::translate(registers, Access::Write, Privilege::Kernel).ok()?;
    Console::at(registers)
}

/// Writes bytes as they are.
pub fn write_bytes(bytes: &[u8]) {
    if let Some(console) = CONSOLE.lock().as_mut() {
        bytes.iter().for_each(|&byte| console.put(byte));
    }
}

/// Bytes that were received and not read.
struct Ring {
    bytes: [u8; Ring::SIZE],
    read: usize,
    len: usize,
}

impl Ring {
    const SIZE: usize = 1024;
    const EMPTY: Ring = Ring { bytes: [0; Ring::SIZE], read: 0, len: 0 };

    fn is_full(&self) -> bool {
        self.len == Ring::SIZE
    }

    fn push(&mut self, byte: u8) {
        self.bytes[(self.read + self.len) % Ring::SIZE] = byte;
        self.len += 1;
    }

    fn pop(&mut self) -> Option<u8> {
        if self.len == 0 {
            return None;
        }
        let byte = self.bytes[self.read];
        self.read = (self.read + 1) % Ring::SIZE;
        self.len -= 1;
        Some(byte)
    }
}

const RECEIVE: Interrupts = Interrupts::RXI.union(Interrupts::RTI);

/// What readers wait on.
pub fn key() -> usize {
    (&raw const RING).addr()
}

/// Lets receive interrupts in.
///
/// # Errors
/// What the interrupt controller says.
pub fn enable_receive(interrupt: Interrupt) -> Result<(), gic::Error> {
    if let Some(Console(uart)) = CONSOLE.lock().as_mut() {
        uart.set_interrupt_masks(RECEIVE);
    }
    gic::enable_device(interrupt)
}

/// The receive interrupt. A full ring masks it: what the FIFO cannot hold then waits in the sender.
pub fn on_interrupt() {
    {
        let mut ring = RING.lock();
        drain(&mut ring);
    }
    sched::unpark_all(key());
}

/// FIFO to ring. The interrupt is level triggered: it goes away with the last byte, or with the mask.
fn drain(ring: &mut Ring) {
    let mut console = CONSOLE.lock();
    let Some(Console(uart)) = console.as_mut() else { return };
    // First the interrupt, then the bytes: a byte that comes in between raises it again. The other way round its
    // interrupt would be cleared with the byte still in the FIFO, and QEMU raises no other until that is read.
    uart.clear_interrupts(RECEIVE);
    while !ring.is_full() {
        match uart.read_word() {
            Ok(Some(byte)) => ring.push(byte),
            Ok(None) => break,
            // A byte that came in broken is dropped, as are those that an overrun lost.
            Err(_) => {}
        }
    }
    uart.set_interrupt_masks(if ring.is_full() { Interrupts::empty() } else { RECEIVE });
}

/// The next byte that was received, if there is one.
pub fn try_read_byte() -> Option<u8> {
    let mut ring = RING.lock();
    let was_full = ring.is_full();
    let byte = ring.pop();
    if was_full {
        drain(&mut ring);
    }
    byte
}

/// Whether nothing was received that nobody has read yet.
pub fn is_empty() -> bool {
    RING.lock().len == 0
}

/// The next byte that was received; sleeps until there is one.
pub fn read_byte() -> u8 {
    loop {
        match try_read_byte() {
            Some(byte) => return byte,
            None => sched::park(key(), &is_empty),
        }
    }
}
