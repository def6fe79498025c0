//! The fault's side: it is told, and waits.
#![forbid(unsafe_code)]

use arch::addr::PAGE_SIZE;
use arch::contract::Privilege;

use super::context::Serves;
use super::queue::Minor;
use super::table::UserfaultId;
use crate::Mm;
use crate::fault::{FaultDone, FaultInfo, FaultReason};
use crate::space::{AddressSpace, Grain, Vma};

/// A fault that was told and has not been waited for: the number of its context in the upper 16 bits, its own below.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(u64);

/// Bits of a fault's own number.
const NUMBER_BITS: u32 = 48;

impl Ticket {
    const fn new(context: UserfaultId, number: u64) -> Self {
        Ticket((context.raw() as u64) << NUMBER_BITS | number)
    }
    const fn context(self) -> Option<UserfaultId> {
        UserfaultId::from_raw((self.0 >> NUMBER_BITS) as u16)
    }
    const fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }
}

/// Tells the context of a registered VMA of a fault on a blank entry whose page is there. M is held for reading and F
/// for the page, both since before the look, and no spinlock. So whoever makes the entry, who holds the one or the
/// other too, finds the fault in the queue when he wakes. The caller lets both go before he waits ([`wait`]).
///
/// # Errors
/// [`FaultReason::Told`]: so it is. [`FaultReason::UserModeOnly`]; [`FaultReason::OutOfMemory`]: nobody was told.
#[cold]
pub(crate) fn tell(
    mm: &Mm,
    space: &AddressSpace,
    vma: &Vma,
    info: &FaultInfo,
) -> Result<FaultDone, FaultReason> {
    let found = vma.userfault.and_then(|id| space.userfaults.find(id));
    debug_assert!(found.is_some(), "{vma} is registered with a context that is not there");
    let Some(context) = found else { return Ok(FaultDone::Spurious) };
    if context.whose == Serves::UserOnly && info.privilege == Privilege::Kernel {
        return Err(FaultReason::UserModeOnly);
    }
    let number = space.userfaults.next_number();
    let page = info.va.align_down(grain(vma));
    context.push(mm, number, Minor { page, exact: info.va, access: info.access })?;
    Err(FaultReason::Told(Ticket::new(context.id, number)))
}

/// Sleeps until the fault was served, or is to be tried again for another reason. No lock of memory management is held.
///
/// # Errors
/// [`FaultReason::Killed`].
#[cold]
pub(crate) fn wait(mm: &Mm, space: &AddressSpace, ticket: Ticket) -> Result<(), FaultReason> {
    // A context that is gone has woken all; another one that has its number knows nothing of this fault.
    let Some(context) = ticket.context().and_then(|id| space.userfaults.find(id)) else { return Ok(()) };
    context.sleep(mm, ticket.number()).map_err(|_| FaultReason::Killed)
}

/// Bytes of the pages in whose units minor faults of the VMA are told, and continued.
#[must_use]
pub fn grain(vma: &Vma) -> u64 {
    match (vma.grain, vma.kind.huge_size()) {
        (Grain::Whole, Some(size)) => size.bytes(),
        _ => PAGE_SIZE,
    }
}
