//! Exceptions of the kernel, each to who handles it. Those of EL0 are `process::user`'s.
#![forbid(unsafe_code)]

use arch::aarch64::trap::{Handlers, set_handlers};

use crate::process::user;
use crate::{irq, panic, vmemmap};

/// Takes every exception from now on.
pub fn init() {
    static HANDLERS: Handlers = Handlers {
        user_copy: user::copy_fault,
        kernel_data: vmemmap::fault,
        irq: irq::handle,
        fatal: panic::exception,
    };
    set_handlers(&HANDLERS);
}
