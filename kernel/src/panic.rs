//! The end of the kernel: reason, registers, backtrace, exit status [`power::PANICKED`].
//!
//! ```text
//! panic: kernel/src/crash.rs:20: ...            the reason
//!   on CPU 1
//!   pc  0xffffffff80012345  sp  ...             registers, where there is a trap frame
//!   #0 0xffffffff80012345                       one line a frame: the runner adds names
//! ```
//! The other CPUs are asked to stop. No lock is taken: its holder may be the one that panics.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicUsize, Ordering};

use arch::aarch64::trap::Fatal;
use arch::aarch64::vectors::TrapFrame;
use arch::contract::{Cpu, Privilege};
use arch::{Access, Machine, Mmu, VirtAddr};

use crate::{irq, power, stop, uart};

/// Frames that a backtrace shows: an overflow would show thousands.
const MAX_FRAMES: usize = 32;
/// Turns that the other CPUs get to stop.
const PATIENCE: usize = 100_000;

/// The CPU that panics, plus one; 0 while none does.
static PANICKING: AtomicUsize = AtomicUsize::new(0);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut out = begin();
    let reason = match info.location() {
        Some(at) => write!(out, "\npanic: {}:{}: {}\n", at.file(), at.line(), info.message()),
        None => write!(out, "\npanic: {}\n", info.message()),
    };
    let cpu = writeln!(out, "  on CPU {}", Machine::id());
    let trace = backtrace(&mut out, 0, Machine::frame_pointer());
    end(reason.and(cpu).and(trace))
}

/// An exception that the kernel cannot go on after.
pub fn exception(frame: &TrapFrame, why: Fatal) -> ! {
    match why {
        Fatal::Kernel(class) => interrupted(frame, format_args!("kernel {class}, address {:#x}", frame.far)),
        Fatal::StackOverflow => interrupted(frame, format_args!("kernel stack overflow: sp {:#x}", frame.sp)),
        Fatal::Vector(vector, class) => interrupted(frame, format_args!("unexpected {vector} ({class})")),
    }
}

/// What was interrupted here is not gone on with, for this reason.
pub fn interrupted(frame: &TrapFrame, reason: fmt::Arguments<'_>) -> ! {
    let mut out = begin();
    let reason = write!(out, "\npanic: {reason}\n");
    let cpu = writeln!(out, "  on CPU {}\n{frame}", Machine::id());
    let first = writeln!(out, "  #0 {:#x}", frame.elr);
    let trace = backtrace(&mut out, 1, frame.x[29] as usize);
    end(reason.and(cpu).and(first).and(trace))
}

/// Where a panic prints to: the UART without its lock, or nothing where the UART is not mapped.
struct Output(Option<uart::Console>);

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.as_mut().map_or(Ok(()), |console| console.write_str(text))
    }
}

/// One CPU panics: a second one stops, and a panic within the panic ends the machine at once.
fn begin() -> Output {
    let _masked = Machine::mask_irqs();
    let me = Machine::id().index() + 1;
    match PANICKING.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire) {
        Err(first) if first == me => power::off(power::PANICKED),
        Err(_) => Machine::halt(),
        Ok(_) => {}
    }
    if stop::online_cpus() > 1 {
        irq::stop_others();
        (0..PATIENCE).for_each(|_| Machine::relax());
    }
    Output(uart::panic_console())
}

/// The end, whether or not all could be printed.
fn end(_printed: fmt::Result) -> ! {
    power::off(power::PANICKED)
}

/// Prints return addresses from the chain of frame records that begins at `fp`, numbered from `number`. A record is
/// read only where the tables map it, and the walk is bounded, so a broken chain does no harm.
fn backtrace(out: &mut Output, number: usize, mut fp: usize) -> fmt::Result {
    for number in number..MAX_FRAMES {
        let Some((next, address)) = record(fp) else { break };
        if address == 0 {
            break;
        }
        writeln!(out, "  #{number} {address:#x}")?;
        fp = next;
    }
    Ok(())
}

/// The frame record at `fp`: the caller's record and the return address.
fn record(fp: usize) -> Option<(usize, usize)> {
    let va = VirtAddr::new(fp as u64);
    let mapped = || Machine::translate(va, Access::Read, Privilege::Kernel).is_ok();
    if !va.is_kernel() || !va.is_aligned(16) || !mapped() {
        return None;
    }
    let record = core::ptr::with_exposed_provenance::<[usize; 2]>(fp);
    // SAFETY: 16 aligned bytes of a mapped page of the kernel; any value is a pair of numbers.
    let [next, address] = unsafe { record.read_volatile() };
    Some((next, address))
}
