//! The checks themselves. Each is a few lines: make, use, change, ask.

use super::arena::{Arena, USER_VA, flush};
use super::{Check, Failure, Translation};
use crate::Machine;
use crate::addr::{Level, PAGE_SIZE, PhysAddr, VirtAddr};
use crate::contract::{Access, Depth, FaultStatus, FlushScope, Mmu, PhysMem, Privilege, Tag, Tlbi};
use crate::pte::{Desc, PteFlags};

mod flushes;
mod memory;
mod pages;
mod roots;
mod sizes;
mod user;

/// Every check, in the order of the contract's table.
pub const CHECKS: &[Check] = &[
    ("a descriptor reads back as stored", memory::stores_read_back),
    ("a compare and swap needs the old descriptor", memory::cas_compares),
    ("bulk operations move bytes", memory::bulk),
    ("code made visible keeps its bytes", memory::code),
    ("interrupt masks nest", memory::masks_nest),
    ("a CPU has one number", memory::cpu_number),
    ("a made page is seen and carries data", pages::make),
    ("two pages of one frame see each other's stores", pages::aliases),
    ("an unmapped page faults after the flush", pages::unmap),
    ("lost write permission is seen after the flush", pages::tighten),
    ("gained write permission is seen after the flush", pages::relax),
    ("a compare and swap changes a live page", pages::cas_live),
    ("a page moved by break-before-make is seen at its new address", pages::break_and_make),
    ("a read-only page may be repointed to equal bytes", pages::repoint),
    ("software's bits change no translation", pages::software_bits),
    ("execution is a right of its own", pages::execute),
    ("a clear access flag faults until it is set", pages::access_flag),
    ("dirty state is hardware's where that manages it", pages::dirty_state),
    ("a block translates every offset", sizes::block),
    ("a block split by break-before-make translates alike", sizes::split),
    ("pages merged by break-before-make translate alike", sizes::merge),
    ("a block may be split and merged at once where FEAT_BBM allows", sizes::resize_directly),
    ("a block may be split and merged by nT where FEAT_BBM has only that", sizes::resize_by_nt),
    ("a contiguous group translates each of its pages", sizes::contiguous),
    ("the contiguous bit may be changed at once where FEAT_BBM allows", sizes::fold_directly),
    ("every broadcast flush that names a page removes it", flushes::broadcast),
    ("every local flush that names a page removes it on this CPU", flushes::local),
    ("every flush that names a block removes it", flushes::blocks),
    ("every flush that names a user page removes it", flushes::user_page),
    ("a table taken out is walked no more after any flush of all levels", flushes::tables),
    ("a range flush reaches its first and last page", flushes::range),
    ("a fault names the level where the walk ended", roots::fault_levels),
    ("an address of neither half faults at level 0", roots::neither_half),
    ("another kernel root with the same entries translates alike", roots::kernel_root),
    ("ASIDs keep roots apart without a flush", roots::asids),
    ("an ASID serves another root after its flush", roots::asid_again),
    ("a global page is there under every root", roots::global),
    ("EL0 cannot use a kernel page", user::kernel_page_from_el0),
    ("EL0 has the rights of a user page", user::user_rights),
    ("user copies reach the user root", user::user_copy),
    ("user copies stop at the first page that fails", user::user_copy_fails),
];

const RW: PteFlags = PteFlags::KERNEL_RW;
const RO: PteFlags = PteFlags::KERNEL_RO;
const PATTERN: u64 = 0x0123_4567_89ab_cdef;

fn kernel(va: VirtAddr, access: Access) -> Translation {
    Machine::translate(va, access, Privilege::Kernel)
}

fn user(va: VirtAddr, access: Access) -> Translation {
    Machine::translate(va, access, Privilege::User)
}

fn expect(step: &'static str, got: Translation, expected: Translation) -> Result<(), Failure> {
    if got == expected { Ok(()) } else { Err(Failure::Translation { step, expected, got }) }
}

fn expect_value(step: &'static str, got: u64, expected: u64) -> Result<(), Failure> {
    if got == expected { Ok(()) } else { Err(Failure::Value { step, expected, got }) }
}

fn expect_that(statement: &'static str, holds: Option<()>) -> Result<(), Failure> {
    holds.ok_or(Failure::Statement(statement))
}

/// The word in RAM at `pa`.
fn word(pa: PhysAddr) -> u64 {
    let mut bytes = [0; 8];
    Machine::read_bytes(pa, &mut bytes);
    u64::from_le_bytes(bytes)
}

fn set_word(pa: PhysAddr, value: u64) {
    Machine::write_bytes(pa, &value.to_le_bytes());
}

/// The word that the kernel reads at `va`, which a check has mapped.
fn load(va: VirtAddr) -> u64 {
    let at: *mut u64 = crate::kernel_access(va, Access::Read).cast();
    // SAFETY: `va` is 8-byte aligned and mapped by the check on a page that the arena owns; one access.
    unsafe { at.read_volatile() }
}

/// Stores a word at `va`, which a check has mapped writable.
fn store(va: VirtAddr, value: u64) {
    let at: *mut u64 = crate::kernel_access(va, Access::Write).cast();
    // SAFETY: as in `load`, and nobody else uses the page.
    unsafe { at.write_volatile(value) }
}

/// A TLBI of the leaf for `va`, of all ASIDs.
fn leaf(va: VirtAddr, level: Option<Level>) -> Tlbi {
    Tlbi::Va { va, tag: Tag::AllAsids, depth: Depth::LeafOnly, level }
}

/// Stores over a live descriptor and flushes the leaf on every CPU.
fn change(at: PhysAddr, new: Desc, va: VirtAddr) {
    Machine::write_desc(at, new);
    flush(leaf(va, None), FlushScope::Broadcast);
}

/// A descriptor that faults at level 3.
const GONE: Translation = Err(FaultStatus::Translation(Level::L3));

/// The 2 MiB of RAM around a page of the arena, and where that page with [`PATTERN`] stands in it. Mapped read-only,
/// as most of it is not ours.
fn huge_page(arena: &mut Arena<'_>) -> Result<(PhysAddr, u64), Failure> {
    let page = arena.page()?;
    set_word(page, PATTERN);
    let huge = page.align_down(Level::L2.entry_bytes());
    Ok((huge, page.offset_from(huge)))
}
