//! Linux's error numbers (asm-generic).
#![forbid(unsafe_code)]

use mm::space::MmapError;

/// An error number, positive; a system call returns it negated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(i32);

impl Errno {
    /// Bad file descriptor.
    pub const BADF: Errno = Errno(9);
    /// Bad address.
    pub const FAULT: Errno = Errno(14);
    /// Invalid argument.
    pub const INVAL: Errno = Errno(22);
    /// Function not implemented.
    pub const NOSYS: Errno = Errno(38);

    /// What the system call returns in x0.
    pub const fn code(self) -> i64 {
        -(self.0 as i64)
    }
}

impl From<MmapError> for Errno {
    fn from(error: MmapError) -> Self {
        Errno(error.errno() as i32)
    }
}
