//! What userfaultfd opens: a context of the process that opened it, for whoever has the descriptor.
//!
//! A fork's child that has the descriptor serves the faults of its parent, as on Linux: the context is that of the
//! space in which it was made. The last descriptor that is closed ends the context, and a source that it has.
#![forbid(unsafe_code)]

use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use arch::sync::{Rank, SpinLock};
use arch::{Access, VirtAddr};
use mm::error::OutOfMemory;
use mm::kalloc::KArc;
use mm::userfault::{Minor, Serves, Userfault};

use super::Blocking;
use super::source::Progress;
use crate::process::Process;
use crate::syscall::{Errno, user};
use crate::the_mm;

/// The address of the access is told as it is, not that of its page.
pub const EXACT_ADDRESS: u64 = 1 << 11;
/// Features that can be asked for: UFFD_FEATURE_MINOR_HUGETLBFS is always there.
pub const FEATURES: u64 = 1 << 9 | EXACT_ADDRESS;
/// UFFDIO_API was done; no feature is this bit.
const READY: u64 = 1 << 63;

/// Bytes of a `struct uffd_msg`.
const MESSAGE: usize = 32;
/// UFFD_EVENT_PAGEFAULT.
const PAGEFAULT: u8 = 0x12;
/// UFFD_PAGEFAULT_FLAG_WRITE.
const WRITE: u64 = 1;
/// UFFD_PAGEFAULT_FLAG_MINOR.
const MINOR: u64 = 4;

const EVERYWHERE: Range<VirtAddr> = VirtAddr::new(0)..VirtAddr::new(u64::MAX);

/// An open context.
pub struct UserfaultFile {
    context: KArc<Userfault>,
    blocking: Blocking,
    /// What UFFDIO_API was asked for, and [`READY`]; 0 before.
    features: AtomicU64,
    /// The source that was started last.
    source: SpinLock<Option<KArc<Progress>>>,
}

impl UserfaultFile {
    /// One for the process.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new(process: &Process, serves: Serves, blocking: Blocking) -> Result<Self, OutOfMemory> {
        let context = the_mm().new_userfault(process.space(), serves)?;
        let source = SpinLock::new(Rank(6), None);
        Ok(UserfaultFile { context, blocking, features: AtomicU64::new(0), source })
    }

    /// Chooses the features, once.
    ///
    /// # Errors
    /// EINVAL: that was done.
    pub fn choose(&self, features: u64) -> Result<(), Errno> {
        let chosen = self.features.compare_exchange(0, features | READY, Ordering::AcqRel, Ordering::Acquire);
        chosen.map(drop).map_err(|_| Errno::INVAL)
    }

    /// The context.
    ///
    /// # Errors
    /// EINVAL: UFFDIO_API was not done.
    pub fn context(&self) -> Result<&KArc<Userfault>, Errno> {
        if self.features.load(Ordering::Acquire) == 0 { Err(Errno::INVAL) } else { Ok(&self.context) }
    }

    /// `read`: messages, as many as there are and fit; waits for the first one.
    pub(super) fn read(&self, buffer: u64, count: u64) -> Result<u64, Errno> {
        let context = self.context()?;
        let mut done = 0;
        while count - done >= MESSAGE as u64 {
            match context.next_fault(EVERYWHERE) {
                Some(fault) => {
                    if let Err(errno) = user::write(buffer + done, &self.message(&fault)) {
                        context.untell(the_mm(), &fault);
                        return if done == 0 { Err(errno) } else { Ok(done) };
                    }
                    done += MESSAGE as u64;
                }
                None if done != 0 => break,
                None if self.blocking == Blocking::Refuses => return Err(Errno::AGAIN),
                // Linux sleeps, as nothing will come.
                None if context.is_ended() => return Err(Errno::SRCH),
                None => context.wait_for_fault(the_mm()).map_err(|_| Errno::INTR)?,
            }
        }
        if done == 0 { Err(Errno::INVAL) } else { Ok(done) }
    }

    /// A `struct uffd_msg`: the event; from byte 8 on flags and address.
    fn message(&self, fault: &Minor) -> [u8; MESSAGE] {
        let exact = self.features.load(Ordering::Acquire) & EXACT_ADDRESS != 0;
        let address = if exact { fault.exact } else { fault.page };
        let write = if fault.access == Access::Write { WRITE } else { 0 };
        let mut message = [0; MESSAGE];
        message[0] = PAGEFAULT;
        message[8..16].copy_from_slice(&(MINOR | write).to_le_bytes());
        message[16..24].copy_from_slice(&address.raw().to_le_bytes());
        message
    }

    /// Starts a source ([`super::source`]).
    ///
    /// # Errors
    /// EBUSY: the one that was started before has not ended. As [`Progress::start`].
    pub fn start_source(&self, start: u64, bytes: u64, seed: u64) -> Result<(), Errno> {
        let context = self.context()?;
        if self.running().is_some_and(|source| !source.is_ended()) {
            return Err(Errno::BUSY);
        }
        let started = Progress::start(context, start, bytes, seed)?;
        let replaced = self.source.lock().replace(started);
        // Two that have started one at the same time: the first one goes.
        if let Some(source) = replaced {
            source.stop();
        }
        Ok(())
    }

    /// Bytes that the source has brought that was started last.
    pub fn arrived(&self) -> u64 {
        self.running().map_or(0, |source| source.arrived())
    }

    fn running(&self) -> Option<KArc<Progress>> {
        self.source.lock().clone()
    }
}

impl Drop for UserfaultFile {
    fn drop(&mut self) {
        if let Some(source) = self.source.get_mut().take() {
            source.stop();
        }
        the_mm().close_userfault(&self.context);
    }
}
