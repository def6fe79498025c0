//! Linux's error numbers (asm-generic).
#![forbid(unsafe_code)]

use mm::pin::PinError;
use mm::space::MmapError;

/// An error number, positive; a system call returns it negated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(i32);

impl Errno {
    /// No such file or directory.
    pub const NOENT: Errno = Errno(2);
    /// No such process.
    pub const SRCH: Errno = Errno(3);
    /// Input/output error.
    pub const IO: Errno = Errno(5);
    /// Interrupted system call.
    pub const INTR: Errno = Errno(4);
    /// Bad file descriptor.
    pub const BADF: Errno = Errno(9);
    /// No child processes.
    pub const CHILD: Errno = Errno(10);
    /// Try again.
    pub const AGAIN: Errno = Errno(11);
    /// Out of memory.
    pub const NOMEM: Errno = Errno(12);
    /// Permission denied.
    pub const ACCES: Errno = Errno(13);
    /// Bad address.
    pub const FAULT: Errno = Errno(14);
    /// Device or resource busy.
    pub const BUSY: Errno = Errno(16);
    /// No such device.
    pub const NODEV: Errno = Errno(19);
    /// Not a directory.
    pub const NOTDIR: Errno = Errno(20);
    /// Invalid argument.
    pub const INVAL: Errno = Errno(22);
    /// Too many open files.
    pub const MFILE: Errno = Errno(24);
    /// Inappropriate ioctl for device.
    pub const NOTTY: Errno = Errno(25);
    /// File too large.
    pub const FBIG: Errno = Errno(27);
    /// Illegal seek.
    pub const SPIPE: Errno = Errno(29);
    /// Broken pipe.
    pub const PIPE: Errno = Errno(32);
    /// File name too long.
    pub const NAMETOOLONG: Errno = Errno(36);
    /// Function not implemented.
    pub const NOSYS: Errno = Errno(38);

    /// No data available.
    pub const NODATA: Errno = Errno(61);

    /// What the system call returns in x0.
    pub const fn code(self) -> i64 {
        -(self.0 as i64)
    }
}

impl From<mm::space::Errno> for Errno {
    fn from(number: mm::space::Errno) -> Self {
        Errno(number as i32)
    }
}

impl From<PinError> for Errno {
    fn from(error: PinError) -> Self {
        Errno(error.errno() as i32)
    }
}

impl From<MmapError> for Errno {
    fn from(error: MmapError) -> Self {
        Errno(error.errno() as i32)
    }
}
