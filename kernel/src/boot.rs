//! From the first Rust instruction to the first thread.
//!
//! ```text
//! early tables, boot stack:  device tree -> UART -> heap -> boot arguments -> Mm::boot
//! final tables, boot stack:  devices -> interrupts -> this CPU joins the scheduler -> other CPUs -> first thread
//! ```
//! Whatever goes wrong before there is a console is said through semihosting. The boot stack becomes the idle thread of
//! this CPU.

use core::fmt::Write;

use arch::aarch64::{boot as machine_boot, gic, image, semihost};
use arch::layout::linear;
use arch::{Machine, PhysAddr};
use arrayvec::{ArrayString, ArrayVec};
use mm::Mm;
use mm::boot::{BootMem, ImageSection, PhysRange};
use mm::config::{MmConfig, Parsed};
use spin::Once;

use crate::descriptors::mappable;
use crate::dt::{self, Platform};
use crate::env::ENV;
use crate::{cpu, heap, initrd, irq, log, power, println, sched, trap, uart};

static MM: Once<Mm> = Once::new();
static PLATFORM: Once<Platform> = Once::new();

/// All memory management, once it is up.
///
/// # Panics
/// Before [`Mm::boot`] has returned.
pub fn the_mm() -> &'static Mm {
    MM.get().unwrap_or_else(|| panic!("memory management is used before it is up"))
}

/// As [`the_mm`], for who may come before it is up.
pub fn mm_once_up() -> Option<&'static Mm> {
    MM.get()
}

/// The boot arguments, as they were given.
pub fn arguments() -> &'static str {
    PLATFORM.get().map_or("", |platform| platform.boot_args)
}

/// CPUs of the machine, whether they are up or not.
pub fn cpu_count() -> usize {
    PLATFORM.get().map_or(1, |platform| platform.cpus.len() + platform.cpus_left_off)
}

/// Called by `arch` on the boot stack, interrupts masked, with the physical address of the device tree.
#[unsafe(no_mangle)]
extern "Rust" fn kernel_main(device_tree: PhysAddr) -> ! {
    trap::init();
    let platform = match dt::read(device_tree) {
        Ok(platform) => PLATFORM.call_once(|| platform),
        Err(error) => refuse(&error),
    };
    uart::init(machine_boot::map_early_device(platform.uart.start), platform.uart_clock);
    log::init();
    println!("Quire {}", env!("CARGO_PKG_VERSION"));
    println!("  entered   at EL{}, loaded at {}", machine_boot::entered_at(), image::loaded_at());
    heap::init();
    let config = config(platform.boot_args);
    // One copy of `Mm` on the stack, not two, which would be too many.
    let mm = match MM.try_call_once(|| boot_mm(platform, config)) {
        Ok(mm) => mm,
        Err(error) => {
            println!("error: memory management cannot boot: {error}");
            power::off(power::REFUSED)
        }
    };
    if heap::use_pages_of(mm).is_err() {
        panic!("no memory for the kernel heap");
    }
    if let Err(error) = use_devices(mm, platform) {
        panic!("the interrupt controller cannot be used: {error}");
    }
    sched::init_boot_cpu();
    cpu::start_others(mm, platform);
    use_initrd(platform);
    if let Err(error) = sched::spawn("main", crate::session::main) {
        panic!("the first thread cannot be started: {error}");
    }
    Machine::unmask_irqs();
    sched::idle_loop()
}

/// There is no console yet, and never will be.
fn refuse(error: &dt::DtError) -> ! {
    let mut words: ArrayString<160> = ArrayString::new();
    // A sentence that is cut is still better than none.
    let _cut = write!(words, "quire: {error}");
    let mut text = [0; 162];
    text[..words.len()].copy_from_slice(words.as_bytes());
    text[words.len()] = b'\n';
    if let Ok(text) = core::ffi::CStr::from_bytes_until_nul(&text) {
        semihost::write(text);
    }
    power::off(power::REFUSED)
}

/// The boot choices of memory management; a value that is not permitted is reported and not taken.
fn config(arguments: &str) -> MmConfig {
    let mut config = MmConfig::default();
    for (key, value) in arguments.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, ""))) {
        match config.parse(key, value) {
            Ok(Parsed::Taken | Parsed::NotOurs) => {}
            Err(error) => println!("error: {error}; it stays as it is"),
        }
    }
    config
}

fn boot_mm(platform: &Platform, config: MmConfig) -> Result<Mm, mm::boot::BootError> {
    let sections = image::sections().map(|section| ImageSection {
        va: section.start,
        pa: image::phys_of(section.start),
        bytes: section.end.offset_from(section.start),
        flags: section.flags,
    });
    let loaded = image::loaded_at();
    let mut reserved: ArrayVec<PhysRange, { dt::MAX_RANGES + 1 }> =
        platform.reserved.iter().copied().collect();
    reserved.push(PhysRange { start: loaded, end: loaded.add(image::bytes()) });
    let early = machine_boot::early_linear();
    let boot = BootMem {
        ram: &platform.memory,
        reserved: &reserved,
        image: &sections,
        mapped: PhysRange { start: early.start, end: early.end },
    };
    Mm::boot(&boot, config, &ENV)
}

/// Why a device cannot be used.
type DeviceError = gic::Error;

/// Maps the devices in the final tables, and sets interrupts up on this CPU.
fn use_devices(mm: &Mm, platform: &Platform) -> Result<(), DeviceError> {
    let map = |range: PhysRange| {
        mm.map_device(range.start, range.end.offset_from(range.start))
            .unwrap_or_else(|error| panic!("the device at {range} cannot be mapped: {error}"))
    };
    uart::use_registers(map(platform.uart));
    mappable::make(mm, platform.uart.start.pfn());
    let redistributors = platform.redistributors;
    let (distributor, base) = (map(platform.distributor), map(redistributors));
    let bytes = redistributors.end.offset_from(redistributors.start);
    // SAFETY: the device tree's addresses of the controller, mapped as device memory for ever, for this call alone.
    unsafe { gic::init(distributor, base, bytes)? };
    irq::init_boot_cpu(platform.timer, platform.uart_interrupt)
}

/// The initrd stays where the boot loader put it, and is read through the linear map.
fn use_initrd(platform: &Platform) {
    let Some(range) = platform.initrd else { return };
    let at = core::ptr::with_exposed_provenance::<u8>(linear(range.start).raw() as usize);
    // SAFETY: RAM that the device tree gives to the initrd; it is reserved, so nobody else ever gets it.
    let bytes = unsafe { core::slice::from_raw_parts(at, range.end.offset_from(range.start) as usize) };
    if initrd::set(bytes).is_err() {
        println!("error: the initrd at {range} is not a tar archive: there are no programs");
    }
}
