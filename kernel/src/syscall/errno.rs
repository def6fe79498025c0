//! Linux's error numbers (asm-generic), as far as they are used.
#![forbid(unsafe_code)]

/// An error number; a system call returns it negated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
pub enum Errno {
    /// Bad file descriptor.
    Badf = 9,
    /// Bad address.
    Fault = 14,
    /// Invalid argument.
    Inval = 22,
    /// Function not implemented.
    Nosys = 38,
}

impl Errno {
    /// What the system call returns in x0.
    pub const fn code(self) -> i64 {
        -(self as i64)
    }
}
