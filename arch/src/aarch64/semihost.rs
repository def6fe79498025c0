//! Semihosting: the exit status for whoever started the machine, and words when there is no console yet.

use core::ffi::CStr;

use semihosting::sys::arm_compat::sys_write0;

/// Ends the machine with `status` (0..=255; 0 is success).
pub fn exit(status: u8) -> ! {
    semihosting::process::exit(i32::from(status))
}

/// Writes to the host's own console. Slow; for the time before the UART is known.
pub fn write(text: &CStr) {
    sys_write0(text);
}
